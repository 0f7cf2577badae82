//! Greedy continuation of many prompts at once.
//!
//! Continuous batching: each prompt has a place (a cache sequence); a batch takes one token of every
//! text that is being written and fills what is left with prompts that are being read; when a text
//! ends, its place goes to the next prompt. The prefix common to all prompts is decoded once.

mod schedule;

use std::sync::Arc;

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::handle::Context;
use crate::logprob::{Choice, choose};
use crate::plan::{HEADER, Limits, Packing, Plan, Ragged};
use crate::tokenizer::Tokenizer;
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

/// Prompts, a context to continue them on, and how far it got.
#[derive(Debug)]
pub struct Generator {
    decoder: Decoder,
    tokenizer: Tokenizer,
    plan: Plan,
    rules: Rules,
    schedule: Schedule,
    header_done: bool,
    n_generated: usize,
}

impl Generator {
    /// Plan the continuation of `prompts` on a context, whose cache need not be unified and is emptied.
    ///
    /// # Errors
    /// What [`Plan::new`] refuses, [`Error::TooSmall`].
    pub fn new(
        context: Arc<Context>,
        prompts: Ragged,
        rules: Rules,
        n_block: usize,
        packing: Packing,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::new(Arc::clone(context.model()));
        let decoder = Decoder::new(context);
        for (name, value) in [("n_generate", rules.n_generate), ("n_places", rules.n_places)] {
            if value < 1 {
                return Err(Error::TooSmall { name, value, least: 1 });
            }
        }
        let n_places = rules.n_places.min(decoder.n_seq_max.saturating_sub(1)).min(decoder.n_batch);
        // Every place may hold a whole prompt and a whole text beside the header.
        let share = decoder.n_ctx / decoder.n_seq_max;
        let limits = Limits {
            n_batch: decoder.n_batch,
            n_seq_max: decoder.n_seq_max,
            n_longest: share.saturating_sub(rules.n_generate),
            n_vocab: decoder.n_vocab,
            packing,
            n_block,
        };
        let plan = Plan::new(prompts, limits)?;
        let schedule = Schedule::new(n_places);
        Ok(Self { decoder, tokenizer, plan, rules, schedule, header_done: false, n_generated: 0 })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Tokens decoded so far, prompts' and texts'.
    #[must_use]
    pub fn n_decoded(&self) -> usize {
        self.decoder.n_decoded()
    }

    /// Tokens chosen so far.
    #[must_use]
    pub fn n_generated(&self) -> usize {
        self.n_generated
    }

    /// Begin a block: the cache is brought back to the header alone.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`], [`Error::Decode`].
    pub fn start(&mut self, block: usize) -> Result<()> {
        let leaves = self.plan.block(block)?;
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
        self.schedule.start(leaves);
        Ok(())
    }

    /// Decode one batch and return the texts that ended with it; none at the end of the block.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::NoLogits`].
    pub fn step(&mut self) -> Result<Option<Vec<Generated>>> {
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        let header = self.plan.header().len();
        for sequence in self.schedule.admit(header) {
            if self.rules.n_places == 1 && header == 0 {
                // A prompt alone finds an empty cache, so that its cells stand where they always do.
                self.decoder.truncate(0);
            }
            self.decoder.remove(sequence);
            if header > 0 {
                self.decoder.copy_whole(HEADER, sequence);
            }
        }
        let batch = self.schedule.batch(&self.plan, self.decoder.n_batch);
        if batch.tokens.is_empty() {
            return Ok(None);
        }
        let rows: Vec<usize> = batch.outputs.iter().map(|&(row, _)| row).collect();
        self.decoder.decode(&batch.tokens, &rows)?;
        let mut finished = vec![];
        for &(row, place) in &batch.outputs {
            let choice = choose(self.decoder.logits(row, batch.tokens.len())?);
            self.n_generated += 1;
            if let Some(stop) = self.extend(place, choice) {
                self.finish(place, stop, &mut finished);
            }
        }
        Ok(Some(finished))
    }

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

    fn finish(&mut self, place: usize, stop: Stop, finished: &mut Vec<Generated>) {
        let Place { leaf, text, logp, least_gap, n_chosen, .. } = self.schedule.release(place);
        finished.extend(self.plan.leaf_sequences(leaf).iter().map(|&sequence| Generated {
            sequence,
            text: text.clone(),
            stop,
            n_tokens: n_chosen,
            logp,
            least_gap,
        }));
    }
}

/// Where the first stop text begins, if one ends after `before`.
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
