//! Carries a [`Request`] out on a llama.cpp context.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use super::callback::{BatchRow, Read, State, Task, Work, Write, eval_callback};
use super::request::{Bounds, Index, Request, Row, Shape, Site};
use crate::api::{Api, Batch};
use crate::error::{Error, Result};
use crate::plan::Ragged;

/// What a request gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Logits of the wanted tokens, job after job.
    pub logits: Vec<f32>,
    /// Values of the rows read, in the order asked for.
    pub reads: Vec<f32>,
}

/// A context whose activations can be read and overwritten.
///
/// It comes first: llama.cpp takes the callback when a context is made, so a context is made with
/// [`Prober::callback`] and then given to [`Prober::attach`].
#[derive(Debug)]
pub struct Prober {
    api: Arc<Api>,
    /// Owned; a raw pointer because llama.cpp holds it too and writes through it during a decode.
    state: *mut State,
    attached: Option<Attached>,
}

#[derive(Debug, Clone)]
struct Attached {
    context: *mut c_void,
    shape: Shape,
    n_vocab: usize,
    n_batch: usize,
    /// Cells held by each slot; slot i is cache sequence i.
    slots: Vec<usize>,
    n_sequences: usize,
}

// SAFETY: the context and the state are used by one thread at a time: every method that touches them
// takes `&mut self`.
unsafe impl Send for Prober {}

impl Drop for Prober {
    fn drop(&mut self) {
        // SAFETY: made by Box::into_raw in `new`; by the contract of `attach` no decode follows.
        drop(unsafe { Box::from_raw(self.state) });
    }
}

/// Token of a batch: id, position, cache sequence.
type Token = (i32, usize, usize);

impl Prober {
    /// # Errors
    /// [`Error::MissingSymbol`].
    pub fn new(api: Arc<Api>) -> Result<Self> {
        let state = Box::into_raw(Box::new(State::new(api.ggml()?)));
        Ok(Self { api, state, attached: None })
    }

    /// Addresses of the callback and of its user data, for the context's parameters.
    #[must_use]
    pub fn callback(&self) -> (usize, usize) {
        (eval_callback as *const () as usize, self.state as usize)
    }

    /// Take a context over: one token is decoded to find the nodes and their sizes, and the cache is
    /// emptied. `n_slots` of its sequences hold prompts, the others carry interventions.
    ///
    /// # Safety
    /// `context` must be the address of a live `llama_context` of the library behind this prober, made
    /// with [`Prober::callback`], with a unified cache and `n_ubatch` equal to `n_batch`. It must outlive
    /// this value's last decode, this value its own, and nobody else may use it meanwhile.
    ///
    /// # Errors
    /// [`Error::NullAddress`], [`Error::TooSmall`], [`Error::NodeMissing`], [`Error::NodeShape`].
    pub unsafe fn attach(&mut self, context: usize, n_slots: usize) -> Result<Shape> {
        if context == 0 {
            return Err(Error::NullAddress { what: "context" });
        }
        let context = context as *mut c_void;
        // SAFETY: by contract the context is live.
        let (n_vocab, n_batch, n_sequences, n_layer, n_embd, n_head) = unsafe {
            let model = (self.api.llama_get_model)(context);
            let vocab = (self.api.llama_model_get_vocab)(model);
            (
                (self.api.llama_vocab_n_tokens)(vocab) as usize,
                (self.api.llama_n_batch)(context) as usize,
                (self.api.llama_n_seq_max)(context) as usize,
                (self.api.llama_model_n_layer)(model) as usize,
                (self.api.llama_model_n_embd)(model) as usize,
                (self.api.llama_model_n_head)(model) as usize,
            )
        };
        if n_sequences <= n_slots {
            let (name, value, least) = ("n_seq_max", n_sequences, n_slots + 1);
            return Err(Error::TooSmall { name, value, least });
        }
        let shape = Shape { n_layer, n_head, widths: [n_embd, 0, 0] };
        let slots = vec![0; n_slots];
        self.attached = Some(Attached { context, shape, n_vocab, n_batch, slots, n_sequences });
        let widths = self.measure(n_layer)?;
        self.clear()?;
        let attached = self.attached.as_mut().ok_or(Error::NotAttached)?;
        if widths[0] != n_embd {
            let (name, actual) = ("a row of l_out", widths[0]);
            return Err(Error::Length { name, actual, expected: n_embd });
        }
        attached.shape.widths = widths;
        Ok(attached.shape)
    }

