//! Full batches: many sequences in each, shared tokens tagged with all of theirs.

use std::ops::Range;

use super::{Copy, HEADER, Packing, Plan, Step, Token};

/// Tokens a batch for each row of logits, by which a stable batch's rows are rounded up.
const TOKENS_A_ROW: usize = 64;

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
    /// The sequence of the tokens that fill a stable batch up.
    filler: Option<i32>,
}

impl Packed {
    pub(super) fn new(plan: &Plan, leaves: Range<usize>) -> Self {
        let is_stable = plan.limits.packing == Packing::Stable;
        let n_places = plan.limits.n_seq_max as i32 - i32::from(is_stable);
        Self {
            next: leaves.start,
            end: leaves.end,
            last: HEADER,
            current: None,
            path: vec![None; plan.header],
            free: (1..n_places).rev().collect(),
            finished: vec![],
            filler: is_stable.then_some(n_places),
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
        if step.tokens.is_empty() {
            return None;
        }
        if let Some(filler) = self.filler {
            fill_up(plan, filler, &mut step);
        }
        Some(step)
    }

    /// Empty the finished sequences, but keep the one that the next leaf copies from.
    fn release(&mut self, step: &mut Step) {
        let last = self.last;
        let (keep, gone): (Vec<i32>, Vec<i32>) = self.finished.drain(..).partition(|&s| s == last);
        self.finished = keep;
        self.free.extend(gone.iter().rev());
        step.removes = gone;
        step.removes.extend(self.filler);
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

/// Fill a batch up to its full size, and its rows of logits to a multiple.
fn fill_up(plan: &Plan, filler: i32, step: &mut Step) {
    let id = plan.tokens(0)[0];
    let n = step.tokens.len();
    for pos in 0..plan.limits.n_batch - n {
        step.tokens.push(Token { id, pos, sequences: vec![filler] });
    }
    let each = (plan.limits.n_batch / TOKENS_A_ROW).max(1);
    let wanted = step.outputs.len().next_multiple_of(each).max(each).min(step.tokens.len());
    let read: Vec<usize> = step.outputs.iter().map(|&(row, _)| row).collect();
    let missing = wanted - read.len();
    step.idle =
        (0..step.tokens.len()).rev().filter(|row| !read.contains(row)).take(missing).collect();
}
