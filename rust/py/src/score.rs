//! Scorer.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::sync::Arc;

use misfired_llama::{Scored, Scoring};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;

use crate::errors::enter;
use crate::llama::Context;
use crate::ragged::Rows;
use crate::run::{Locked, Run};

/// Scores token sequences block by block.
#[pyclass(frozen, extends = Run, module = "misfired._core")]
pub(crate) struct Scorer(Arc<Locked<Scoring>>);

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
    #[pyo3(signature = (context, tokens, wanted, *, n_block, packing, seed = 0))]
    fn new(
        py: Python<'_>,
        context: &Context,
        tokens: Rows<'_>,
        wanted: Rows<'_>,
        n_block: usize,
        packing: &str,
        seed: u64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let context = Arc::clone(&context.0);
        let (tokens, wanted) = (tokens.slices()?, wanted.slices()?);
        let scorer = enter(py, || {
            let (tokens, wanted) = (tokens.ragged("tokens")?, wanted.ragged("wanted")?);
            misfired_llama::Scorer::new(context, tokens, wanted, n_block, packing.parse()?, seed)
        })?;
        let (base, run) = Run::share(scorer);
        Ok(PyClassInitializer::from(base).add_subclass(Self(run)))
    }

    fn step<'py>(&self, py: Python<'py>) -> PyResult<Option<Answers<'py>>> {
        let scored = enter(py, || self.0.step())?;
        Ok(scored.map(|scored| columns(py, scored)))
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
