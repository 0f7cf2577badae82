//! Probe requests and the prober: activations are read and overwritten.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use misfired_llama::probe::{self, Job, Row, Site};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::errors::enter;
use crate::llama::Context;
use crate::ragged::Rows;

type Floats<'py> = Bound<'py, PyArray1<f32>>;

/// Jobs, and what is overwritten and read in each; filled step by step, then run. A run takes it as it is:
/// what is added meanwhile is not part of it.
#[pyclass(module = "misfired._core")]
#[derive(Default)]
pub(crate) struct ProbeRequest(Arc<probe::Request>);

impl ProbeRequest {
    fn change(&mut self) -> &mut probe::Request {
        Arc::make_mut(&mut self.0)
    }
}

#[pymethods]
impl ProbeRequest {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Decode tokens behind the first `n_shared` cells of slot `parent`, or behind nothing; the number of
    /// this job. Slot `keep` keeps its cells.
    #[pyo3(signature = (tokens, wanted, *, parent=None, n_shared=0, keep=None))]
    fn add(
        &mut self,
        tokens: PyReadonlyArray1<'_, i32>,
        wanted: PyReadonlyArray1<'_, i32>,
        parent: Option<i64>,
        n_shared: i64,
        keep: Option<i64>,
    ) -> PyResult<usize> {
        let (tokens, wanted) = (tokens.as_slice()?.to_vec(), wanted.as_slice()?.to_vec());
        let (parent, keep) = (parent.map(index), keep.map(index));
        Ok(self.change().add(Job { tokens, wanted, parent, n_shared: index(n_shared), keep }))
    }

    /// Overwrite columns of one row, from `column` on.
    #[pyo3(signature = (job, site, layer, position, values, *, column=0))]
    #[expect(clippy::too_many_arguments, reason = "they name a place")]
    fn write(
        &mut self,
        py: Python<'_>,
        job: i64,
        site: &str,
        layer: i64,
        position: i64,
        values: PyReadonlyArray1<'_, f32>,
        column: i64,
    ) -> PyResult<()> {
        let row = row(py, job, site, layer, position)?;
        self.change().write(row, index(column), values.as_slice()?.to_vec());
        Ok(())
    }

    /// Set columns of one row to zero.
    #[pyo3(signature = (job, site, layer, position, *, column, n_columns))]
    #[expect(clippy::too_many_arguments, reason = "they name a place")]
    fn zero(
        &mut self,
        py: Python<'_>,
        job: i64,
        site: &str,
        layer: i64,
        position: i64,
        column: i64,
        n_columns: i64,
    ) -> PyResult<()> {
        let row = row(py, job, site, layer, position)?;
        self.change().zero(row, index(column), index(n_columns));
        Ok(())
    }

    /// Read one row as later nodes see it.
    fn read(
        &mut self,
        py: Python<'_>,
        job: i64,
        site: &str,
        layer: i64,
        position: i64,
    ) -> PyResult<()> {
        self.change().read(row(py, job, site, layer, position)?);
        Ok(())
    }
}

/// A context whose activations can be read and overwritten. The shape is outside the lock: see `Run`.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Prober {
    prober: Mutex<probe::Prober>,
    shape: probe::Shape,
}

#[pymethods]
impl Prober {
    #[new]
    #[pyo3(signature = (context, *, n_slots))]
    fn new(py: Python<'_>, context: &Context, n_slots: usize) -> PyResult<Self> {
        let prober = enter(py, || probe::Prober::new(&context.0, n_slots))?;
        Ok(Self { shape: prober.shape(), prober: Mutex::new(prober) })
    }

    /// (layers, heads, [width of a row at each site]).
    #[getter]
    fn shape(&self) -> (usize, usize, [usize; 3]) {
        (self.shape.n_layer, self.shape.n_head, self.shape.widths)
    }

    /// Decode the jobs; for each the logits of its wanted tokens, and the rows read.
    fn run<'py>(
        &self,
        py: Python<'py>,
        request: &Bound<'_, ProbeRequest>,
    ) -> PyResult<(Vec<Floats<'py>>, Vec<Floats<'py>>)> {
        let request = Arc::clone(&request.borrow().0);
        let answer = enter(py, || self.lock().run(&request))?;
        Ok((arrays(py, answer.logits), arrays(py, answer.rows)))
    }

    /// Logits of the wanted tokens for rows of the residual stream after the last layer.
    fn unembed<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray1<'_, f32>,
        wanted: Rows<'_>,
    ) -> PyResult<Floats<'py>> {
        let (rows, wanted) = (rows.as_slice()?, wanted.slices()?);
        let logits = enter(py, || self.lock().unembed(rows, &wanted.ragged("wanted")?))?;
        Ok(logits.into_pyarray(py))
    }

    /// Attention weights of each prompt's last token, [layer][head][token], prompt after prompt.
    fn attention<'py>(&self, py: Python<'py>, tokens: Rows<'_>) -> PyResult<Floats<'py>> {
        let tokens = tokens.slices()?;
        let weights = enter(py, || self.lock().attention(&tokens.ragged("tokens")?))?;
        Ok(weights.into_pyarray(py))
    }
}

impl Prober {
    /// Every decode begins by setting the whole state, and a sequence is recorded as holding what it shares
    /// before it is used: a panic leaves nothing behind.
    fn lock(&self) -> MutexGuard<'_, probe::Prober> {
        self.prober.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Token embeddings as the model of a watched context reads them, row after row.
#[pyfunction]
pub(crate) fn embeddings<'py>(
    py: Python<'py>,
    context: &Context,
    tokens: PyReadonlyArray1<'_, i32>,
) -> PyResult<Floats<'py>> {
    let tokens = tokens.as_slice()?;
    let rows = enter(py, || probe::embeddings(&context.0, tokens))?;
    Ok(rows.into_pyarray(py))
}

/// A number from Python; a negative one fails the range check that follows.
fn index(value: i64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn row(py: Python<'_>, job: i64, site: &str, layer: i64, position: i64) -> PyResult<Row> {
    let site = enter(py, || Site::named(site))?;
    Ok(Row { job: index(job), site, layer: index(layer), position: index(position) })
}

fn arrays(py: Python<'_>, rows: Vec<Vec<f32>>) -> Vec<Floats<'_>> {
    rows.into_iter().map(|row| row.into_pyarray(py)).collect()
}
