//! One way to carry a [`Plan`] out on a llama.cpp context, block by block.

use std::sync::Arc;

use crate::decoder::Decoder;
use crate::error::Result;
use crate::plan::{HEADER, Plan};

/// The work of a run with the sequences of its plan.
pub trait Work {
    /// One finished sequence.
    type Done;

    /// Begin a block, whose cache holds the header alone.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchBlock`].
    fn start(&mut self, plan: &Plan, block: usize) -> Result<()>;

    /// Decode one batch and return what it finished; none at the end of the block.
    ///
    /// # Errors
    /// [`crate::Error::Decode`], [`crate::Error::NoLogits`].
    fn step(&mut self, plan: &Plan, decoder: &mut Decoder) -> Result<Option<Vec<Self::Done>>>;
}

/// A plan, the context that carries it out, and the work to do with each sequence.
#[derive(Debug)]
pub struct Run<W> {
    decoder: Decoder,
    plan: Arc<Plan>,
    work: W,
    header_done: bool,
}

impl<W: Work> Run<W> {
    pub(crate) fn with(decoder: Decoder, plan: Plan, work: W) -> Self {
        Self { decoder, plan: Arc::new(plan), work, header_done: false }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Number of tokens decoded up to now.
    #[must_use]
    pub fn n_decoded(&self) -> usize {
        self.decoder.n_decoded()
    }

    /// Begin a block: cut the cache back to the header.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchBlock`], [`crate::Error::Decode`].
    pub fn start(&mut self, block: usize) -> Result<()> {
        self.work.start(&self.plan, block)?;
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        for sequence in HEADER + 1..self.decoder.n_seq_max as i32 {
            self.decoder.remove(sequence);
        }
        self.decoder.truncate(self.plan.header().len());
        if !self.header_done {
            let decoder = &mut self.decoder;
            self.plan.header_batches().try_for_each(|batch| decoder.decode(&batch, &[]))?;
            self.header_done = true;
        }
        Ok(())
    }

    /// Decode one batch and return what it finished; none at the end of the block.
    ///
    /// # Errors
    /// [`crate::Error::Decode`], [`crate::Error::NoLogits`].
    pub fn step(&mut self) -> Result<Option<Vec<W::Done>>> {
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        self.work.step(&self.plan, &mut self.decoder)
    }
}
