//! Watcher and prober: activations are read and overwritten.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use misfired_llama::probe::{self, Edit, Job, Request, Row, Site};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::{enter, raise};
use crate::llama::{Context, Library};
use crate::ragged::Rows;

type Floats<'py> = Bound<'py, PyArray1<f32>>;

/// What a context calls back while it computes; it is named in the context's parameters.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Watcher(pub(crate) probe::Watcher);

#[pymethods]
impl Watcher {
    #[new]
    fn new(py: Python<'_>, library: &Library) -> PyResult<Self> {
        enter(py, || probe::Watcher::new(&library.0)).map(Self)
    }

    /// Addresses of the callback and of its user data, for a context's parameters.
    #[getter]
    fn callback(&self) -> (usize, usize) {
        self.0.callback()
    }
}

/// A context whose activations can be read and overwritten.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Prober(Mutex<probe::Prober>);

#[pymethods]
impl Prober {
    #[new]
    #[pyo3(signature = (context, *, n_slots))]
    fn new(py: Python<'_>, context: &Context, n_slots: usize) -> PyResult<Self> {
        enter(py, || probe::Prober::new(&context.0, n_slots)).map(|p| Self(Mutex::new(p)))
    }

    /// (layers, heads, [width of a row at each site]).
    #[getter]
    fn shape(&self) -> (usize, usize, [usize; 3]) {
        let shape = self.lock().shape();
        (shape.n_layer, shape.n_head, shape.widths)
    }

    /// Decode jobs with their edits; (logits of the wanted tokens, values of the rows read).
    #[expect(clippy::too_many_arguments, reason = "each is an array of its own")]
    fn run<'py>(
        &self,
        py: Python<'py>,
        jobs: PyReadonlyArray2<'_, i64>,
        tokens: Rows<'_>,
        wanted: Rows<'_>,
        edits: PyReadonlyArray2<'_, i64>,
        values: PyReadonlyArray1<'_, f32>,
        reads: PyReadonlyArray2<'_, i64>,
    ) -> PyResult<(Floats<'py>, Floats<'py>)> {
        let (tokens, wanted) = (tokens.ragged("tokens")?, wanted.ragged("wanted")?);
        let jobs = rows(&jobs, "jobs")?.into_iter().map(job).collect();
        let edits = rows(&edits, "edits")?.into_iter().map(|row| edit(py, row)).collect();
        let reads = rows(&reads, "reads")?.into_iter().map(|r| read(py, r)).collect();
        let (edits, reads): (PyResult<_>, PyResult<_>) = (edits, reads);
        let (edits, reads, values) = (edits?, reads?, values.as_slice()?.to_vec());
        let answer = enter(py, || {
            let (tokens, wanted) = (tokens?, wanted?);
            self.lock().run(&Request { jobs, tokens, wanted, edits, values, reads })
        })?;
        Ok((answer.logits.into_pyarray(py), answer.reads.into_pyarray(py)))
    }

    /// Logits of the wanted tokens for rows of the residual stream after the last layer.
    fn unembed<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray1<'_, f32>,
        wanted: Rows<'_>,
    ) -> PyResult<Floats<'py>> {
        let (rows, wanted) = (rows.as_slice()?, wanted.ragged("wanted")?);
        let logits = enter(py, || self.lock().unembed(rows, &wanted?))?;
        Ok(logits.into_pyarray(py))
    }

    /// Attention weights of each prompt's last token, [layer][head][token], prompt after prompt.
    fn attention<'py>(&self, py: Python<'py>, tokens: Rows<'_>) -> PyResult<Floats<'py>> {
        let prompts = tokens.ragged("tokens")?;
        let weights = enter(py, || self.lock().attention(&prompts?))?;
        Ok(weights.into_pyarray(py))
    }
}

impl Prober {
    /// Every decode begins by setting the whole state, so that a panic leaves nothing behind.
    fn lock(&self) -> MutexGuard<'_, probe::Prober> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows of N numbers; a negative one becomes none.
fn rows<const N: usize>(
    matrix: &PyReadonlyArray2<'_, i64>,
    name: &str,
) -> PyResult<Vec<[Option<usize>; N]>> {
    if !matrix.is_c_contiguous() || matrix.shape()[1] != N {
        let message = format!("{name}: expected rows of {N} numbers in C order");
        return Err(raise(matrix.py(), "ArgumentError", message));
    }
    let numbers = matrix.as_slice()?.chunks_exact(N);
    Ok(numbers.map(|row| std::array::from_fn(|i| usize::try_from(row[i]).ok())).collect())
}

/// A number that may not be absent; where it is, it fails the range check that follows.
fn number(value: Option<usize>) -> usize {
    value.unwrap_or(usize::MAX)
}

fn job([parent, n_shared, keep]: [Option<usize>; 3]) -> Job {
    Job { parent, n_shared: number(n_shared), keep }
}

fn read(py: Python<'_>, [job, site, layer, position]: [Option<usize>; 4]) -> PyResult<Row> {
    let site = Site::ALL.get(number(site)).copied().ok_or_else(|| {
        raise(py, "ArgumentError", format!("site is not in 0..{}", Site::ALL.len()))
    })?;
    Ok(Row { job: number(job), site, layer: number(layer), position: number(position) })
}

fn edit(py: Python<'_>, row: [Option<usize>; 7]) -> PyResult<Edit> {
    let [job, site, layer, position, column, n_columns, values] = row;
    let row = read(py, [job, site, layer, position])?;
    Ok(Edit { row, column: number(column), n_columns: number(n_columns), values })
}
