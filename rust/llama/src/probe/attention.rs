//! Attention weights, read from the softmax node.

use super::callback::{Read, Task, Work};
use super::prober::{Prober, Watched, check_rows};
use crate::error::{Error, Result};
use crate::plan::{Ragged, Token};
use crate::turn::Turn;

impl Prober {
    /// Attention weights of each prompt's last token: prompt after prompt, `[layer][head][token]`.
    ///
    /// The cache is emptied before and after, since cells lie in the order of tokens only in an empty
    /// cache; and a batch holds one prompt, since the node has a further dimension if there are several.
    /// Flash attention must be off: with it the weights are never computed.
    ///
    /// # Errors
    /// [`Error::NodeMissing`] with flash attention on; [`Error::CellOrder`]; what a decode refuses.
    pub fn attention(&mut self, prompts: &Ragged) -> Result<Vec<f32>> {
        let capacity = self.watched.capacity;
        check_prompts(prompts, (capacity.n_vocab, capacity.n_batch))?;
        let mut turn = self.lease.turn()?;
        let mut weights = vec![];
        for index in 0..prompts.len() {
            self.sequences.empty(&mut turn);
            weights.extend(self.watched.attention_of(&mut turn, prompts.row(index))?);
        }
        self.sequences.empty(&mut turn);
        Ok(weights)
    }
}

impl Watched {
    fn attention_of(&self, turn: &mut Turn<'_>, prompt: &[i32]) -> Result<Vec<f32>> {
        let (n_layer, n_head, n_tokens) = (self.shape.n_layer, self.shape.n_head, prompt.len());
        let token = |(pos, &id)| Token { id, pos, sequences: vec![0] };
        let tokens: Vec<Token> = prompt.iter().enumerate().map(token).collect();
        let read = |layer| Read::Attention {
            token: n_tokens - 1,
            n: n_tokens,
            out: layer * n_head * n_tokens,
        };
        let work = |layer| Work { reads: vec![read(layer)], ..Work::default() };
        let node = |layer| format!("kq_soft_max-{layer}");
        let work = (0..n_layer).map(|layer| (node(layer), work(layer))).collect();
        let task = Task { n_tokens, n_outputs: 1, n_head, work, ..Task::default() };
        let n_out = n_layer * n_head * n_tokens;
        Ok(self.decode(turn, &tokens, &[n_tokens - 1], task, n_out)?.0.values)
    }
}

fn check_prompts(prompts: &Ragged, (n_vocab, n_batch): (usize, usize)) -> Result<()> {
    check_rows(prompts, n_vocab)?;
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
