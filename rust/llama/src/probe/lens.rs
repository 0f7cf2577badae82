//! Logits of the residual stream after any layer.

use std::sync::Arc;

use super::callback::{BatchRow, Task, Work, Write};
use super::prober::{Prober, check_ids};
use super::request::Site;
use crate::error::{Error, Result};
use crate::plan::{Ragged, Token};

impl Prober {
    /// Logits that the model makes of rows of the residual stream after its last layer.
    ///
    /// llama.cpp itself applies the last norm, the output rows, soft-caps and scales: each row replaces
    /// the last layer's output at a token whose own value does not matter.
    ///
    /// # Errors
    /// [`Error::Length`] if `rows` does not hold a row for each of `wanted`; what a decode refuses.
    pub fn unembed(&mut self, rows: &[f32], wanted: &Ragged) -> Result<Vec<f32>> {
        let width = self.shape.width(Site::Residual);
        if rows.len() != wanted.len() * width {
            let expected = wanted.len() * width;
            return Err(Error::Length { name: "rows", actual: rows.len(), expected });
        }
        check_ids(wanted, self.decoder.n_vocab)?;
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        let mut logits = vec![];
        let n_batch = self.decoder.n_batch;
        for (number, part) in rows.chunks(n_batch * width).enumerate() {
            self.unembed_batch(part, wanted, number * n_batch, &mut logits)?;
        }
        Ok(logits)
    }

    fn unembed_batch(
        &mut self,
        rows: &[f32],
        wanted: &Ragged,
        first: usize,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let (shape, width) = (self.shape, self.shape.width(Site::Residual));
        let (n, n_free, n_slots) = (rows.len() / width, self.n_temporary(), self.slots.len());
        let token = |i: usize| {
            let sequences = vec![(n_slots + i % n_free) as i32];
            Token { id: 0, pos: i / n_free, sequences }
        };
        let write = |(i, row): (usize, &[f32])| Write {
            row: BatchRow { token: i, output: Some(i) },
            column: 0,
            values: row.to_vec(),
        };
        let writes = rows.chunks(width).enumerate().map(write).collect();
        let mut task = Task { n_tokens: n, n_outputs: n, n_head: shape.n_head, ..Task::default() };
        task.work
            .insert(Site::Residual.node(shape.n_layer - 1), Work { width, writes, reads: vec![] });
        let tokens: Vec<Token> = (0..n).map(token).collect();
        self.decode(&tokens, &(0..n).collect::<Vec<_>>(), task, 0)?;
        for i in 0..n {
            self.read_logits(i, n, wanted.row(first + i), logits)?;
        }
        for sequence in n_slots..n_slots + n_free {
            self.decoder.remove(sequence as i32);
        }
        Ok(())
    }
}
