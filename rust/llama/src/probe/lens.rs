//! Logits of the residual stream after any layer.

use super::callback::{BatchRow, Task, Work, Write};
use super::pack::round_up;
use super::prober::{Prober, Watched, check_rows, pick};
use super::request::Site;
use crate::error::{Error, Result};
use crate::plan::{Ragged, Token};
use crate::turn::{Logits, Turn};

impl Prober {
    /// Logits that the model makes of rows of the residual stream after its last layer.
    ///
    /// llama.cpp itself applies the last norm, the output rows, soft-caps and scales: each row replaces
    /// the last layer's output at a token whose own value does not matter.
    ///
    /// # Errors
    /// [`Error::Length`] if `rows` does not hold a row for each of `wanted`; what a decode refuses.
    pub fn unembed(&mut self, rows: &[f32], wanted: &Ragged) -> Result<Vec<f32>> {
        let width = self.watched.shape.width(Site::Residual);
        if rows.len() != wanted.len() * width {
            let expected = wanted.len() * width;
            return Err(Error::Length { name: "rows", actual: rows.len(), expected });
        }
        check_rows(wanted, self.watched.capacity.n_vocab)?;
        let mut turn = self.lease.turn()?;
        let mut logits = vec![];
        let n_each = self.room.n_temporary.min(self.room.n_batch);
        for (number, part) in rows.chunks(n_each * width).enumerate() {
            let n = round_up(part.len() / width);
            let sequences = self.sequences.emptied(&mut turn, n)?;
            let found = self.watched.unembed(&mut turn, &sequences, part)?;
            for i in 0..part.len() / width {
                logits.extend(pick(found.row(i)?, wanted.row(number * n_each + i)));
            }
        }
        Ok(logits)
    }
}

impl Watched {
    /// The logits of some rows, each in a batch row of its own.
    fn unembed<'a>(
        &self,
        turn: &'a mut Turn<'_>,
        sequences: &[i32],
        rows: &[f32],
    ) -> Result<Logits<'a>> {
        let (shape, width, n) = (self.shape, self.shape.width(Site::Residual), sequences.len());
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
        let outputs: Vec<usize> = (0..n).collect();
        self.decode(turn, &tokens, &outputs, task, 0).map(|(_, logits)| logits)
    }
}
