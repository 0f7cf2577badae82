//! Batched greedy text.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::sync::Arc;

use misfired_llama::{Generated, Generation, Rules};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::enter;
use crate::llama::Context;
use crate::ragged::Rows;
use crate::run::{Locked, Run};

/// Continues prompts block by block.
#[pyclass(frozen, extends = Run, module = "misfired._core")]
pub(crate) struct Generator(Arc<Locked<Generation>>);

/// Sequence indices, texts, why they ended, numbers of tokens, log-probabilities, least gaps.
type Texts<'py> = (
    Bound<'py, PyArray1<i64>>,
    Vec<Bound<'py, PyBytes>>,
    Vec<&'static str>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
);

#[pymethods]
impl Generator {
    #[new]
    #[pyo3(signature = (context, tokens, *, n_generate, stop, n_places, n_block, packing))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
    fn new(
        py: Python<'_>,
        context: &Context,
        tokens: Rows<'_>,
        n_generate: usize,
        stop: Vec<String>,
        n_places: usize,
        n_block: usize,
        packing: &str,
    ) -> PyResult<PyClassInitializer<Self>> {
        let context = Arc::clone(&context.0);
        let tokens = tokens.slices()?;
        let stop = stop.into_iter().map(String::into_bytes).collect();
        let rules = Rules { n_generate, stop, n_places };
        let generator = enter(py, || {
            let prompts = tokens.ragged("tokens")?;
            misfired_llama::Generator::new(context, prompts, rules, n_block, packing.parse()?)
        })?;
        let (base, run) = Run::share(generator);
        Ok(PyClassInitializer::from(base).add_subclass(Self(run)))
    }

    fn step<'py>(&self, py: Python<'py>) -> PyResult<Option<Texts<'py>>> {
        let finished = enter(py, || self.0.step())?;
        Ok(finished.map(|finished| columns(py, &finished)))
    }
}

fn columns<'py>(py: Python<'py>, finished: &[Generated]) -> Texts<'py> {
    let sequences: Vec<i64> = finished.iter().map(|g| g.sequence as i64).collect();
    let n_tokens: Vec<i64> = finished.iter().map(|g| g.n_tokens as i64).collect();
    let logp: Vec<f64> = finished.iter().map(|g| g.logp).collect();
    let least_gap: Vec<f64> = finished.iter().map(|g| g.least_gap).collect();
    (
        sequences.into_pyarray(py),
        finished.iter().map(|g| PyBytes::new(py, &g.text)).collect(),
        finished.iter().map(|g| g.stop.word()).collect(),
        n_tokens.into_pyarray(py),
        logp.into_pyarray(py),
        least_gap.into_pyarray(py),
    )
}
