//! One way across the border: release the GIL, run, turn a Rust error into its Python class.

use pyo3::prelude::*;

/// An error of the workspace that knows its class in `misfired.errors`.
pub(crate) trait PythonError: std::fmt::Display + Send {
    fn class(&self) -> &'static str;
}

impl PythonError for misfired_core::Error {
    fn class(&self) -> &'static str {
        match self.kind() {
            misfired_core::Kind::Argument => "ArgumentError",
            misfired_core::Kind::Data => "DataError",
        }
    }
}

impl PythonError for misfired_llama::Error {
    fn class(&self) -> &'static str {
        match self.kind() {
            misfired_llama::Kind::Argument => "ArgumentError",
            misfired_llama::Kind::Model => "ModelError",
            misfired_llama::Kind::Scoring => "ScoringError",
        }
    }
}

/// Run `work` without the GIL and raise what it fails with as the matching `misfired` exception.
pub(crate) fn enter<T: Send, E: PythonError>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, error.class(), error.to_string()))
}

/// [`enter`] for work of the core, whose closures leave the error's type open.
pub(crate) fn enter_core<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> misfired_core::Result<T> + Send,
) -> PyResult<T> {
    enter(py, work)
}

/// The exception `misfired.errors.<class>`; the classes live in Python, where users catch them.
pub(crate) fn raise(py: Python<'_>, class: &str, message: String) -> PyErr {
    let value = py
        .import("misfired.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((message,)));
    match value {
        Ok(value) => PyErr::from_value(value),
        Err(error) => error,
    }
}
