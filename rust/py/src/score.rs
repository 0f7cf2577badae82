//! Scorer.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use misfired_llama::Scored;
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;

use crate::errors::enter;
use crate::llama::Context;
use crate::ragged::Rows;

/// Scores token sequences block by block.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Scorer(Mutex<misfired_llama::Scorer>);

/// Sequence indices, log-probabilities (flat), top tokens, their log-probabilities.
type Answers<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f64>>,
);

#[pymethods]
impl Scorer {
    #[new]
    #[pyo3(signature = (context, tokens, wanted, *, n_block, packing))]
    fn new(
        py: Python<'_>,
        context: &Context,
        tokens: Rows<'_>,
        wanted: Rows<'_>,
        n_block: usize,
        packing: &str,
    ) -> PyResult<Self> {
        let context = Arc::clone(&context.0);
        let (tokens, wanted) = (tokens.ragged("tokens")?, wanted.ragged("wanted")?);
        enter(py, || {
            misfired_llama::Scorer::new(context, tokens?, wanted?, n_block, packing.parse()?)
        })
        .map(|scorer| Self(Mutex::new(scorer)))
    }

    #[getter]
    fn n_blocks(&self) -> usize {
        self.lock().plan().n_blocks()
    }

    #[getter]
    fn n_distinct_tokens(&self) -> usize {
        self.lock().plan().n_distinct_tokens()
    }

    #[getter]
    fn n_decoded_tokens(&self) -> usize {
        self.lock().n_decoded()
    }

    fn block_sequences<'py>(
        &self,
        py: Python<'py>,
        block: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = enter(py, || self.lock().plan().block_sequences(block).map(<[usize]>::to_vec))?;
        Ok(rows.into_iter().map(|row| row as i64).collect::<Vec<_>>().into_pyarray(py))
    }

    fn start(&self, py: Python<'_>, block: usize) -> PyResult<()> {
        enter(py, || self.lock().start(block))
    }

    fn step<'py>(&self, py: Python<'py>) -> PyResult<Option<Answers<'py>>> {
        let scored = enter(py, || self.lock().step())?;
        Ok(scored.map(|scored| columns(py, scored)))
    }
}

impl Scorer {
    /// A panic cannot leave the scorer half-changed in a way that later calls would not notice.
    fn lock(&self) -> MutexGuard<'_, misfired_llama::Scorer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn columns(py: Python<'_>, scored: Vec<Scored>) -> Answers<'_> {
    let sequences: Vec<i64> = scored.iter().map(|s| s.sequence as i64).collect();
    let top_tokens: Vec<i32> = scored.iter().map(|s| s.position.top_token).collect();
    let top_logps: Vec<f64> = scored.iter().map(|s| s.position.top_logp).collect();
    let logps: Vec<f64> = scored.into_iter().flat_map(|s| s.position.logp).collect();
    (
        sequences.into_pyarray(py),
        logps.into_pyarray(py),
        top_tokens.into_pyarray(py),
        top_logps.into_pyarray(py),
    )
}
