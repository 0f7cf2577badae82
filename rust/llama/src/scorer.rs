//! Carries a [`Plan`] out on a llama.cpp context.

use std::ffi::c_void;
use std::sync::Arc;

use crate::api::{Api, Batch};
use crate::error::{Error, Result};
use crate::logprob::{Position, position};
use crate::plan::{HEADER, Limits, Packing, Plan, Ragged, Step, Token, Walk};

/// One answer: what the model says after a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Index of the sequence, as given.
    pub sequence: usize,
    /// The log-probabilities after its last token.
    pub position: Position,
}

/// A plan, a context to carry it out, and how far it got.
#[derive(Debug)]
pub struct Scorer {
    api: Arc<Api>,
    context: *mut c_void,
    plan: Plan,
    wanted: Ragged,
    n_vocab: usize,
    n_batch: usize,
    walk: Option<Walk>,
    header_done: bool,
    n_decoded: usize,
}

// SAFETY: the context is used by one thread at a time: every method that touches it takes `&mut self`.
unsafe impl Send for Scorer {}

impl Scorer {
    /// Plan the scoring of `sequences` on the context at `context`; `wanted` are the token ids whose
    /// log-probabilities are read after each. The cache is emptied.
    ///
    /// # Safety
    /// `context` must be the address of a live `llama_context` of the library behind `api` with a
    /// unified K/V cache; it must outlive this value, and nobody else may use it meanwhile.
    ///
    /// # Errors
    /// What [`Plan::new`] refuses, [`Error::NullAddress`], or wanted ids outside the vocabulary.
    pub unsafe fn new(
        api: Arc<Api>,
        context: usize,
        sequences: Ragged,
        wanted: Ragged,
        n_block: usize,
        packing: Packing,
    ) -> Result<Self> {
        if context == 0 {
            return Err(Error::NullAddress { what: "context" });
        }
        let context = context as *mut c_void;
        // SAFETY: by contract the context is live.
        let (n_vocab, n_batch, n_seq_max, n_ctx) = unsafe {
            let vocab = (api.llama_model_get_vocab)((api.llama_get_model)(context));
            (
                (api.llama_vocab_n_tokens)(vocab) as usize,
                (api.llama_n_batch)(context) as usize,
                (api.llama_n_seq_max)(context) as usize,
                (api.llama_n_ctx)(context) as usize,
            )
        };
        check_wanted(&wanted, sequences.len(), n_vocab)?;
        let n_longest = n_ctx.saturating_sub(n_batch);
        let plan = Plan::new(
            sequences,
            Limits { n_batch, n_seq_max, n_longest, n_vocab, packing, n_block },
        )?;
        let scorer = Self {
            api,
            context,
            plan,
            wanted,
            n_vocab,
            n_batch,
            walk: None,
            header_done: false,
            n_decoded: 0,
        };
        // SAFETY: as above; clearing the buffers too gives every run the same start.
        unsafe { (scorer.api.llama_memory_clear)(scorer.memory(), true) };
        Ok(scorer)
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Tokens decoded so far.
    #[must_use]
    pub fn n_decoded(&self) -> usize {
        self.n_decoded
    }

    /// Begin a block: the cache is brought back to the header alone.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`], [`Error::Decode`].
    pub fn start(&mut self, block: usize) -> Result<()> {
        let walk = self.plan.walk(block)?;
        let n_seq_max = self.plan.n_seq_max() as i32;
        for sequence in HEADER + 1..n_seq_max {
            self.remove(sequence);
        }
        self.truncate(self.plan.header().len());
        if !self.header_done {
            self.decode_header()?;
            self.header_done = true;
        }
        self.walk = Some(walk);
        Ok(())
    }

    /// Decode one batch and return what it answered; none at the end of the block.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::NoLogits`].
    pub fn step(&mut self) -> Result<Option<Vec<Scored>>> {
        let Some(walk) = self.walk.as_mut() else { return Ok(None) };
        let Some(step) = walk.step(&self.plan) else {
            self.walk = None;
            return Ok(None);
        };
        if let Some(len) = step.truncate {
            self.truncate(len);
        }
        step.removes.iter().for_each(|&sequence| self.remove(sequence));
        for copy in &step.copies {
            // SAFETY: live context; sequence ids are below n_seq_max and the cache is unified, where
            // a copy of part of a sequence is allowed.
            unsafe {
                (self.api.llama_memory_seq_cp)(
                    self.memory(),
                    copy.from,
                    copy.to,
                    0,
                    copy.len as i32,
                );
            }
        }
        self.decode(&step)?;
        let mut scored = vec![];
        for &(row, leaf) in &step.outputs {
            self.read(row, leaf, step.tokens.len(), &mut scored)?;
        }
        Ok(Some(scored))
    }

    fn read(&self, row: usize, leaf: usize, n_tokens: usize, out: &mut Vec<Scored>) -> Result<()> {
        // SAFETY: `row` was marked as an output of the batch just decoded.
        let logits = unsafe { (self.api.llama_get_logits_ith)(self.context, row as i32) };
        if logits.is_null() {
            return Err(Error::NoLogits { row, n_tokens });
        }
        // SAFETY: llama.cpp returns a row of n_vocab floats, valid until the next decode.
        let logits = unsafe { std::slice::from_raw_parts(logits, self.n_vocab) };
        for &sequence in self.plan.leaf_sequences(leaf) {
            out.push(Scored { sequence, position: position(logits, self.wanted.row(sequence)) });
        }
        Ok(())
    }

    fn decode_header(&mut self) -> Result<()> {
        let tokens: Vec<_> = self
            .plan
            .header()
            .iter()
            .enumerate()
            .map(|(pos, &id)| Token { id, pos, sequences: vec![HEADER] })
            .collect();
        for chunk in tokens.chunks(self.n_batch) {
            self.decode(&Step { tokens: chunk.to_vec(), ..Step::default() })?;
        }
        Ok(())
    }

    fn decode(&mut self, step: &Step) -> Result<()> {
        let n_tokens = step.tokens.len();
        let mut token: Vec<i32> = step.tokens.iter().map(|t| t.id).collect();
        let mut pos: Vec<i32> = step.tokens.iter().map(|t| t.pos as i32).collect();
        let mut n_seq_id: Vec<i32> = step.tokens.iter().map(|t| t.sequences.len() as i32).collect();
        let mut seq_id: Vec<*mut i32> =
            step.tokens.iter().map(|t| t.sequences.as_ptr().cast_mut()).collect();
        let mut logits = vec![0_i8; n_tokens];
        step.outputs.iter().for_each(|&(row, _)| logits[row] = 1);
        let batch = Batch {
            n_tokens: n_tokens as i32,
            token: token.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: pos.as_mut_ptr(),
            n_seq_id: n_seq_id.as_mut_ptr(),
            seq_id: seq_id.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        // SAFETY: every array has n_tokens entries and lives until the call returns; llama_decode
        // copies what it keeps and does not write through seq_id.
        let code = unsafe { (self.api.llama_decode)(self.context, batch) };
        if code != 0 {
            return Err(Error::Decode { code, n_tokens });
        }
        self.n_decoded += n_tokens;
        Ok(())
    }

    fn memory(&self) -> *mut c_void {
        // SAFETY: live context.
        unsafe { (self.api.llama_get_memory)(self.context) }
    }

    /// Cut the header's sequence back to its first `len` tokens.
    fn truncate(&self, len: usize) {
        // SAFETY: live context; cutting to nothing clears, which recurrent models can do too.
        unsafe {
            if len == 0 {
                (self.api.llama_memory_clear)(self.memory(), false);
            } else {
                (self.api.llama_memory_seq_rm)(self.memory(), HEADER, len as i32, -1);
            }
        }
    }

    fn remove(&self, sequence: i32) {
        // SAFETY: live context; -1, -1 means the whole sequence, which never fails.
        unsafe { (self.api.llama_memory_seq_rm)(self.memory(), sequence, -1, -1) };
    }
}

fn check_wanted(wanted: &Ragged, n_sequences: usize, n_vocab: usize) -> Result<()> {
    if wanted.len() != n_sequences {
        return Err(Error::Offsets { name: "wanted", n_values: n_sequences });
    }
    for index in 0..wanted.len() {
        let outside = |&&id: &&i32| id < 0 || id as usize >= n_vocab;
        if let Some(&token) = wanted.row(index).iter().find(outside) {
            return Err(Error::TokenOutOfRange { index, token, n_vocab });
        }
    }
    Ok(())
}
