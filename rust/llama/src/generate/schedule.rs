//! The places, and the tokens that each adds to the next batch. Nothing here calls llama.cpp.

use std::ops::Range;

use crate::logprob::Choice;
use crate::plan::{Plan, Token};

/// A prompt that is being read, or its text that is being written.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Leaf of the plan.
    pub(super) leaf: usize,
    /// The text so far.
    pub(super) text: Vec<u8>,
    /// Log-probability of the tokens chosen.
    pub(super) logp: f64,
    /// Smallest lead of a chosen token.
    pub(super) least_gap: f64,
    /// Tokens chosen.
    pub(super) n_chosen: usize,
    /// Tokens in the cache.
    n_cached: usize,
    /// The token chosen last, not yet in the cache.
    pending: Option<i32>,
}

impl Place {
    fn new(leaf: usize, n_cached: usize) -> Self {
        Self {
            leaf,
            text: vec![],
            logp: 0.0,
            least_gap: f64::INFINITY,
            n_chosen: 0,
            n_cached,
            pending: None,
        }
    }

    /// Take a token over.
    pub(super) fn choose(&mut self, choice: Choice) {
        self.pending = Some(choice.token);
        self.logp += choice.logp;
        // `min` would drop a NaN.
        self.least_gap = if choice.gap < self.least_gap || choice.gap.is_nan() {
            choice.gap
        } else {
            self.least_gap
        };
        self.n_chosen += 1;
    }
}

/// A batch, and (index in it, place) of the positions to read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) tokens: Vec<Token>,
    pub(super) outputs: Vec<(usize, usize)>,
}

/// The places of one block. Place i is cache sequence i + 1; sequence 0 is the header's.
#[derive(Debug)]
pub(super) struct Schedule {
    waiting: Range<usize>,
    places: Vec<Option<Place>>,
}

impl Schedule {
    pub(super) fn new(n_places: usize) -> Self {
        Self { waiting: 0..0, places: vec![None; n_places] }
    }

    /// Begin a block of leaves.
    pub(super) fn start(&mut self, leaves: Range<usize>) {
        self.places.fill(None);
        self.waiting = leaves;
    }

    /// Give free places to the next prompts, whose first `header` tokens are in the cache; returns
    /// their sequences.
    pub(super) fn admit(&mut self, header: usize) -> Vec<i32> {
        let mut admitted = vec![];
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.is_some() {
                continue;
            }
            let Some(leaf) = self.waiting.next() else { break };
            *place = Some(Place::new(leaf, header));
            admitted.push(sequence(index));
        }
        admitted
    }

    /// The next batch: first a token of every text, then as much of the prompts as fits.
    pub(super) fn batch(&mut self, plan: &Plan, n_batch: usize) -> Batch {
        let mut batch = Batch::default();
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(place) = place else { continue };
            let Some(id) = place.pending.take() else { continue };
            batch.outputs.push((batch.tokens.len(), index));
            let pos = place.n_cached;
            batch.tokens.push(Token { id, pos, sequences: vec![sequence(index)] });
            place.n_cached += 1;
        }
        for (index, place) in self.places.iter_mut().enumerate() {
            if let Some(place) = place.as_mut().filter(|place| place.n_chosen == 0) {
                read_prompt(place, index, plan, n_batch, &mut batch);
            }
        }
        batch
    }

    /// The place of that number, which must be taken.
    pub(super) fn place(&mut self, index: usize) -> &mut Place {
        self.places[index].as_mut().expect("an output belongs to a place that is taken")
    }

    /// Free a place.
    pub(super) fn release(&mut self, index: usize) -> Place {
        self.places[index].take().expect("an output belongs to a place that is taken")
    }
}

fn read_prompt(place: &mut Place, index: usize, plan: &Plan, n_batch: usize, batch: &mut Batch) {
    let prompt = plan.tokens(place.leaf);
    while place.n_cached < prompt.len() && batch.tokens.len() < n_batch {
        let pos = place.n_cached;
        batch.tokens.push(Token { id: prompt[pos], pos, sequences: vec![sequence(index)] });
        place.n_cached += 1;
        if place.n_cached == prompt.len() {
            batch.outputs.push((batch.tokens.len() - 1, index));
        }
    }
}

fn sequence(index: usize) -> i32 {
    index as i32 + 1
}

#[cfg(test)]
mod tests;
