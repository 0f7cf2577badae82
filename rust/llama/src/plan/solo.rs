//! One sequence at a time in cells that lie in order, so that a score has the very bits that it has
//! when its prompt is decoded alone.

use std::ops::Range;

use super::{HEADER, Plan, Step, Token};

/// Fewer tokens than this go through other kernels of llama.cpp (matrix times vector instead of
/// matrix times matrix), whose sums are rounded otherwise.
const LEAST: usize = 2;

/// The steps of one block, made one at a time.
#[derive(Debug)]
pub struct Solo {
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

    /// What the cache holds of the next leaf, less what its last batch needs to be no less than
    /// [`LEAST`] tokens.
    fn kept(&self, plan: &Plan) -> usize {
        let leaf = self.next;
        let shared = if leaf == self.first { plan.header } else { plan.shared[leaf] };
        shared.min(plan.tokens(leaf).len().saturating_sub(LEAST))
    }
}

/// Where a batch that begins at `from` ends: never so that a single token is left for the last one.
fn chunk_end(from: usize, len: usize, n_batch: usize) -> usize {
    let end = len.min(from + n_batch);
    let rest = len - end;
    if 0 < rest && rest < LEAST && end - from > LEAST { end - (LEAST - rest) } else { end }
}
