//! The common part of `Scorer` and `Generator`: the plan, its blocks and the counters.

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

    /// A panic cannot leave the run half-changed in a way that later calls would not notice.
    fn lock(&self) -> MutexGuard<'_, misfired_llama::Run<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run, whatever its work is.
trait AnyRun: Send + Sync {
    fn start(&self, block: usize) -> Result<()>;
    fn n_decoded(&self) -> usize;
}

impl<W: Work + Send> AnyRun for Locked<W> {
    fn start(&self, block: usize) -> Result<()> {
        self.lock().start(block)
    }

    fn n_decoded(&self) -> usize {
        self.lock().n_decoded()
    }
}

/// Works through token sequences block by block.
#[pyclass(frozen, subclass, module = "misfired._core")]
pub(crate) struct Run {
    plan: Arc<Plan>,
    run: Arc<dyn AnyRun>,
}

impl Run {
    /// The base of a Python object, and the run for that object's own methods.
    pub(crate) fn share<W: Work + Send + 'static>(
        run: misfired_llama::Run<W>,
    ) -> (Self, Arc<Locked<W>>) {
        let plan = Arc::clone(run.plan());
        let run = Arc::new(Locked(Mutex::new(run)));
        (Self { plan, run: Arc::<Locked<W>>::clone(&run) }, run)
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
        self.run.n_decoded()
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
        enter(py, || self.run.start(block))
    }
}
