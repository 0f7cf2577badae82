//! Requests to a prober: jobs, edits, reads. Nothing here calls llama.cpp.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use crate::error::{Error, Result};
use crate::plan::check_ids;

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
    /// All sites.
    pub const ALL: [Self; 3] = [Self::Residual, Self::Heads, Self::FeedForward];

    /// The site that a caller names.
    ///
    /// # Errors
    /// [`Error::UnknownSite`].
    pub fn named(word: &str) -> Result<Self> {
        match word {
            "residual" => Ok(Self::Residual),
            "attention" => Ok(Self::Heads),
            "feed_forward" => Ok(Self::FeedForward),
            _ => Err(Error::UnknownSite { word: word.to_owned() }),
        }
    }

    /// llama.cpp's name of the node in one layer.
    #[must_use]
    pub(crate) fn node(self, layer: usize) -> String {
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Ids to decode.
    pub tokens: Vec<i32>,
    /// Ids whose logits are read after the last token.
    pub wanted: Vec<i32>,
    /// Slot that this job continues after its first `n_shared` cells; None starts from nothing.
    pub parent: Option<usize>,
    /// Cells taken over from the parent.
    pub n_shared: usize,
    /// Slot that keeps the cells of this job; None drops them.
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
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edit {
    pub(crate) row: Row,
    /// First column.
    pub(crate) column: usize,
    pub(crate) values: Values,
}

/// New values of some columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// This number of zeros.
    Zeros(usize),
    /// These values.
    Given(Vec<f32>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Zeros(n) => *n,
            Self::Given(values) => values.len(),
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<f32> {
        match self {
            Self::Zeros(n) => vec![0.0; *n],
            Self::Given(values) => values.clone(),
        }
    }
}

/// Everything for one call: jobs, and what is overwritten and read in each.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub(crate) jobs: Vec<Job>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) reads: Vec<Row>,
}

/// Limits that a request is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) n_vocab: usize,
    pub(crate) n_batch: usize,
    /// Cells held by each slot.
    pub(crate) slots: &'a [usize],
}

impl Request {
    /// Add a job; its number.
    pub fn add(&mut self, job: Job) -> usize {
        self.jobs.push(job);
        self.jobs.len() - 1
    }

    /// Overwrite columns of a row, from `column` on.
    pub fn write(&mut self, row: Row, column: usize, values: Vec<f32>) {
        self.edits.push(Edit { row, column, values: Values::Given(values) });
    }

    /// Set columns of a row to zero.
    pub fn zero(&mut self, row: Row, column: usize, n_columns: usize) {
        self.edits.push(Edit { row, column, values: Values::Zeros(n_columns) });
    }

    /// Read a row, after all edits of the same node.
    pub fn read(&mut self, row: Row) {
        self.reads.push(row);
    }

    /// # Errors
    /// Names the first number that is out of range.
    pub(crate) fn check(&self, bounds: &Bounds<'_>) -> Result<()> {
        for (index, job) in self.jobs.iter().enumerate() {
            check_job(index, job, bounds)?;
        }
        self.check_slots()?;
        for (index, edit) in self.edits.iter().enumerate() {
            let width = self.check_row("edit", index, &edit.row, bounds)?;
            within("edit", index, "column", edit.column, 0..width)?;
            within("edit", index, "n_columns", edit.values.len(), 1..width - edit.column + 1)?;
        }
        for (index, row) in self.reads.iter().enumerate() {
            self.check_row("read", index, row, bounds)?;
        }
        Ok(())
    }

    /// Refuse a slot that one job fills and another fills or continues: what it holds would depend on
    /// the order of batches.
    fn check_slots(&self) -> Result<()> {
        let mut filled = HashMap::new();
        for (index, job) in self.jobs.iter().enumerate() {
            if let Some(slot) = job.keep.filter(|&slot| filled.insert(slot, index).is_some()) {
                return Err(Error::SlotShared { index, slot });
            }
        }
        for (index, job) in self.jobs.iter().enumerate() {
            let is_foreign = |slot: &usize| filled.get(slot).is_some_and(|&by| by != index);
            if let Some(slot) = job.parent.filter(is_foreign) {
                return Err(Error::SlotShared { index, slot });
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
        let job = &self.jobs[row.job];
        let positions = job.n_shared..job.n_shared + job.tokens.len();
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
        positions.insert(self.jobs[job].n_shared + self.jobs[job].tokens.len() - 1);
        positions
    }
}

fn check_job(index: usize, job: &Job, bounds: &Bounds<'_>) -> Result<()> {
    for slot in [job.parent, job.keep].into_iter().flatten() {
        within("job", index, "slot", slot, 0..bounds.slots.len())?;
    }
    let held = job.parent.map_or(0, |slot| bounds.slots[slot]);
    within("job", index, "n_shared", job.n_shared, 0..held + 1)?;
    let n_tokens = job.tokens.len();
    if n_tokens == 0 {
        return Err(Error::EmptySequence { index });
    }
    if n_tokens > bounds.n_batch {
        return Err(Error::TooLong { index, n_tokens, limit: bounds.n_batch });
    }
    check_ids(index, &job.tokens, bounds.n_vocab)?;
    check_ids(index, &job.wanted, bounds.n_vocab)
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
