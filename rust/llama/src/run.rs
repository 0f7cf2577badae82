//! One way to carry a [`Plan`] out on a llama.cpp context, block by block.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::error::{Error, Result};
use crate::plan::{HEADER, Plan};
use crate::turn::{Lease, Turn};

/// The work of a run with the sequences of its plan.
pub trait Work {
    /// One finished sequence.
    type Done;

    /// Begin a block, whose cache holds the header alone.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`].
    fn start(&mut self, plan: &Plan, block: usize) -> Result<()>;

    /// Decode one batch and return what it finished; none at the end of the block.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::NoLogits`].
    fn step(&mut self, plan: &Plan, turn: &mut Turn<'_>) -> Result<Option<Vec<Self::Done>>>;
}

/// A plan, the context that carries it out, and the work to do with each sequence.
#[derive(Debug)]
pub struct Run<W> {
    lease: Lease,
    plan: Arc<Plan>,
    work: W,
    cache: Cache,
}

/// What the cache is known to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cache {
    /// Nothing that can be relied on: nothing was decoded, or something went wrong.
    Unknown,
    /// The header, and what the steps of a block have left.
    Header,
}

impl<W: Work> Run<W> {
    pub(crate) fn with(lease: Lease, plan: Plan, work: W) -> Self {
        Self { lease, plan: Arc::new(plan), work, cache: Cache::Unknown }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The number of tokens decoded so far, still counting.
    #[must_use]
    pub fn n_decoded(&self) -> &Arc<AtomicUsize> {
        self.lease.n_decoded()
    }

    /// Begin a block: cut the cache back to the header. If a step has failed, or somebody else has used
    /// the context, it is emptied and the header is decoded again.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`], [`Error::Decode`].
    pub fn start(&mut self, block: usize) -> Result<()> {
        self.plan.block(block)?;
        let before = std::mem::replace(&mut self.cache, Cache::Unknown);
        let has_header = before == Cache::Header
            && self.lease.turn().and_then(|mut turn| cut_back(&mut turn, &self.plan)).is_ok();
        if !has_header {
            self.read_header()?;
        }
        self.work.start(&self.plan, block)?;
        self.cache = Cache::Header;
        Ok(())
    }

    fn read_header(&mut self) -> Result<()> {
        let mut turn = self.lease.renew();
        self.plan.header_batches().try_for_each(|batch| turn.decode(&batch, &[]).map(drop))
    }

    /// Decode one batch and return what it finished; none at the end of the block. After a failure the
    /// block has to be started again.
    ///
    /// # Errors
    /// [`Error::NotStarted`], [`Error::CacheTaken`], [`Error::Decode`], [`Error::NoLogits`].
    pub fn step(&mut self) -> Result<Option<Vec<W::Done>>> {
        if self.cache != Cache::Header {
            return Err(Error::NotStarted);
        }
        // Only a step that ends well leaves a cache for another one.
        self.cache = Cache::Unknown;
        let done = self.work.step(&self.plan, &mut self.lease.turn()?)?;
        self.cache = Cache::Header;
        Ok(done)
    }
}

fn cut_back(turn: &mut Turn<'_>, plan: &Plan) -> Result<()> {
    (HEADER + 1..turn.n_seq_max() as i32).try_for_each(|sequence| turn.remove(sequence))?;
    turn.truncate(plan.header().len())
}
