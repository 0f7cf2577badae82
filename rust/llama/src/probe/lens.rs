//! Logits of the residual stream after any layer.

use std::sync::Arc;

use super::callback::{BatchRow, Task, Work, Write};
use super::pack::round_up;
use super::prober::{Prober, check_rows};
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
        check_rows(wanted, self.decoder.n_vocab)?;
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        let mut logits = vec![];
        let n_each = self.room.n_temporary.min(self.decoder.n_batch);
        for (number, part) in rows.chunks(n_each * width).enumerate() {
            self.unembed_batch(part, wanted, number * n_each, &mut logits)?;
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
        let n_rows = rows.len() / width;
        let n = round_up(n_rows);
        let sequences = self.sequences.emptied(&mut self.decoder, n);
        let token = |&sequence: &i32| Token { id: 0, pos: 0, sequences: vec![sequence] };
        let write = |(i, row): (usize, &[f32])| Write {
            row: BatchRow { token: i, output: Some(i) },
            column: 0,
            values: row.to_vec(),
        };
        let writes = rows.chunks(width).enumerate().map(write).collect();
        let mut task = Task { n_tokens: n, n_outputs: n, n_head: shape.n_head, ..Task::default() };
        task.work
            .insert(Site::Residual.node(shape.n_layer - 1), Work { width, writes, reads: vec![] });
        let tokens: Vec<Token> = sequences.iter().map(token).collect();
        self.decode(&tokens, &(0..n).collect::<Vec<_>>(), task, 0)?;
        for i in 0..n_rows {
            self.read_logits(i, n, wanted.row(first + i), logits)?;
        }
        Ok(())
    }
}
