//! Carries a [`Request`] out on a llama.cpp context.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Call, Layout};
use super::callback::{Seen, Task, Watcher, Work};
use super::pack::{self, Room};
use super::request::{Bounds, Request, Shape, Site};
use super::sequences::Sequences;
use crate::error::{Error, Result};
use crate::handle::{Capacity, Context};
use crate::plan::{Ragged, Token, check_ids};
use crate::turn::{Lease, Logits, Turn};

/// Results of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// For each job the logits of its wanted tokens.
    pub logits: Vec<Vec<f32>>,
    /// For each read its row.
    pub rows: Vec<Vec<f32>>,
}

/// A context whose activations can be read and overwritten.
#[derive(Debug)]
pub struct Prober {
    pub(super) lease: Lease,
    pub(super) watched: Watched,
    pub(super) room: Room,
    pub(super) sequences: Sequences,
}

/// What every decode needs: the watcher, and the sizes of model and context.
#[derive(Debug)]
pub(super) struct Watched {
    watcher: Watcher,
    pub(super) shape: Shape,
    pub(super) capacity: Capacity,
}

impl Prober {
    /// Take a context with a watcher and `n_ubatch` equal to `n_batch`: one token is decoded to find the
    /// nodes and their sizes. `n_slots` of its sequences hold prompts, the others carry interventions. Its
    /// cache has a stream for each sequence. It can be used until somebody else takes the context.
    ///
    /// # Errors
    /// [`Error::Unwatched`], [`Error::TooSmall`], [`Error::NodeMissing`], [`Error::Length`].
    pub fn new(context: &Arc<Context>, n_slots: usize) -> Result<Self> {
        let watcher = context.watcher().cloned().ok_or(Error::Unwatched)?;
        let [n_layer, n_embd, n_head] = context.model().sizes();
        let capacity = context.capacity();
        let room = Room::new(capacity.n_batch, capacity.n_seq_max, n_slots)?;
        let shape = Shape { n_layer, n_head, widths: [n_embd, 0, 0] };
        let mut nodes = Watched { watcher, shape, capacity };
        let mut sequences = Sequences::new(n_slots, &room);
        let lease = Lease::take(Arc::clone(context));
        let widths = nodes.measure(&mut lease.turn()?)?;
        sequences.empty(&mut lease.turn()?);
        if widths[0] != n_embd {
            let (name, actual) = ("a row of l_out", widths[0]);
            return Err(Error::Length { name, actual, expected: n_embd });
        }
        nodes.shape.widths = widths;
        Ok(Self { lease, watched: nodes, room, sequences })
    }

    /// Sizes of the model, as its nodes have them.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.watched.shape
    }

    /// Decode the jobs, in as few batches as they fit into.
    ///
    /// # Errors
    /// A number out of range, a slot of two jobs, a node that is not as expected, what llama.cpp refuses,
    /// or [`Error::CacheTaken`].
    pub fn run(&mut self, request: &Request) -> Result<Answer> {
        let Watched { shape, capacity: Capacity { n_vocab, .. }, .. } = self.watched;
        let (n_batch, slots) = (self.room.n_batch, &self.sequences.slots);
        request.check(&Bounds { shape: &shape, n_vocab, n_batch, slots })?;
        let mut turn = self.lease.turn()?;
        let call = Call::new(request, shape);
        let mut answer = Answer { logits: vec![], rows: vec![vec![]; request.reads.len()] };
        for jobs in self.room.batches(request) {
            self.watched.run_batch(&mut turn, &mut self.sequences, &call, &jobs, &mut answer)?;
        }
        Ok(answer)
    }
}

impl Watched {
    /// Widths of all sites from one token: a site that some layer lacks, or has in another size, gets
    /// width 0; the residual must be there.
    fn measure(&self, turn: &mut Turn<'_>) -> Result<[usize; 3]> {
        let mut widths = [0; 3];
        for (width, site) in widths.iter_mut().zip(Site::ALL) {
            let nodes: Vec<String> =
                (0..self.shape.n_layer).map(|layer| site.node(layer)).collect();
            let work = nodes.iter().map(|node| (node.clone(), Work::default())).collect();
            turn.clear(true);
            let token = Token { id: 0, pos: 0, sequences: vec![0] };
            let task = Task { measure: true, work, ..Task::default() };
            match self.decode(turn, &[token], &[0], task, 0) {
                Ok((seen, _))
                    if nodes.iter().all(|node| seen.sizes[node] == seen.sizes[&nodes[0]]) =>
                {
                    *width = seen.sizes[&nodes[0]];
                }
                Err(error) if site == Site::Residual => return Err(error),
                Ok(_) | Err(Error::NodeMissing { .. } | Error::NodeType { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(widths)
    }

    fn run_batch(
        &self,
        turn: &mut Turn<'_>,
        sequences: &mut Sequences,
        call: &Call<'_>,
        jobs: &Range<usize>,
        answer: &mut Answer,
    ) -> Result<()> {
        let size = pack::size(call.request, jobs);
        let prepared = sequences.prepare(turn, call.request, jobs, size)?;
        let layout = Layout::new(call, jobs, &prepared, size);
        let (task, found, n_out) = call.task(&layout, jobs);
        let (seen, logits) = self.decode(turn, &layout.tokens, &layout.outputs, task, n_out)?;
        for (number, range) in found {
            answer.rows[number] = seen.values[range].to_vec();
        }
        for (job, &last) in call.request.jobs[jobs.clone()].iter().zip(&layout.last) {
            answer.logits.push(pick(logits.row(last)?, &job.wanted).collect());
        }
        sequences.settle(turn, call.request, jobs)
    }

    /// Decode a batch while the callback does its task.
    pub(super) fn decode<'a>(
        &self,
        turn: &'a mut Turn<'_>,
        tokens: &[Token],
        outputs: &[usize],
        task: Task,
        n_out: usize,
    ) -> Result<(Seen, Logits<'a>)> {
        watch(turn, &self.watcher, tokens, outputs, task, n_out)
    }
}

/// The logits of some tokens.
pub(super) fn pick(logits: &[f32], wanted: &[i32]) -> impl Iterator<Item = f32> {
    wanted.iter().map(|&id| logits[id as usize])
}

/// Decode a batch while the callback does its task, with room for `n_out` values read.
pub(super) fn watch<'a>(
    turn: &'a mut Turn<'_>,
    watcher: &Watcher,
    tokens: &[Token],
    outputs: &[usize],
    task: Task,
    n_out: usize,
) -> Result<(Seen, Logits<'a>)> {
    watcher.give(task, n_out);
    let result = turn.decode(tokens, outputs);
    let seen = watcher.take();
    result.map(|logits| (seen, logits))
}

pub(super) fn check_rows(rows: &Ragged, n_vocab: usize) -> Result<()> {
    (0..rows.len()).try_for_each(|index| check_ids(index, rows.row(index), n_vocab))
}
