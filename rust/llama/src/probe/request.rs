//! What is asked of a prober: jobs, edits, reads. Nothing here calls llama.cpp.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::plan::Ragged;

/// A place in every layer where activations can be read and overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// The residual stream after the layer (`l_out`).
    Residual,
    /// The heads' outputs side by side, before the output projection (`kqv_out`).
    Heads,
    /// The output of the feed-forward network (`ffn_out`).
    FeedForward,
}

impl Site {
    /// All sites; a site's number across the border is its index here.
    pub const ALL: [Self; 3] = [Self::Residual, Self::Heads, Self::FeedForward];

    /// llama.cpp's name of the node in one layer.
    #[must_use]
    pub fn node(self, layer: usize) -> String {
        let name = match self {
            Self::Residual => "l_out",
            Self::Heads => "kqv_out",
            Self::FeedForward => "ffn_out",
        };
        format!("{name}-{layer}")
    }
}

/// Sizes of a model, as its nodes have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of layers.
    pub n_layer: usize,
    /// Number of attention heads.
    pub n_head: usize,
    /// Width of a row at each site, in the order of [`Site::ALL`]; 0 where the model lacks the node.
    pub widths: [usize; 3],
}

impl Shape {
    /// Width of a row at a site.
    #[must_use]
    pub fn width(&self, site: Site) -> usize {
        self.widths[site as usize]
    }
}

/// Tokens to decode behind what a slot holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Slot whose first `n_shared` cells this job continues; none starts from nothing.
    pub parent: Option<usize>,
    /// Cells taken over from the parent.
    pub n_shared: usize,
    /// Slot that keeps the cells of this job; none drops them.
    pub keep: Option<usize>,
}

/// One row of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which job.
    pub job: usize,
    /// Which node.
    pub site: Site,
    /// Of which layer.
    pub layer: usize,
    /// Position in the prompt; one that the job decodes.
    pub position: usize,
}

/// Part of a row to overwrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// The row.
    pub row: Row,
    /// First column.
    pub column: usize,
    /// Number of columns.
    pub n_columns: usize,
    /// Offset of the new values in [`Request::values`]; none writes zeros.
    pub values: Option<usize>,
}

/// Everything for one call.
#[derive(Debug)]
pub struct Request {
    /// The jobs, answered in this order.
    pub jobs: Vec<Job>,
    /// For each job the tokens that it decodes.
    pub tokens: Ragged,
    /// For each job the token ids whose logits are read after its last token.
    pub wanted: Ragged,
    /// What to overwrite.
    pub edits: Vec<Edit>,
    /// New values, one edit's after another's, in any order.
    pub values: Vec<f32>,
    /// What to read, after all edits of the same node.
    pub reads: Vec<Row>,
}

/// What a request is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) n_vocab: usize,
    pub(crate) n_batch: usize,
    /// Cells held by each slot.
    pub(crate) slots: &'a [usize],
}

impl Request {
    /// # Errors
    /// Names the first number that is out of range.
    pub(crate) fn check(&self, bounds: &Bounds<'_>) -> Result<()> {
        for (name, actual) in [("tokens", self.tokens.len()), ("wanted", self.wanted.len())] {
            if actual != self.jobs.len() {
                return Err(Error::Length { name, actual, expected: self.jobs.len() });
            }
        }
        for index in 0..self.jobs.len() {
            self.check_job(index, bounds)?;
        }
        for (index, edit) in self.edits.iter().enumerate() {
            let width = self.check_row("edit", index, &edit.row, bounds)?;
            within("edit", index, "column", edit.column, 0..width)?;
            within("edit", index, "n_columns", edit.n_columns, 1..width - edit.column + 1)?;
            if let Some(start) = edit.values {
                let last = (self.values.len() + 1).saturating_sub(edit.n_columns);
                within("edit", index, "value offset", start, 0..last)?;
            }
        }
        for (index, row) in self.reads.iter().enumerate() {
            self.check_row("read", index, row, bounds)?;
        }
        Ok(())
    }

    fn check_job(&self, index: usize, bounds: &Bounds<'_>) -> Result<()> {
        let (job, tokens) = (&self.jobs[index], self.tokens.row(index));
        for slot in [job.parent, job.keep].into_iter().flatten() {
            within("job", index, "slot", slot, 0..bounds.slots.len())?;
        }
        let held = job.parent.map_or(0, |slot| bounds.slots[slot]);
        within("job", index, "n_shared", job.n_shared, 0..held + 1)?;
        if tokens.is_empty() {
            return Err(Error::EmptySequence { index });
        }
        if tokens.len() > bounds.n_batch {
            return Err(Error::TooLong { index, n_tokens: tokens.len(), limit: bounds.n_batch });
        }
        for &token in tokens.iter().chain(self.wanted.row(index)) {
            if token < 0 || token as usize >= bounds.n_vocab {
                return Err(Error::TokenOutOfRange { index, token, n_vocab: bounds.n_vocab });
            }
        }
        Ok(())
    }

    /// Width of the row, if it exists.
    fn check_row(
        &self,
        what: &'static str,
        index: usize,
        row: &Row,
        bounds: &Bounds<'_>,
    ) -> Result<usize> {
        within(what, index, "job", row.job, 0..self.jobs.len())?;
        within(what, index, "layer", row.layer, 0..bounds.shape.n_layer)?;
        let first = self.jobs[row.job].n_shared;
        let positions = first..first + self.tokens.row(row.job).len();
        within(what, index, "position", row.position, positions)?;
        let width = bounds.shape.width(row.site);
        if width == 0 {
            return Err(Error::NodeMissing { node: row.site.node(row.layer) });
        }
        Ok(width)
    }

    /// Edits and reads of each job, by their numbers.
    pub(crate) fn index(&self) -> Index {
        let mut index =
            Index { edits: vec![vec![]; self.jobs.len()], reads: vec![vec![]; self.jobs.len()] };
        for (number, edit) in self.edits.iter().enumerate() {
            index.edits[edit.row.job].push(number);
        }
        for (number, read) in self.reads.iter().enumerate() {
            index.reads[read.job].push(number);
        }
        index
    }

    /// Positions of one job whose rows the last layer must keep.
    ///
    /// The heads of the last layer are computed for every token; what follows them only for outputs.
    pub(crate) fn outputs(&self, index: &Index, job: usize, n_layer: usize) -> BTreeSet<usize> {
        let edits = index.edits[job].iter().map(|&number| &self.edits[number].row);
        let reads = index.reads[job].iter().map(|&number| &self.reads[number]);
        let mut positions: BTreeSet<usize> = edits
            .chain(reads)
            .filter(|row| row.layer + 1 == n_layer && row.site != Site::Heads)
            .map(|row| row.position)
            .collect();
        positions.insert(self.jobs[job].n_shared + self.tokens.row(job).len() - 1);
        positions
    }
}

/// Numbers of the edits and reads of each job.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) edits: Vec<Vec<usize>>,
    pub(crate) reads: Vec<Vec<usize>>,
}

pub(crate) fn within(
    what: &'static str,
    index: usize,
    field: &'static str,
    value: usize,
    range: Range<usize>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (value, low, high) = (number(value), number(range.start), number(range.end));
    Err(Error::OutOfRange { what, index, field, value, low, high })
}

#[cfg(test)]
mod tests;
