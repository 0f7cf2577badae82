//! Prober: reads and overwrites activations.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use misfired_llama::plan::Ragged;
use misfired_llama::probe::{self, Edit, Job, Request, Row, Site};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::{enter, raise};
use crate::llama::{Library, to_usize};

type Floats<'py> = Bound<'py, PyArray1<f32>>;

/// A context whose activations can be read and overwritten; the caller keeps it alive and to itself.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Prober(Mutex<probe::Prober>);

#[pymethods]
impl Prober {
    #[new]
    fn new(py: Python<'_>, library: &Library) -> PyResult<Self> {
        enter(py, || probe::Prober::new(Arc::clone(&library.0))).map(|p| Self(Mutex::new(p)))
    }

    /// Addresses of the callback and of its user data, for a context's parameters.
    #[getter]
    fn callback(&self) -> (usize, usize) {
        self.lock().callback()
    }

    /// Take a context over; (layers, heads, [width of a row at each site]).
    #[pyo3(signature = (context, *, n_slots))]
    fn attach(
        &self,
        py: Python<'_>,
        context: usize,
        n_slots: usize,
    ) -> PyResult<(usize, usize, [usize; 3])> {
        // SAFETY: Python's `Probe` passes the address of a context that it made with this prober's
        // callback and a unified cache, keeps alive, and lends to nobody else.
        let shape = enter(py, || unsafe { self.lock().attach(context, n_slots) })?;
        Ok((shape.n_layer, shape.n_head, shape.widths))
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        enter(py, || self.lock().clear())
    }

    /// Decode jobs with their edits; (logits of the wanted tokens, values of the rows read).
    #[expect(clippy::too_many_arguments, reason = "ragged arrays cross as two")]
    fn run<'py>(
        &self,
        py: Python<'py>,
        jobs: PyReadonlyArray2<'_, i64>,
        tokens: PyReadonlyArray1<'_, i32>,
        offsets: PyReadonlyArray1<'_, i64>,
        wanted: PyReadonlyArray1<'_, i32>,
        wanted_offsets: PyReadonlyArray1<'_, i64>,
        edits: PyReadonlyArray2<'_, i64>,
        values: PyReadonlyArray1<'_, f32>,
        reads: PyReadonlyArray2<'_, i64>,
    ) -> PyResult<(Floats<'py>, Floats<'py>)> {
        let (tokens, offsets) = (tokens.as_slice()?.to_vec(), to_usize(&offsets)?);
        let (wanted, wanted_offsets) = (wanted.as_slice()?.to_vec(), to_usize(&wanted_offsets)?);
        let jobs = rows(&jobs, "jobs")?.into_iter().map(job).collect();
        let edits = rows(&edits, "edits")?.into_iter().map(|row| edit(py, row)).collect();
        let reads = rows(&reads, "reads")?.into_iter().map(|r| read(py, r)).collect();
        let (edits, reads): (PyResult<_>, PyResult<_>) = (edits, reads);
        let (edits, reads, values) = (edits?, reads?, values.as_slice()?.to_vec());
        let answer = enter(py, || {
            let tokens = Ragged::new("tokens", tokens, offsets)?;
            let wanted = Ragged::new("wanted", wanted, wanted_offsets)?;
            self.lock().run(&Request { jobs, tokens, wanted, edits, values, reads })
        })?;
        Ok((answer.logits.into_pyarray(py), answer.reads.into_pyarray(py)))
    }

    /// Logits of the wanted tokens for rows of the residual stream after the last layer.
    fn unembed<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray1<'_, f32>,
        wanted: PyReadonlyArray1<'_, i32>,
        wanted_offsets: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Floats<'py>> {
        let (wanted, offsets) = (wanted.as_slice()?.to_vec(), to_usize(&wanted_offsets)?);
        let rows = rows.as_slice()?;
        let logits =
            enter(py, || self.lock().unembed(rows, &Ragged::new("wanted", wanted, offsets)?))?;
        Ok(logits.into_pyarray(py))
    }

    /// Attention weights of each prompt's last token, [layer][head][token], prompt after prompt.
    fn attention<'py>(
        &self,
        py: Python<'py>,
        tokens: PyReadonlyArray1<'_, i32>,
        offsets: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Floats<'py>> {
        let (tokens, offsets) = (tokens.as_slice()?.to_vec(), to_usize(&offsets)?);
        let weights =
            enter(py, || self.lock().attention(&Ragged::new("tokens", tokens, offsets)?))?;
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
