//! One way across the border: release the GIL, run, let Ctrl-C through, turn a Rust error or panic
//! into a Python exception.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use misfired_core::work::Stop;
use pyo3::prelude::*;

use crate::arguments::{Whole, threads};

/// Time between two looks for a signal: Ctrl-C feels immediate, and the GIL is hardly asked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

thread_local! {
    /// When this thread looked for signals last.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// What a signal handler has raised while this thread worked.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// True if the work on this thread is to stop: a signal handler, such as that of Ctrl-C, has raised.
///
/// Work inside [`enter`] may ask as often as it likes; signals reach Python's main thread alone.
pub(crate) fn interrupted() -> bool {
    let now = Instant::now();
    if LOOKED.get().is_some_and(|looked| now - looked < LOOK_EVERY) {
        return false;
    }
    LOOKED.set(Some(now));
    let look = |py: Python<'_>| py.check_signals();
    match Python::attach(look) {
        Ok(()) => false,
        Err(error) => {
            RAISED.set(Some(error));
            // The work may ask more than once before it stops.
            LOOKED.set(None);
            true
        }
    }
}

/// An error of the workspace that knows its class in `misfired.errors`.
pub(crate) trait PythonError: std::fmt::Display + Send {
    fn class(&self) -> &'static str;
}

impl PythonError for misfired_core::Error {
    fn class(&self) -> &'static str {
        match self.kind() {
            misfired_core::Kind::Argument => "ArgumentError",
            misfired_core::Kind::Data => "DataError",
            misfired_core::Kind::Interrupted => "MisfiredError",
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

/// Run `work` without the GIL and raise what it fails with as the matching `misfired` exception, what a
/// signal handler raised meanwhile as it is, and a panic, which is a mistake of ours, as a
/// `MisfiredError`.
pub(crate) fn enter<T: Send, E: PythonError>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    LOOKED.set(Some(Instant::now()));
    // Nothing that the work had borrowed is used again but what its own lock guards.
    let outcome = py.detach(|| catch_unwind(AssertUnwindSafe(work)));
    match (RAISED.take(), outcome) {
        (Some(raised), _) => Err(raised),
        (None, Ok(result)) => result.map_err(|error| raise(py, error.class(), error.to_string())),
        (None, Err(panic)) => Err(raise(py, "MisfiredError", internal_error(&*panic))),
    }
}

fn internal_error(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let said = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("internal error: {}", said.unwrap_or("no message"))
}

/// [`enter`] for work of the core, whose closures leave the error's type open.
pub(crate) fn enter_core<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> misfired_core::Result<T> + Send,
) -> PyResult<T> {
    enter(py, work)
}

/// [`enter`] for work of the core on many threads, which Ctrl-C stops.
pub(crate) fn enter_pool<T: Send>(
    py: Python<'_>,
    n_threads: Option<Whole>,
    work: impl FnOnce(&Stop) -> misfired_core::Result<T> + Send,
) -> PyResult<T> {
    let n_threads = threads(py, n_threads)?;
    enter(py, || misfired_core::work::run(n_threads, interrupted, work))
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
