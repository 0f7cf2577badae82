//! The library, and the models and contexts that were made with it.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use std::path::PathBuf;
use std::sync::Arc;

use misfired_llama::{Api, BatchLayout, probe};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{enter, interrupted};

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

/// A model, owned. Its users keep it alive. `address` must be that of a model that this library has
/// loaded and that nobody else frees.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Model(Arc<misfired_llama::Model>);

#[pymethods]
impl Model {
    #[new]
    fn new(py: Python<'_>, library: &Library, address: usize) -> PyResult<Self> {
        let api = Arc::clone(&library.0);
        #[expect(unsafe_code, reason = "llama-cpp-python's address, by contract of the class")]
        // SAFETY: the caller owns a live model.
        let adopt = || unsafe { misfired_llama::Model::adopt(api, address) };
        enter(py, adopt).map(|model| Self(Arc::new(model)))
    }
}

/// The callback of one context while it computes; the context's parameters name it.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Watcher(probe::Watcher);

#[pymethods]
impl Watcher {
    #[new]
    fn new(library: &Library) -> Self {
        Self(probe::Watcher::new(&library.0))
    }

    /// Addresses of the callback and of its user data, for a context's parameters.
    #[getter]
    fn callback(&self) -> (usize, usize) {
        self.0.callback()
    }
}

/// A context, owned. Its users keep it alive and take turns. `address` must be that of a context that was
/// made for this model and that nobody else frees or uses.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Context(pub(crate) Arc<misfired_llama::Context>);

#[pymethods]
impl Context {
    #[new]
    #[pyo3(signature = (model, address, watcher=None))]
    fn new(
        py: Python<'_>,
        model: &Model,
        address: usize,
        watcher: Option<PyRef<'_, Watcher>>,
    ) -> PyResult<Self> {
        let (model, watcher) = (Arc::clone(&model.0), watcher.map(|watcher| watcher.0.clone()));
        #[expect(unsafe_code, reason = "llama-cpp-python's address, by contract of the class")]
        // SAFETY: the caller owns a live context.
        let adopt =
            || unsafe { misfired_llama::Context::adopt(model, address, watcher, interrupted) };
        enter(py, adopt).map(|context| Self(Arc::new(context)))
    }

    /// Replace a head's output at every position from now on, by zeros if there are no values; the cache is
    /// emptied.
    #[pyo3(signature = (layer, head, values=None))]
    fn ablate(
        &self,
        py: Python<'_>,
        layer: usize,
        head: usize,
        values: Option<PyReadonlyArray1<'_, f32>>,
    ) -> PyResult<()> {
        let values = values.map(|values| values.as_slice().map(<[f32]>::to_vec)).transpose()?;
        enter(py, || self.0.ablate(layer, head, values))
    }
}

/// The vocabulary of a model.
#[pyclass(frozen, module = "misfired._core")]
pub(crate) struct Tokenizer(misfired_llama::Tokenizer);

#[pymethods]
impl Tokenizer {
    #[new]
    fn new(model: &Model) -> Self {
        Self(misfired_llama::Tokenizer::new(Arc::clone(&model.0)))
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

    fn ends_generation(&self, token: i32) -> bool {
        self.0.ends_generation(token)
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
