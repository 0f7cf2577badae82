//! Tokeniser and scorer.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use misfired_llama::plan::Ragged;
use misfired_llama::{Api, BatchLayout, Scored};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::enter;

/// The functions of a `libllama` that is loaded already, after a check of its layout.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Library(pub(crate) Arc<Api>);

#[pymethods]
impl Library {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, batch_layout: [usize; 5]) -> PyResult<Self> {
        let [size, token, pos, seq_id, logits] = batch_layout;
        let layout = BatchLayout { size, token, pos, seq_id, logits };
        enter(py, || Api::open(&path, &layout)).map(|api| Self(Arc::new(api)))
    }
}

/// The vocabulary of a model; the caller keeps the model alive.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Tokenizer(misfired_llama::Tokenizer);

#[pymethods]
impl Tokenizer {
    #[new]
    fn new(py: Python<'_>, library: &Library, model: usize) -> PyResult<Self> {
        let api = Arc::clone(&library.0);
        // SAFETY: Python's `Model` passes the address of a model that it keeps alive.
        enter(py, || unsafe { misfired_llama::Tokenizer::new(api, model) }).map(Self)
    }

    #[pyo3(signature = (text, *, parse_special))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &str,
        parse_special: bool,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let ids = enter(py, || self.0.encode(text, parse_special))?;
        Ok(ids.into_pyarray(py))
    }

    fn piece<'py>(&self, py: Python<'py>, token: i32) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.piece(token))
    }

    /// Rows of (id, text, strips left, strips right).
    fn special_tokens(&self, py: Python<'_>) -> Vec<(i32, String, bool, bool)> {
        let tokens = py.detach(|| self.0.special_tokens());
        tokens.into_iter().map(|t| (t.id, t.text, t.strips_left, t.strips_right)).collect()
    }

    #[getter]
    fn n_vocab(&self) -> usize {
        self.0.n_vocab()
    }

    /// (id or -1, whether the model wants it added).
    #[getter]
    fn bos(&self) -> (i32, bool) {
        self.0.bos()
    }
}

/// Scores token sequences block by block; the caller keeps the context alive and to itself.
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
    #[pyo3(signature = (library, context, tokens, offsets, wanted, wanted_offsets, *, n_block, packing))]
    #[expect(clippy::too_many_arguments, reason = "two ragged arrays cross as four")]
    fn new(
        py: Python<'_>,
        library: &Library,
        context: usize,
        tokens: PyReadonlyArray1<'_, i32>,
        offsets: PyReadonlyArray1<'_, i64>,
        wanted: PyReadonlyArray1<'_, i32>,
        wanted_offsets: PyReadonlyArray1<'_, i64>,
        n_block: usize,
        packing: &str,
    ) -> PyResult<Self> {
        let api = Arc::clone(&library.0);
        let (tokens, offsets) = (tokens.as_slice()?.to_vec(), to_usize(&offsets)?);
        let (wanted, wanted_offsets) = (wanted.as_slice()?.to_vec(), to_usize(&wanted_offsets)?);
        enter(py, || {
            let packing = packing.parse()?;
            let sequences = Ragged::new("tokens", tokens, offsets)?;
            let wanted = Ragged::new("wanted", wanted, wanted_offsets)?;
            // SAFETY: Python's `Context` passes the address of a context with a unified cache that it
            // keeps alive and lends to one scorer at a time.
            unsafe {
                misfired_llama::Scorer::new(api, context, sequences, wanted, n_block, packing)
            }
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

pub(crate) fn to_usize(offsets: &PyReadonlyArray1<'_, i64>) -> PyResult<Vec<usize>> {
    Ok(offsets
        .as_slice()?
        .iter()
        .map(|&offset| usize::try_from(offset).unwrap_or(usize::MAX))
        .collect())
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
