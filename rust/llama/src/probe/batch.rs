//! From jobs to one batch: its tokens, its outputs, and the callback's work on it.

use std::collections::HashMap;
use std::ops::Range;

use super::callback::{BatchRow, Read, Task, Work, Write};
use super::pack::{Size, round_up};
use super::request::{Index, Job, Request, Row, Shape};
use crate::plan::Token;

/// A request on its way, with what is looked up in every batch.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    index: Index,
    shape: Shape,
}

impl<'a> Call<'a> {
    pub(super) fn new(request: &'a Request, shape: Shape) -> Self {
        Self { request, index: request.index(), shape }
    }

    /// The callback's work for one batch; for each read its number and the range of its values; and how
    /// many values there are.
    pub(super) fn task(
        &self,
        layout: &Layout,
        jobs: &Range<usize>,
    ) -> (Task, Vec<(usize, Range<usize>)>, usize) {
        let mut task = Task {
            n_tokens: layout.tokens.len(),
            n_outputs: layout.outputs.len(),
            n_head: self.shape.n_head,
            ..Task::default()
        };
        for &number in jobs.clone().flat_map(|job| &self.index.edits[job]) {
            let edit = &self.request.edits[number];
            let values = edit.values.to_vec();
            let write = Write { row: layout.row(&edit.row), column: edit.column, values };
            self.work(&mut task, &edit.row).writes.push(write);
        }
        let mut found = vec![];
        let mut n_out = 0;
        for &number in jobs.clone().flat_map(|job| &self.index.reads[job]) {
            let row = &self.request.reads[number];
            let read = Read::Row { row: layout.row(row), out: n_out };
            self.work(&mut task, row).reads.push(read);
            let width = self.shape.width(row.site);
            found.push((number, n_out..n_out + width));
            n_out += width;
        }
        (task, found, n_out)
    }

    fn work<'b>(&self, task: &'b mut Task, row: &Row) -> &'b mut Work {
        let work = task.work.entry(row.site.node(row.layer)).or_default();
        work.width = self.shape.width(row.site);
        work
    }
}

/// One batch: its tokens, which of them are outputs, and where each job's tokens are.
pub(super) struct Layout {
    pub(super) tokens: Vec<Token>,
    /// Indices of the outputs, ascending.
    pub(super) outputs: Vec<usize>,
    /// Index of each job's last token.
    pub(super) last: Vec<usize>,
    /// For each job the index of its first token, and its position.
    starts: HashMap<usize, (usize, usize)>,
}

impl Layout {
    /// `sequences` are those of the jobs, and after them those that round the batch up to its size.
    pub(super) fn new(call: &Call<'_>, jobs: &Range<usize>, sequences: &[i32], size: Size) -> Self {
        let (mut tokens, mut outputs) = (vec![], vec![]);
        let (mut last, mut starts) = (vec![], HashMap::new());
        for (job, &sequence) in jobs.clone().zip(sequences) {
            let marked = call.request.outputs(&call.index, job, call.shape.n_layer);
            let Job { n_shared, tokens: ref ids, .. } = call.request.jobs[job];
            starts.insert(job, (tokens.len(), n_shared));
            for (pos, &id) in (n_shared..).zip(ids) {
                if marked.contains(&pos) {
                    outputs.push(tokens.len());
                }
                tokens.push(Token { id, pos, sequences: vec![sequence] });
            }
            last.push(tokens.len() - 1);
            let filled = ids.len()..size.width;
            let token = |i| Token { id: 0, pos: n_shared + i, sequences: vec![sequence] };
            tokens.extend(filled.map(token));
        }
        for &sequence in &sequences[jobs.len()..] {
            let token = |pos| Token { id: 0, pos, sequences: vec![sequence] };
            tokens.extend((0..size.width).map(token));
        }
        mark_more(&mut outputs, tokens.len());
        Self { tokens, outputs, last, starts }
    }

    fn row(&self, row: &Row) -> BatchRow {
        let (start, n_shared) = self.starts[&row.job];
        let token = start + row.position - n_shared;
        BatchRow { token, output: self.outputs.binary_search(&token).ok() }
    }
}

/// Round the number of outputs up, since the last layer computes on them alone.
fn mark_more(outputs: &mut Vec<usize>, n_tokens: usize) {
    let n_more = round_up(outputs.len()) - outputs.len();
    let others = (0..n_tokens).filter(|token| outputs.binary_search(token).is_err());
    let more: Vec<usize> = others.take(n_more).collect();
    outputs.extend(more);
    outputs.sort_unstable();
}
