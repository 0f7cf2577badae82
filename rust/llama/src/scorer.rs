//! Carries a [`Plan`] out on a llama.cpp context.

use std::sync::Arc;

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::handle::Context;
use crate::logprob::{Position, position};
use crate::plan::{HEADER, Limits, Packing, Plan, Ragged, Walk};

/// One answer: what the model says after a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Index of the sequence, as given.
    pub sequence: usize,
    /// The log-probabilities after its last token.
    pub position: Position,
}

/// A plan, a context to carry it out, and how far it got.
#[derive(Debug)]
pub struct Scorer {
    decoder: Decoder,
    plan: Plan,
    wanted: Ragged,
    walk: Option<Walk>,
    header_done: bool,
}

impl Scorer {
    /// Plan the scoring of `sequences` on a context with a unified cache; `wanted` are the token ids whose
    /// log-probabilities are read after each. The cache is emptied.
    ///
    /// # Errors
    /// What [`Plan::new`] refuses, or wanted ids outside the vocabulary.
    pub fn new(
        context: Arc<Context>,
        sequences: Ragged,
        wanted: Ragged,
        n_block: usize,
        packing: Packing,
    ) -> Result<Self> {
        let decoder = Decoder::new(context);
        check_wanted(&wanted, sequences.len(), decoder.n_vocab)?;
        let limits = Limits {
            n_batch: decoder.n_batch,
            n_seq_max: decoder.n_seq_max,
            n_longest: decoder.n_ctx.saturating_sub(decoder.n_batch),
            n_vocab: decoder.n_vocab,
            packing,
            n_block,
        };
        let plan = Plan::new(sequences, limits)?;
        Ok(Self { decoder, plan, wanted, walk: None, header_done: false })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Tokens decoded so far.
    #[must_use]
    pub fn n_decoded(&self) -> usize {
        self.decoder.n_decoded()
    }

    /// Begin a block: the cache is brought back to the header alone.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`], [`Error::Decode`].
    pub fn start(&mut self, block: usize) -> Result<()> {
        let walk = self.plan.walk(block)?;
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        for sequence in HEADER + 1..self.plan.n_seq_max() as i32 {
            self.decoder.remove(sequence);
        }
        self.decoder.truncate(self.plan.header().len());
        if !self.header_done {
            let decoder = &mut self.decoder;
            self.plan.header_batches().try_for_each(|batch| decoder.decode(&batch, &[]))?;
            self.header_done = true;
        }
        self.walk = Some(walk);
        Ok(())
    }

    /// Decode one batch and return what it answered; none at the end of the block.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::NoLogits`].
    pub fn step(&mut self) -> Result<Option<Vec<Scored>>> {
        let Some(walk) = self.walk.as_mut() else { return Ok(None) };
        let Some(step) = walk.step(&self.plan) else {
            self.walk = None;
            return Ok(None);
        };
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        if let Some(len) = step.truncate {
            self.decoder.truncate(len);
        }
        step.removes.iter().for_each(|&sequence| self.decoder.remove(sequence));
        step.copies.iter().for_each(|&copy| self.decoder.copy(copy));
        let rows: Vec<usize> = step.outputs.iter().map(|&(row, _)| row).collect();
        self.decoder.decode(&step.tokens, &rows)?;
        let mut scored = vec![];
        for &(row, leaf) in &step.outputs {
            let logits = self.decoder.logits(row, step.tokens.len())?;
            for &sequence in self.plan.leaf_sequences(leaf) {
                let position = position(logits, self.wanted.row(sequence));
                scored.push(Scored { sequence, position });
            }
        }
        Ok(Some(scored))
    }
}

fn check_wanted(wanted: &Ragged, n_sequences: usize, n_vocab: usize) -> Result<()> {
    if wanted.len() != n_sequences {
        return Err(Error::Offsets { name: "wanted", n_values: n_sequences });
    }
    for index in 0..wanted.len() {
        let outside = |&&id: &&i32| id < 0 || id as usize >= n_vocab;
        if let Some(&token) = wanted.row(index).iter().find(outside) {
            return Err(Error::TokenOutOfRange { index, token, n_vocab });
        }
    }
    Ok(())
}
