//! One way across the border: release the GIL, run, turn a Rust error into its Python class.

use misfired_core::{Error, Kind};
use pyo3::prelude::*;

/// Run `work` without the GIL and raise what it fails with as the matching `misfired` exception.
pub(crate) fn enter<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| to_py(py, &error))
}

fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error.kind() {
        Kind::Argument => "ArgumentError",
        Kind::Data => "DataError",
    };
    raise(py, class, error.to_string())
}

/// The exception `misfired.errors.<class>` with a message; classes live in Python, where users catch them.
pub(crate) fn raise(py: Python<'_>, class: &str, message: String) -> PyErr {
    match py.import("misfired.errors").and_then(|module| module.getattr(class)) {
        Ok(class) => match class.call1((message,)) {
            Ok(value) => PyErr::from_value(value),
            Err(error) => error,
        },
        Err(error) => error,
    }
}
