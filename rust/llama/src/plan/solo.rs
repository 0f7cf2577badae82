//! One sequence at a time in cells that lie in order: a score is bit-identical to that of the prompt
//! decoded alone.

use std::ops::Range;

use super::{HEADER, Plan, Step, Token};

/// Batches of fewer tokens use other kernels of llama.cpp, which round sums differently: one token with
/// any weights, up to seven with quantised ones.
pub(crate) const LEAST: usize = 8;

/// Kernels for repacked quantised weights take the rows of a batch four at a time and what is left one
/// by one, so a batch begins where a group of four would begin if nothing were kept.
pub(crate) const GROUP: usize = 4;

/// The steps of one block, made one at a time.
#[derive(Debug)]
pub(crate) struct Solo {
    next: usize,
    end: usize,
    first: usize,
    /// Tokens of leaf `next` that are in the cache.
    done: usize,
}

impl Solo {
    pub(super) fn new(plan: &Plan, leaves: Range<usize>) -> Self {
        let mut walk = Self { next: leaves.start, end: leaves.end, first: leaves.start, done: 0 };
        walk.done = walk.kept(plan);
        walk
    }

    pub(super) fn step(&mut self, plan: &Plan) -> Option<Step> {
        if self.next == self.end {
            return None;
        }
        let leaf = self.next;
        let ids = plan.tokens(leaf);
        let (from, to) = (self.done, chunk_end(self.done, ids.len(), plan.limits.n_batch));
        let tokens = (from..to).map(|pos| Token { id: ids[pos], pos, sequences: vec![HEADER] });
        let mut step = Step { truncate: Some(from), tokens: tokens.collect(), ..Step::default() };
        self.done = to;
        if to == ids.len() {
            step.outputs.push((to - from - 1, leaf));
            self.next += 1;
            self.done = if self.next < self.end { self.kept(plan) } else { 0 };
        }
        Some(step)
    }

    /// Number of tokens to keep in the cache for the next leaf: whole groups, with at least [`LEAST`]
    /// tokens left to decode, and nothing that a leaf of fewer tokens left.
    fn kept(&self, plan: &Plan) -> usize {
        let leaf = self.next;
        let shared = if leaf == self.first { plan.header } else { plan.shared[leaf] };
        let most = shared.min(plan.tokens(leaf).len().saturating_sub(LEAST));
        if most < LEAST { 0 } else { most - most % GROUP }
    }
}

/// End of a batch that begins at `from`: the end of a group, or of the sequence. It leaves at least
/// [`LEAST`] tokens for the last batch.
pub(super) fn chunk_end(from: usize, len: usize, n_batch: usize) -> usize {
    if from + n_batch >= len {
        return len;
    }
    let mut end = from + whole_groups(n_batch);
    while len - end < LEAST && end > from + LEAST {
        end -= GROUP;
    }
    end
}

/// The largest batch of whole groups, or what there is if none fits.
fn whole_groups(n_batch: usize) -> usize {
    if n_batch < GROUP { n_batch } else { n_batch - n_batch % GROUP }
}
