//! The common part of `Scorer` and `Generator`: the plan, its blocks and the counters.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use misfired_llama::{Plan, Result, Work};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;

use crate::errors::enter;

/// A run that one thread at a time uses.
pub(crate) struct Locked<W>(Mutex<misfired_llama::Run<W>>);

impl<W: Work> Locked<W> {
    /// Decode one batch and return what it finished.
    pub(crate) fn step(&self) -> Result<Option<Vec<W::Done>>> {
        self.lock().step()
    }

    /// A run that panicked in a step has to be started again, like one that failed in it.
    fn lock(&self) -> MutexGuard<'_, misfired_llama::Run<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run, whatever its work is.
trait AnyRun: Send + Sync {
    fn start(&self, block: usize) -> Result<()>;
}

impl<W: Work + Send> AnyRun for Locked<W> {
    fn start(&self, block: usize) -> Result<()> {
        self.lock().start(block)
    }
}

/// Works through token sequences block by block.
///
/// What its getters return is outside the lock: a getter that waited for a decode, with the GIL held,
/// would stop all threads, and for good if the decode logs something through Python.
#[pyclass(frozen, subclass, module = "misfired._core")]
pub(crate) struct Run {
    plan: Arc<Plan>,
    n_decoded: Arc<AtomicUsize>,
    locked: Arc<dyn AnyRun>,
}

impl Run {
    /// The base of a Python object, and the run for that object's own methods.
    pub(crate) fn share<W: Work + Send + 'static>(
        run: misfired_llama::Run<W>,
    ) -> (Self, Arc<Locked<W>>) {
        let (plan, n_decoded) = (Arc::clone(run.plan()), Arc::clone(run.n_decoded()));
        let run = Arc::new(Locked(Mutex::new(run)));
        (Self { plan, n_decoded, locked: Arc::<Locked<W>>::clone(&run) }, run)
    }
}

#[pymethods]
impl Run {
    #[getter]
    fn n_blocks(&self) -> usize {
        self.plan.n_blocks()
    }

    #[getter]
    fn n_distinct_tokens(&self) -> usize {
        self.plan.n_distinct_tokens()
    }

    #[getter]
    fn n_decoded_tokens(&self) -> usize {
        self.n_decoded.load(Ordering::Relaxed)
    }

    fn block_sequences<'py>(
        &self,
        py: Python<'py>,
        block: usize,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = enter(py, || self.plan.block_sequences(block))?;
        Ok(rows.iter().map(|&row| row as i64).collect::<Vec<_>>().into_pyarray(py))
    }

    fn start(&self, py: Python<'_>, block: usize) -> PyResult<()> {
        enter(py, || self.locked.start(block))
    }
}
