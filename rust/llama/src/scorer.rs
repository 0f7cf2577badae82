//! Scoring: the log-probabilities after each sequence of a plan.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::Context;
use crate::logprob::Position;
use crate::plan::{Limits, Packing, Plan, Ragged, Walk, check_ids};
use crate::run::{Run, Work};
use crate::turn::{Lease, Turn};

/// One answer: what the model says after a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Index of the sequence, as given.
    pub sequence: usize,
    /// The log-probabilities after its last token.
    pub position: Position,
}

/// A run that scores.
pub type Scorer = Run<Scoring>;

/// The tokens to read after each sequence, and how far a block has got.
#[derive(Debug)]
pub struct Scoring {
    wanted: Ragged,
    walk: Option<Walk>,
}

impl Scorer {
    /// Plan the scoring of `sequences` on a context with a unified cache, which is emptied. `wanted` holds
    /// the token ids to read after each sequence; `seed` draws
    /// the order of [`Packing::Stable`].
    ///
    /// # Errors
    /// Those of [`Plan::new`], and wanted ids outside the vocabulary.
    pub fn new(
        context: Arc<Context>,
        sequences: Ragged,
        wanted: Ragged,
        n_block: usize,
        packing: Packing,
        seed: u64,
    ) -> Result<Self> {
        let capacity = context.capacity();
        check_wanted(&wanted, sequences.len(), capacity.n_vocab)?;
        let n_longest = capacity.n_ctx.saturating_sub(capacity.n_batch);
        let plan = Plan::new(sequences, Limits::new(capacity, n_longest, packing, n_block, seed))?;
        Ok(Self::with(Lease::take(context), plan, Scoring { wanted, walk: None }))
    }
}

impl Work for Scoring {
    type Done = Scored;

    fn start(&mut self, plan: &Plan, block: usize) -> Result<()> {
        self.walk = Some(plan.walk(block)?);
        Ok(())
    }

    fn step(&mut self, plan: &Plan, turn: &mut Turn<'_>) -> Result<Option<Vec<Scored>>> {
        let Some(step) = self.walk.as_mut().and_then(|walk| walk.step(plan)) else {
            self.walk = None;
            return Ok(None);
        };
        if let Some(len) = step.truncate {
            turn.truncate(len)?;
        }
        step.removes.iter().try_for_each(|&sequence| turn.remove(sequence))?;
        step.copies.iter().for_each(|&copy| turn.copy(copy));
        let rows: Vec<usize> = step.outputs.iter().map(|&(row, _)| row).collect();
        let made = [rows.as_slice(), step.idle.as_slice()].concat();
        let read = turn.decode(&step.tokens, &made)?.read(&rows)?;
        let mut scored = vec![];
        for (row, &(_, leaf)) in read.iter().zip(&step.outputs) {
            let of = |&sequence: &usize| Scored {
                sequence,
                position: row.position(self.wanted.row(sequence)),
            };
            scored.extend(plan.leaf_sequences(leaf).iter().map(of));
        }
        Ok(Some(scored))
    }
}

fn check_wanted(wanted: &Ragged, n_sequences: usize, n_vocab: usize) -> Result<()> {
    if wanted.len() != n_sequences {
        return Err(Error::Offsets { name: "wanted", n_values: n_sequences });
    }
    (0..wanted.len()).try_for_each(|index| check_ids(index, wanted.row(index), n_vocab))
}
