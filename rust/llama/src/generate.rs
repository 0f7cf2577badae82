//! Greedy continuation of many prompts at once.
//!
//! Continuous batching: each prompt has a place (a cache sequence); a batch takes one token of every
//! text that is being written and fills what is left with prompts that are being read; when a text
//! ends, its place goes to the next prompt. The prefix common to all prompts is decoded once.

mod schedule;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::Context;
use crate::logprob::Choice;
use crate::plan::{HEADER, Limits, Packing, Plan, Ragged};
use crate::run::{Run, Work};
use crate::tokenizer::Tokenizer;
use crate::turn::{Lease, Turn};
use schedule::{Place, Schedule};

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model ended its turn.
    End,
    /// A stop text came up.
    Text,
    /// The token budget is spent.
    Length,
    /// A logit was not a number.
    NotFinite,
}

impl Stop {
    /// One word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Text => "text",
            Self::Length => "length",
            Self::NotFinite => "non-finite logits",
        }
    }
}

/// A finished text.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Index of the prompt, as given.
    pub sequence: usize,
    /// The text's bytes, without the stop text or the token that ended it.
    pub text: Vec<u8>,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens chosen, the one that ended it included.
    pub n_tokens: usize,
    /// Sum of their log-probabilities.
    pub logp: f64,
    /// The smallest lead that a chosen token had over the second best, in logits.
    pub least_gap: f64,
}

/// When a text ends.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Most tokens of a text; at least 1.
    pub n_generate: usize,
    /// Texts that end it.
    pub stop: Vec<Vec<u8>>,
    /// Prompts in flight; 1 gives each batches of its own.
    pub n_places: usize,
}

/// A run that continues prompts.
pub type Generator = Run<Generation>;

/// When the texts end, and which of them are being written.
#[derive(Debug)]
pub struct Generation {
    tokenizer: Tokenizer,
    rules: Rules,
    schedule: Schedule,
    n_batch: usize,
}

impl Generator {
    /// Plan the continuation of `prompts` on a context, which is emptied. Its cache need not be unified.
    ///
    /// # Errors
    /// Those of [`Plan::new`], and [`Error::TooSmall`].
    pub fn new(
        context: Arc<Context>,
        prompts: Ragged,
        rules: Rules,
        n_block: usize,
        packing: Packing,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::new(Arc::clone(context.model()));
        let capacity = context.capacity();
        for (name, value) in [("n_generate", rules.n_generate), ("n_places", rules.n_places)] {
            if value < 1 {
                return Err(Error::TooSmall { name, value, least: 1 });
            }
        }
        let n_places =
            rules.n_places.min(capacity.n_seq_max.saturating_sub(1)).min(capacity.n_batch);
        // Every place may hold a whole prompt and a whole text beside the header.
        let n_longest = (capacity.n_ctx / capacity.n_seq_max).saturating_sub(rules.n_generate);
        let plan = Plan::new(prompts, Limits::new(capacity, n_longest, packing, n_block, 0))?;
        let schedule = Schedule::new(n_places);
        let work = Generation { tokenizer, rules, schedule, n_batch: capacity.n_batch };
        Ok(Self::with(Lease::take(context), plan, work))
    }
}

impl Work for Generation {
    type Done = Generated;

    fn start(&mut self, plan: &Plan, block: usize) -> Result<()> {
        self.schedule.start(plan.block(block)?);
        Ok(())
    }

    fn step(&mut self, plan: &Plan, turn: &mut Turn<'_>) -> Result<Option<Vec<Generated>>> {
        let header = plan.header().len();
        for sequence in self.schedule.admit(header) {
            if self.rules.n_places == 1 && header == 0 {
                // A prompt alone finds an empty cache, so that its cells stand where they always do.
                turn.truncate(0)?;
            }
            turn.remove(sequence)?;
            if header > 0 {
                turn.copy_whole(HEADER, sequence);
            }
        }
        let batch = self.schedule.batch(plan, self.n_batch);
        if batch.tokens.is_empty() {
            return Ok(None);
        }
        let rows: Vec<usize> = batch.outputs.iter().map(|&(row, _)| row).collect();
        let read = turn.decode(&batch.tokens, &rows)?.read(&rows)?;
        let mut finished = vec![];
        for (row, &(_, place)) in read.iter().zip(&batch.outputs) {
            if let Some(stop) = self.extend(place, row.choice()) {
                self.finish(plan, place, stop, &mut finished);
            }
        }
        Ok(Some(finished))
    }
}

impl Generation {
    /// Add the chosen token to a text and say whether that ends it.
    fn extend(&mut self, place: usize, choice: Choice) -> Option<Stop> {
        let ends = self.tokenizer.ends_generation(choice.token);
        let piece = if ends { vec![] } else { self.tokenizer.piece(choice.token) };
        let writer = self.schedule.place(place);
        writer.choose(choice);
        if choice.token < 0 {
            return Some(Stop::NotFinite);
        }
        if ends {
            return Some(Stop::End);
        }
        let before = writer.text.len();
        writer.text.extend(piece);
        if let Some(at) = find_stop(&writer.text, before, &self.rules.stop) {
            writer.text.truncate(at);
            return Some(Stop::Text);
        }
        (writer.n_chosen == self.rules.n_generate).then_some(Stop::Length)
    }

    fn finish(&mut self, plan: &Plan, place: usize, stop: Stop, finished: &mut Vec<Generated>) {
        let Place { leaf, text, logp, least_gap, n_chosen, .. } = self.schedule.release(place);
        finished.extend(plan.leaf_sequences(leaf).iter().map(|&sequence| Generated {
            sequence,
            text: text.clone(),
            stop,
            n_tokens: n_chosen,
            logp,
            least_gap,
        }));
    }
}

/// Start of the first stop text that ends after `before`.
fn find_stop(text: &[u8], before: usize, stops: &[Vec<u8>]) -> Option<usize> {
    let starts = stops.iter().filter_map(|stop| {
        let from = (before + 1).saturating_sub(stop.len());
        text[from..].windows(stop.len()).position(|window| window == stop).map(|at| from + at)
    });
    starts.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_text_may_span_tokens_and_the_earliest_wins() {
        let stops = [b"\n\n".to_vec(), b"END".to_vec()];
        assert_eq!(find_stop(b"yes\n", 3, &stops), None);
        assert_eq!(find_stop(b"yes\n\n", 4, &stops), Some(3));
        assert_eq!(find_stop(b"a END\n\n", 1, &stops), Some(2));
        assert_eq!(find_stop(b"\n\nabc", 4, &stops), None);
    }
}
