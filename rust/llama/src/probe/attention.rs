//! Attention weights, read from the softmax node.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::callback::{Read, Task, Work};
use super::prober::{Prober, check_ids};
use crate::error::{Error, Result};
use crate::plan::{Ragged, Token};

impl Prober {
    /// Attention weights of each prompt's last token: prompt after prompt, `[layer][head][token]`.
    ///
    /// The cache is emptied before and after, since cells lie in the order of tokens only in an empty
    /// cache. Flash attention must be off: with it the weights are never computed.
    ///
    /// # Errors
    /// [`Error::NodeMissing`] with flash attention on; [`Error::CellOrder`]; what a decode refuses.
    pub fn attention(&mut self, prompts: &Ragged) -> Result<Vec<f32>> {
        let (n_batch, n_seq_max) = (self.decoder.n_batch, self.decoder.n_seq_max);
        check_prompts(prompts, (self.decoder.n_vocab, n_batch))?;
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        let mut weights = vec![];
        let mut start = 0;
        while start < prompts.len() {
            let mut stop = start;
            let mut n_tokens = 0;
            while stop < prompts.len()
                && stop - start < n_seq_max
                && n_tokens + prompts.row(stop).len() <= n_batch
            {
                n_tokens += prompts.row(stop).len();
                stop += 1;
            }
            self.empty();
            weights.extend(self.attention_batch(prompts, start..stop)?);
            start = stop;
        }
        self.empty();
        Ok(weights)
    }

    fn attention_batch(&mut self, prompts: &Ragged, range: Range<usize>) -> Result<Vec<f32>> {
        let (n_layer, n_head) = (self.shape.n_layer, self.shape.n_head);
        let mut tokens: Vec<Token> = vec![];
        let mut outputs = vec![];
        let mut work: HashMap<String, Work> = HashMap::new();
        let mut n_out = 0;
        for (sequence, prompt) in range.map(|index| prompts.row(index)).enumerate() {
            let (first, n) = (tokens.len(), prompt.len());
            let sequences = vec![sequence as i32];
            let token = |(pos, &id)| Token { id, pos, sequences: sequences.clone() };
            tokens.extend(prompt.iter().enumerate().map(token));
            outputs.push(first + n - 1);
            for layer in 0..n_layer {
                let read = Read::Attention { token: first + n - 1, first, n, out: n_out };
                work.entry(format!("kq_soft_max-{layer}")).or_default().reads.push(read);
                n_out += n_head * n;
            }
        }
        let (n_tokens, n_outputs) = (tokens.len(), outputs.len());
        let task = Task { n_tokens, n_outputs, n_head, work, measure: false };
        Ok(self.decode(&tokens, &outputs, task, n_out)?.values)
    }
}

fn check_prompts(prompts: &Ragged, (n_vocab, n_batch): (usize, usize)) -> Result<()> {
    check_ids(prompts, n_vocab)?;
    for index in 0..prompts.len() {
        let n_tokens = prompts.row(index).len();
        if n_tokens == 0 {
            return Err(Error::EmptySequence { index });
        }
        if n_tokens > n_batch {
            return Err(Error::TooLong { index, n_tokens, limit: n_batch });
        }
    }
    Ok(())
}
