//! Carries a [`Request`] out on a llama.cpp context.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Call, Layout};
use super::callback::{Seen, Task, Watcher, Work};
use super::pack::{self, Room};
use super::request::{Bounds, Request, Shape, Site, check_ids};
use super::sequences::Sequences;
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::handle::Context;
use crate::plan::{Ragged, Token};

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
    pub(super) decoder: Decoder,
    watcher: Watcher,
    pub(super) shape: Shape,
    pub(super) room: Room,
    pub(super) sequences: Sequences,
}

impl Prober {
    /// Take a context with a watcher and `n_ubatch` equal to `n_batch`: one token is decoded to find the
    /// nodes and their sizes. `n_slots` of its sequences hold prompts, the others carry interventions. Its
    /// cache has a stream for each sequence.
    ///
    /// # Errors
    /// [`Error::Unwatched`], [`Error::TooSmall`], [`Error::NodeMissing`], [`Error::Length`].
    pub fn new(context: &Arc<Context>, n_slots: usize) -> Result<Self> {
        let watcher = context.watcher().cloned().ok_or(Error::Unwatched)?;
        let [n_layer, n_embd, n_head] = context.model().sizes();
        let decoder = Decoder::new(Arc::clone(context));
        let Some(room) = Room::new(decoder.n_batch, decoder.n_seq_max, n_slots) else {
            let (name, value, least) =
                ("n_seq_max", decoder.n_seq_max, n_slots + pack::round_up(1));
            return Err(Error::TooSmall { name, value, least });
        };
        let shape = Shape { n_layer, n_head, widths: [n_embd, 0, 0] };
        let sequences = Sequences::new(n_slots, &room);
        let mut prober = Self { decoder, watcher, shape, room, sequences };
        let _turn = context.turn();
        let widths = prober.measure()?;
        prober.empty();
        if widths[0] != n_embd {
            let (name, actual) = ("a row of l_out", widths[0]);
            return Err(Error::Length { name, actual, expected: n_embd });
        }
        prober.shape.widths = widths;
        Ok(prober)
    }

    /// Sizes of the model, as its nodes have them.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Widths of all sites from one token: a site that some layer lacks, or has in another size, gets
    /// width 0; the residual must be there.
    fn measure(&mut self) -> Result<[usize; 3]> {
        let mut widths = [0; 3];
        for (width, site) in widths.iter_mut().zip(Site::ALL) {
            let nodes: Vec<String> =
                (0..self.shape.n_layer).map(|layer| site.node(layer)).collect();
            let work = nodes.iter().map(|node| (node.clone(), Work::default())).collect();
            self.empty();
            let token = Token { id: 0, pos: 0, sequences: vec![0] };
            match self.decode(&[token], &[0], Task { measure: true, work, ..Task::default() }, 0) {
                Ok(seen) if nodes.iter().all(|node| seen.sizes[node] == seen.sizes[&nodes[0]]) => {
                    *width = seen.sizes[&nodes[0]];
                }
                Err(error) if site == Site::Residual => return Err(error),
                Ok(_) | Err(Error::NodeMissing { .. } | Error::NodeType { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(widths)
    }

    /// Empty the cache; all slots are free.
    pub(super) fn empty(&mut self) {
        self.sequences.empty(&mut self.decoder);
    }

    /// Decode the jobs, in as few batches as they fit into; a job must not continue a slot that
    /// another job of the same request fills.
    ///
    /// # Errors
    /// A number out of range, a node that is not as expected, or what llama.cpp refuses.
    pub fn run(&mut self, request: &Request) -> Result<Answer> {
        let (n_vocab, n_batch) = (self.decoder.n_vocab, self.decoder.n_batch);
        let slots = &self.sequences.slots;
        request.check(&Bounds { shape: &self.shape, n_vocab, n_batch, slots })?;
        let context = Arc::clone(self.decoder.context());
        let _turn = context.turn();
        let call = Call::new(request, self.shape);
        let mut answer = Answer { logits: vec![], rows: vec![vec![]; request.reads.len()] };
        for jobs in self.room.batches(request) {
            self.run_batch(&call, &jobs, &mut answer)?;
        }
        Ok(answer)
    }

    fn run_batch(
        &mut self,
        call: &Call<'_>,
        jobs: &Range<usize>,
        answer: &mut Answer,
    ) -> Result<()> {
        let size = pack::size(call.request, jobs);
        let sequences = self.sequences.prepare(&mut self.decoder, call.request, jobs, size);
        let layout = Layout::new(call, jobs, &sequences, size);
        let (task, found, n_out) = call.task(&layout, jobs);
        let seen = self.decode(&layout.tokens, &layout.outputs, task, n_out)?;
        for (number, range) in found {
            answer.rows[number] = seen.values[range].to_vec();
        }
        for (job, &last) in call.request.jobs[jobs.clone()].iter().zip(&layout.last) {
            let mut logits = vec![];
            self.read_logits(last, layout.tokens.len(), &job.wanted, &mut logits)?;
            answer.logits.push(logits);
        }
        self.sequences.settle(&mut self.decoder, call.request, jobs);
        Ok(())
    }

    /// Decode a batch while the callback does its task.
    pub(super) fn decode(
        &mut self,
        tokens: &[Token],
        outputs: &[usize],
        task: Task,
        n_out: usize,
    ) -> Result<Seen> {
        watch(&mut self.decoder, &self.watcher, tokens, outputs, task, n_out)
    }

    /// Append the logits of some tokens in one output of the batch of `n_tokens` just decoded.
    pub(super) fn read_logits(
        &self,
        row: usize,
        n_tokens: usize,
        wanted: &[i32],
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let logits = self.decoder.logits(row, n_tokens)?;
        out.extend(wanted.iter().map(|&id| logits[id as usize]));
        Ok(())
    }
}

/// Decode a batch while the callback does its task, with room for `n_out` values read.
pub(super) fn watch(
    decoder: &mut Decoder,
    watcher: &Watcher,
    tokens: &[Token],
    outputs: &[usize],
    task: Task,
    n_out: usize,
) -> Result<Seen> {
    watcher.give(task, n_out);
    let result = decoder.decode(tokens, outputs);
    let seen = watcher.take();
    result.map(|()| seen)
}

pub(super) fn check_rows(rows: &Ragged, n_vocab: usize) -> Result<()> {
    (0..rows.len()).try_for_each(|index| check_ids(index, rows.row(index), n_vocab))
}