    /// Widths of all sites from one token: a site that some layer lacks, or has in another size, gets
    /// width 0; the residual must be there.
    fn measure(&mut self, n_layer: usize) -> Result<[usize; 3]> {
        self.clear()?;
        let residual = (0..n_layer).map(|layer| (Site::Residual.node(layer), Work::default()));
        let task = Task { measure: true, work: residual.collect(), ..Task::default() };
        let tokens = [(0, 0, self.attached()?.n_sequences - 1)];
        self.decode(&tokens, &[true], task, 0)?;
        let mut widths = [0; 3];
        for (width, site) in widths.iter_mut().zip(Site::ALL) {
            let nodes: Vec<String> = (0..n_layer).map(|layer| site.node(layer)).collect();
            let work = nodes.iter().map(|node| (node.clone(), Work::default())).collect();
            self.clear()?;
            let task = Task { measure: true, work, ..Task::default() };
            match self.decode(&tokens, &[true], task, 0) {
                Ok((_, sizes)) if nodes.iter().all(|node| sizes[node] == sizes[&nodes[0]]) => {
                    *width = sizes[&nodes[0]];
                }
                Ok(_) | Err(Error::NodeMissing { .. } | Error::NodeType { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(widths)
    }

    /// Empty the cache; all slots are free.
    ///
    /// # Errors
    /// [`Error::NotAttached`].
    pub fn clear(&mut self) -> Result<()> {
        let memory = self.memory()?;
        // SAFETY: live context.
        unsafe { (self.api.llama_memory_clear)(memory, true) };
        self.attached.as_mut().ok_or(Error::NotAttached)?.slots.fill(0);
        Ok(())
    }

    /// Decode the jobs, in as few batches as they fit into; a job must not continue a slot that
    /// another job of the same request fills.
    ///
    /// # Errors
    /// A number out of range, a node that is not as expected, or what llama.cpp refuses.
    pub fn run(&mut self, request: &Request) -> Result<Answer> {
        let attached = self.attached()?.clone();
        let Attached { shape, n_vocab, n_batch, slots, n_sequences, .. } = &attached;
        request.check(&Bounds { shape, n_vocab: *n_vocab, n_batch: *n_batch, slots })?;
        let mut call =
            Call { request, index: request.index(), attached: &attached, places: vec![0] };
        for row in &request.reads {
            call.places.push(call.places[call.places.len() - 1] + shape.width(row.site));
        }
        let n_read = call.places[request.reads.len()];
        let mut answer = Answer { logits: vec![], reads: vec![0.0; n_read] };
        for jobs in request.batches(*n_batch, n_sequences - slots.len()) {
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
        let sequences = self.prepare(call.request, jobs, call.attached)?;
        let layout = Layout::new(call, jobs, &sequences);
        let (task, found, n_out) = call.task(&layout, jobs);
        let (values, _) = self.decode(&layout.tokens, &layout.is_output, task, n_out)?;
        for (place, range) in found {
            answer.reads[place..place + range.len()].copy_from_slice(&values[range]);
        }
        for (job, &last) in jobs.clone().zip(&layout.last) {
            let wanted = call.request.wanted.row(job);
            self.read_logits(last, layout.tokens.len(), wanted, &mut answer.logits)?;
        }
        self.settle(call.request, jobs, &sequences)
    }

    /// Give each job a sequence that holds what it shares.
    fn prepare(
        &self,
        request: &Request,
        jobs: &Range<usize>,
        attached: &Attached,
    ) -> Result<Vec<usize>> {
        let memory = self.memory()?;
        let mut temporary = attached.slots.len();
        let mut sequences = vec![];
        for job in &request.jobs[jobs.clone()] {
            let sequence = job.keep.unwrap_or_else(|| {
                temporary += 1;
                temporary - 1
            });
            // SAFETY: live context with a unified cache, where part of a sequence may be copied and
            // removed; sequence ids are below n_seq_max.
            unsafe {
                let own = job.parent == Some(sequence);
                let keep = if own { job.n_shared as i32 } else { 0 };
                (self.api.llama_memory_seq_rm)(memory, sequence as i32, keep, -1);
                if let (Some(parent), false) = (job.parent, own) {
                    let (parent, n_shared) = (parent as i32, job.n_shared as i32);
                    (self.api.llama_memory_seq_cp)(memory, parent, sequence as i32, 0, n_shared);
                }
            }
            sequences.push(sequence);
        }
        Ok(sequences)
    }

    /// Record what the slots hold now and drop the cells of the other jobs.
    fn settle(
        &mut self,
        request: &Request,
        jobs: &Range<usize>,
        sequences: &[usize],
    ) -> Result<()> {
        let memory = self.memory()?;
        let attached = self.attached.as_mut().ok_or(Error::NotAttached)?;
        for (index, &sequence) in jobs.clone().zip(sequences) {
            let job = &request.jobs[index];
            if let Some(slot) = job.keep {
                attached.slots[slot] = job.n_shared + request.tokens.row(index).len();
            } else {
                // SAFETY: live context; -1, -1 means the whole sequence, which never fails.
                unsafe { (self.api.llama_memory_seq_rm)(memory, sequence as i32, -1, -1) };
            }
        }
        Ok(())
    }

    /// Logits that the model makes of rows of the residual stream after its last layer.
    ///
    /// llama.cpp itself applies the last norm, the output rows, soft-caps and scales: each row replaces
    /// the last layer's output at a token whose own value does not matter.
    ///
    /// # Errors
    /// [`Error::Length`] if `rows` does not hold a row for each of `wanted`; what a decode refuses.
    pub fn unembed(&mut self, rows: &[f32], wanted: &Ragged) -> Result<Vec<f32>> {
        let attached = self.attached()?.clone();
        let (shape, width) = (attached.shape, attached.shape.width(Site::Residual));
        if rows.len() != wanted.len() * width {
            let expected = wanted.len() * width;
            return Err(Error::Length { name: "rows", actual: rows.len(), expected });
        }
        check_ids(wanted, attached.n_vocab)?;
        let n_free = attached.n_sequences - attached.slots.len();
        let mut logits = vec![];
        for start in (0..wanted.len()).step_by(attached.n_batch) {
            let n = attached.n_batch.min(wanted.len() - start);
            let tokens: Vec<Token> =
                (0..n).map(|i| (0, i / n_free, attached.slots.len() + i % n_free)).collect();
            let write = |i: usize| Write {
                row: BatchRow { token: i, output: Some(i) },
                column: 0,
                values: rows[(start + i) * width..(start + i + 1) * width].to_vec(),
            };
            let work = Work { width, writes: (0..n).map(write).collect(), reads: vec![] };
            let mut task =
                Task { n_tokens: n, n_outputs: n, n_head: shape.n_head, ..Task::default() };
            task.work.insert(Site::Residual.node(shape.n_layer - 1), work);
            self.decode(&tokens, &vec![true; n], task, 0)?;
            for i in 0..n {
                self.read_logits(i, n, wanted.row(start + i), &mut logits)?;
            }
            let memory = self.memory()?;
            for sequence in attached.slots.len()..attached.n_sequences {
                // SAFETY: live context; -1, -1 means the whole sequence, which never fails.
                unsafe { (self.api.llama_memory_seq_rm)(memory, sequence as i32, -1, -1) };
            }
        }
        Ok(logits)
    }

    /// Attention weights of each prompt's last token: prompt after prompt, `[layer][head][token]`.
    ///
    /// The cache is emptied before and after, since cells lie in the order of tokens only in an empty
    /// cache. Flash attention must be off: with it the weights are never computed.
    ///
    /// # Errors
    /// [`Error::NodeMissing`] with flash attention on; [`Error::CellOrder`]; what a decode refuses.
    pub fn attention(&mut self, prompts: &Ragged) -> Result<Vec<f32>> {
        let attached = self.attached()?.clone();
        let bounds = (attached.n_vocab, attached.n_batch);
        check_prompts(prompts, bounds)?;
        let mut weights = vec![];
        let mut start = 0;
        while start < prompts.len() {
            let mut stop = start;
            let mut n_tokens = 0;
            while stop < prompts.len()
                && stop - start < attached.n_sequences
                && n_tokens + prompts.row(stop).len() <= attached.n_batch
            {
                n_tokens += prompts.row(stop).len();
                stop += 1;
            }
            self.clear()?;
            weights.extend(self.attention_batch(prompts, start..stop, attached.shape)?);
            start = stop;
        }
        self.clear()?;
        Ok(weights)
    }

    fn attention_batch(
        &mut self,
        prompts: &Ragged,
        range: Range<usize>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        let mut tokens: Vec<Token> = vec![];
        let mut is_output = vec![];
        let mut work: HashMap<String, Work> = HashMap::new();
        let mut n_out = 0;
        for (sequence, prompt) in range.map(|index| prompts.row(index)).enumerate() {
            let (first, n) = (tokens.len(), prompt.len());
            tokens.extend(prompt.iter().enumerate().map(|(pos, &id)| (id, pos, sequence)));
            is_output.extend((1..=n).map(|count| count == n));
            for layer in 0..shape.n_layer {
                let read = Read::Attention { token: first + n - 1, first, n, out: n_out };
                work.entry(format!("kq_soft_max-{layer}")).or_default().reads.push(read);
                n_out += shape.n_head * n;
            }
        }
        let n_outputs = is_output.iter().filter(|&&marked| marked).count();
        let (n_tokens, n_head) = (tokens.len(), shape.n_head);
        let task = Task { n_tokens, n_outputs, n_head, work, measure: false };
        Ok(self.decode(&tokens, &is_output, task, n_out)?.0)
    }

    fn decode(
        &mut self,
        tokens: &[Token],
        is_output: &[bool],
        task: Task,
        n_out: usize,
    ) -> Result<(Vec<f32>, HashMap<String, usize>)> {
        let context = self.attached()?.context;
        let n_tokens = tokens.len();
        let mut token: Vec<i32> = tokens.iter().map(|t| t.0).collect();
        let mut pos: Vec<i32> = tokens.iter().map(|t| t.1 as i32).collect();
        let mut sequence: Vec<i32> = tokens.iter().map(|t| t.2 as i32).collect();
        let mut n_seq_id = vec![1_i32; n_tokens];
        let mut seq_id: Vec<*mut i32> = sequence.iter_mut().map(std::ptr::from_mut).collect();
        let mut logits: Vec<i8> = is_output.iter().map(|&marked| i8::from(marked)).collect();
        let batch = Batch {
            n_tokens: n_tokens as i32,
            token: token.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: pos.as_mut_ptr(),
            n_seq_id: n_seq_id.as_mut_ptr(),
            seq_id: seq_id.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        // SAFETY: the state is this value's own, and no decode is under way.
        unsafe { (*self.state).begin(task, n_out) };
        // SAFETY: every array has n_tokens entries and lives until the call returns. The callback is
        // called within, on this thread, while no reference to the state exists here.
        let code = unsafe { (self.api.llama_decode)(context, batch) };
        // SAFETY: as for `begin`.
        let read = unsafe { (*self.state).finish() };
        if code != 0 {
            return Err(Error::Decode { code, n_tokens });
        }
        read
    }

    fn read_logits(
        &self,
        row: usize,
        n_tokens: usize,
        wanted: &[i32],
        out: &mut Vec<f32>,
    ) -> Result<()> {
        let attached = self.attached()?;
        // SAFETY: `row` was marked as an output of the batch just decoded.
        let logits = unsafe { (self.api.llama_get_logits_ith)(attached.context, row as i32) };
        if logits.is_null() {
            return Err(Error::NoLogits { row, n_tokens });
        }
        // SAFETY: llama.cpp returns a row of n_vocab floats, valid until the next decode.
        let logits = unsafe { std::slice::from_raw_parts(logits, attached.n_vocab) };
        out.extend(wanted.iter().map(|&id| logits[id as usize]));
        Ok(())
    }

    fn attached(&self) -> Result<&Attached> {
        self.attached.as_ref().ok_or(Error::NotAttached)
    }

    fn memory(&self) -> Result<*mut c_void> {
        let context = self.attached()?.context;
        // SAFETY: live context.
        Ok(unsafe { (self.api.llama_get_memory)(context) })
    }
}

/// A request on its way, with what is looked up in every batch.
struct Call<'a> {
    request: &'a Request,
    index: Index,
    attached: &'a Attached,
    /// Offsets of the reads in the answer.
    places: Vec<usize>,
}

impl Call<'_> {
    /// The callback's work for one batch; where its reads go: (place in the answer, range read).
    fn task(
        &self,
        layout: &Layout,
        jobs: &Range<usize>,
    ) -> (Task, Vec<(usize, Range<usize>)>, usize) {
        let mut task = layout.task(self.attached.shape.n_head);
        for &number in jobs.clone().flat_map(|job| &self.index.edits[job]) {
            let edit = &self.request.edits[number];
            let values = edit.values.map_or_else(
                || vec![0.0; edit.n_columns],
                |start| self.request.values[start..start + edit.n_columns].to_vec(),
            );
            let write = Write { row: layout.row(&edit.row), column: edit.column, values };
            self.work(&mut task, &edit.row).writes.push(write);
        }
        let mut found = vec![];
        let mut n_out = 0;
        for &number in jobs.clone().flat_map(|job| &self.index.reads[job]) {
            let row = &self.request.reads[number];
            let read = Read::Row { row: layout.row(row), out: n_out };
            self.work(&mut task, row).reads.push(read);
            let width = self.attached.shape.width(row.site);
            found.push((self.places[number], n_out..n_out + width));
            n_out += width;
        }
        (task, found, n_out)
    }

    fn work<'a>(&self, task: &'a mut Task, row: &Row) -> &'a mut Work {
        let work = task.work.entry(row.site.node(row.layer)).or_default();
        work.width = self.attached.shape.width(row.site);
        work
    }
}

/// One batch: its tokens, which of them are outputs, and where each job's tokens are.
struct Layout {
    tokens: Vec<Token>,
    is_output: Vec<bool>,
    /// Rank of each token among the outputs.
    ranks: Vec<Option<usize>>,
    /// Index of each job's last token.
    last: Vec<usize>,
    /// For each job the index of its first token, and its position.
    starts: HashMap<usize, (usize, usize)>,
}

impl Layout {
    fn new(call: &Call<'_>, jobs: &Range<usize>, sequences: &[usize]) -> Self {
        let (mut tokens, mut is_output) = (vec![], vec![]);
        let (mut last, mut starts) = (vec![], HashMap::new());
        for (job, &sequence) in jobs.clone().zip(sequences) {
            let outputs = call.request.outputs(&call.index, job, call.attached.shape.n_layer);
            let n_shared = call.request.jobs[job].n_shared;
            starts.insert(job, (tokens.len(), n_shared));
            for (place, &id) in call.request.tokens.row(job).iter().enumerate() {
                tokens.push((id, n_shared + place, sequence));
                is_output.push(outputs.contains(&(n_shared + place)));
            }
            last.push(tokens.len() - 1);
        }
        let rank = |rank: &mut usize, &marked: &bool| {
            *rank += usize::from(marked);
            Some(marked.then_some(*rank - usize::from(marked)))
        };
        let ranks = is_output.iter().scan(0, rank).collect();
        Self { tokens, is_output, ranks, last, starts }
    }

    fn row(&self, row: &Row) -> BatchRow {
        let (start, n_shared) = self.starts[&row.job];
        let token = start + row.position - n_shared;
        BatchRow { token, output: self.ranks[token] }
    }

    fn task(&self, n_head: usize) -> Task {
        let n_outputs = self.ranks.iter().flatten().count();
        Task { n_tokens: self.tokens.len(), n_outputs, n_head, ..Task::default() }
    }
}

fn check_ids(wanted: &Ragged, n_vocab: usize) -> Result<()> {
    for index in 0..wanted.len() {
        let outside = |&&id: &&i32| id < 0 || id as usize >= n_vocab;
        if let Some(&token) = wanted.row(index).iter().find(outside) {
            return Err(Error::TokenOutOfRange { index, token, n_vocab });
        }
    }
    Ok(())
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
