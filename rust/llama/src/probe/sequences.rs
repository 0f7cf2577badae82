//! Contents of the sequences of the cache, from batch to batch.

use std::ops::Range;

use super::pack::{Room, Size};
use super::request::{Job, Request};
use crate::error::Result;
use crate::turn::Turn;

/// Sequences of a prober: sequence i is slot i and keeps a prompt, those above carry interventions.
#[derive(Debug)]
pub(super) struct Sequences {
    /// Cells held by each slot.
    pub(super) slots: Vec<usize>,
    /// How often each slot was filled.
    fillings: Vec<usize>,
    /// The prefix of each sequence above the slots.
    others: Vec<Option<Prefix>>,
}

/// Cells that were copied from a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    slot: usize,
    filling: usize,
    len: usize,
}

impl Sequences {
    pub(super) fn new(n_slots: usize, room: &Room) -> Self {
        Self {
            slots: vec![0; n_slots],
            fillings: vec![0; n_slots],
            others: vec![None; room.n_temporary],
        }
    }

    /// Empty the cache.
    pub(super) fn empty(&mut self, turn: &mut Turn<'_>) {
        turn.clear(true);
        self.slots.fill(0);
        self.others.fill(None);
    }

    /// Give each job of a batch a sequence that holds what it shares, and empty those that round it up;
    /// all of them, in order.
    pub(super) fn prepare(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        jobs: &Range<usize>,
        size: Size,
    ) -> Result<Vec<i32>> {
        let mut temporary = self.slots.len();
        let mut sequences = vec![];
        for job in &request.jobs[jobs.clone()] {
            let sequence = job.keep.unwrap_or_else(|| {
                temporary += 1;
                temporary - 1
            });
            self.take_over(turn, job, sequence)?;
            self.record(job, sequence);
            sequences.push(sequence as i32);
        }
        let n_more = size.n_sequences - jobs.len();
        sequences.extend(self.emptied_from(turn, temporary, n_more)?);
        Ok(sequences)
    }

    /// The first `n` sequences above the slots, with nothing in them.
    pub(super) fn emptied(&mut self, turn: &mut Turn<'_>, n: usize) -> Result<Vec<i32>> {
        self.emptied_from(turn, self.slots.len(), n)
    }

    fn emptied_from(&mut self, turn: &mut Turn<'_>, first: usize, n: usize) -> Result<Vec<i32>> {
        (first..first + n)
            .map(|sequence| self.drop_all(turn, sequence).map(|()| sequence as i32))
            .collect()
    }

    fn take_over(&mut self, turn: &mut Turn<'_>, job: &Job, sequence: usize) -> Result<()> {
        let to = sequence as i32;
        match job.parent {
            None => self.drop_all(turn, sequence),
            Some(slot) if slot == sequence || self.begins_with(sequence, slot, job.n_shared) => {
                turn.cut(to, job.n_shared)
            }
            Some(slot) => {
                turn.copy_whole(slot as i32, to);
                turn.cut(to, job.n_shared)
            }
        }
    }

    /// Record what a sequence holds if the batch fails: its shared prefix; a slot being filled holds nothing.
    fn record(&mut self, job: &Job, sequence: usize) {
        if let Some(slot) = job.keep {
            self.slots[slot] = 0;
            self.fillings[slot] += 1;
        } else if let Some(slot) = job.parent {
            let filling = self.fillings[slot];
            let prefix = Prefix { slot, filling, len: job.n_shared };
            self.prefix(sequence).map(|held| held.replace(prefix));
        }
    }

    fn prefix(&mut self, sequence: usize) -> Option<&mut Option<Prefix>> {
        sequence.checked_sub(self.slots.len()).map(|index| &mut self.others[index])
    }

    fn begins_with(&mut self, sequence: usize, slot: usize, n_shared: usize) -> bool {
        let filling = self.fillings[slot];
        let held = self.prefix(sequence).and_then(|held| *held);
        held.is_some_and(|p| (p.slot, p.filling) == (slot, filling) && p.len >= n_shared)
    }

    fn drop_all(&mut self, turn: &mut Turn<'_>, sequence: usize) -> Result<()> {
        if let Some(held) = self.prefix(sequence) {
            *held = None;
        }
        turn.remove(sequence as i32)
    }

    /// After a batch: record what the slots hold now. Other sequences are cut when they are used again.
    pub(super) fn settle(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        jobs: &Range<usize>,
    ) -> Result<()> {
        for job in &request.jobs[jobs.clone()] {
            if let Some(slot) = job.keep {
                let len = job.n_shared + job.tokens.len();
                turn.cut(slot as i32, len)?;
                self.slots[slot] = len;
            }
        }
        Ok(())
    }
}
