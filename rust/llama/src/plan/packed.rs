//! Full batches: many sequences in each, shared tokens tagged with all of theirs.

use std::ops::Range;

use super::{Copy, HEADER, Plan, Step, Token};

/// The steps of one block, made one at a time.
#[derive(Debug)]
pub(crate) struct Packed {
    next: usize,
    end: usize,
    /// Sequence and leaf admitted last: the next one copies from it.
    last: i32,
    current: Option<usize>,
    /// For each position of the leaf admitted last: its index in the batch at hand, or none if cached.
    path: Vec<Option<usize>>,
    free: Vec<i32>,
    finished: Vec<i32>,
}

impl Packed {
    pub(super) fn new(plan: &Plan, leaves: Range<usize>) -> Self {
        Self {
            next: leaves.start,
            end: leaves.end,
            last: HEADER,
            current: None,
            path: vec![None; plan.header],
            free: (1..plan.limits.n_seq_max as i32).rev().collect(),
            finished: vec![],
        }
    }

    pub(super) fn step(&mut self, plan: &Plan) -> Option<Step> {
        let mut step = Step::default();
        self.release(&mut step);
        loop {
            if let Some(leaf) = self.current {
                self.append(plan, leaf, &mut step);
            }
            let room = step.tokens.len() < plan.limits.n_batch && !self.free.is_empty();
            if self.current.is_some() || self.next == self.end || !room {
                break;
            }
            self.admit(plan, &mut step);
        }
        self.path.fill(None);
        (!step.tokens.is_empty()).then_some(step)
    }

    /// Empty the finished sequences, but keep the one that the next leaf copies from.
    fn release(&mut self, step: &mut Step) {
        let last = self.last;
        let (keep, gone): (Vec<i32>, Vec<i32>) = self.finished.drain(..).partition(|&s| s == last);
        self.finished = keep;
        self.free.extend(gone.iter().rev());
        step.removes = gone;
    }

    /// Give the next leaf a sequence that already holds what it shares with the leaf before.
    fn admit(&mut self, plan: &Plan, step: &mut Step) {
        let leaf = self.next;
        let sequence = self.free.pop().expect("checked by the caller");
        let shared = if self.last == HEADER { plan.header } else { plan.shared[leaf] };
        self.path.truncate(shared);
        let cached = self.path.iter().take_while(|place| place.is_none()).count();
        if cached > 0 {
            step.copies.push(Copy { from: self.last, to: sequence, len: cached });
        }
        for place in self.path[cached..].iter().flatten() {
            step.tokens[*place].sequences.push(sequence);
        }
        self.last = sequence;
        self.current = Some(leaf);
        self.next += 1;
    }

    /// Add tokens of the current leaf until it or the batch is complete.
    fn append(&mut self, plan: &Plan, leaf: usize, step: &mut Step) {
        let tokens = plan.tokens(leaf);
        while self.path.len() < tokens.len() && step.tokens.len() < plan.limits.n_batch {
            let pos = self.path.len();
            self.path.push(Some(step.tokens.len()));
            step.tokens.push(Token { id: tokens[pos], pos, sequences: vec![self.last] });
        }
        if self.path.len() == tokens.len() {
            step.outputs.push((step.tokens.len() - 1, leaf));
            self.finished.push(self.last);
            self.current = None;
        }
    }
}
