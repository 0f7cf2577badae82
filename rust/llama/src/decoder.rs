//! One llama.cpp context: its cache and `llama_decode`.

use std::ffi::c_void;
use std::sync::Arc;

use crate::api::{Api, Batch};
use crate::error::{Error, Result};
use crate::handle::Context;
use crate::plan::{Copy, HEADER, Limits, Packing, Token};
use crate::probe::Watcher;

/// A context and what it can hold. Every call but [`Decoder::new`] wants the context's turn taken.
#[derive(Debug)]
pub struct Decoder {
    context: Arc<Context>,
    pub(crate) n_vocab: usize,
    pub(crate) n_batch: usize,
    pub(crate) n_seq_max: usize,
    pub(crate) n_ctx: usize,
    n_decoded: usize,
}

impl Decoder {
    /// Take a context and empty its cache.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let api = context.model().api();
        // SAFETY: live context.
        let (n_vocab, n_batch, n_seq_max, n_ctx) = unsafe {
            let vocab = (api.llama_model_get_vocab)(context.model().address());
            (
                (api.llama_vocab_n_tokens)(vocab) as usize,
                (api.llama_n_batch)(context.address()) as usize,
                (api.llama_n_seq_max)(context.address()) as usize,
                (api.llama_n_ctx)(context.address()) as usize,
            )
        };
        let mut decoder = Self { context, n_vocab, n_batch, n_seq_max, n_ctx, n_decoded: 0 };
        let context = Arc::clone(&decoder.context);
        let _turn = context.turn();
        // Clearing the buffers too gives every run the same start.
        decoder.clear(true);
        decoder
    }

    /// The context.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Capacity of the context, for sequences of at most `n_longest` tokens.
    pub(crate) fn limits(&self, n_longest: usize, packing: Packing, n_block: usize) -> Limits {
        let Self { n_batch, n_seq_max, n_vocab, .. } = *self;
        Limits { n_batch, n_seq_max, n_longest, n_vocab, packing, n_block }
    }

    fn api(&self) -> &Api {
        self.context.model().api()
    }

    /// Tokens decoded so far.
    pub(crate) fn n_decoded(&self) -> usize {
        self.n_decoded
    }

    /// Decode a batch; the logits of the tokens at `outputs` can be read until the next one.
    pub(crate) fn decode(&mut self, tokens: &[Token], outputs: &[usize]) -> Result<()> {
        let n_tokens = tokens.len();
        let mut token: Vec<i32> = tokens.iter().map(|t| t.id).collect();
        let mut pos: Vec<i32> = tokens.iter().map(|t| t.pos as i32).collect();
        let mut n_seq_id: Vec<i32> = tokens.iter().map(|t| t.sequences.len() as i32).collect();
        let mut seq_id: Vec<*mut i32> =
            tokens.iter().map(|t| t.sequences.as_ptr().cast_mut()).collect();
        let mut logits = vec![0_i8; n_tokens];
        for &row in outputs {
            logits[row] = 1;
        }
        let batch = Batch {
            n_tokens: n_tokens as i32,
            token: token.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: pos.as_mut_ptr(),
            n_seq_id: n_seq_id.as_mut_ptr(),
            seq_id: seq_id.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        let watcher = self.context.watcher();
        watcher.inspect(|watcher| watcher.open());
        // SAFETY: every array has n_tokens entries and lives until the call returns; llama_decode
        // copies what it keeps and does not write through seq_id.
        let code = unsafe { (self.api().llama_decode)(self.context.address(), batch) };
        if code != 0 {
            return Err(Error::Decode { code, n_tokens });
        }
        watcher.map_or(Ok(()), Watcher::check)?;
        self.n_decoded += n_tokens;
        Ok(())
    }

    /// Logits of one output of the batch of `n_tokens` just decoded.
    pub(crate) fn logits(&self, row: usize, n_tokens: usize) -> Result<&[f32]> {
        // SAFETY: llama.cpp checks the row and returns null for one that is no output.
        let logits =
            unsafe { (self.api().llama_get_logits_ith)(self.context.address(), row as i32) };
        if logits.is_null() {
            return Err(Error::NoLogits { row, n_tokens });
        }
        // SAFETY: a row of n_vocab floats, valid until the next decode, which needs `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(logits, self.n_vocab) })
    }

    /// Hand the first tokens of a sequence on to another; the cache must be unified.
    pub(crate) fn copy(&mut self, copy: Copy) {
        // SAFETY: sequence ids are below n_seq_max, and a unified cache may copy a part.
        unsafe {
            (self.api().llama_memory_seq_cp)(self.memory(), copy.from, copy.to, 0, copy.len as i32);
        }
    }

    /// Hand all of a sequence on to another; what that one held is lost.
    pub(crate) fn copy_whole(&mut self, from: i32, to: i32) {
        // SAFETY: the ids are below n_seq_max; separate streams, too, may copy a whole sequence.
        unsafe { (self.api().llama_memory_seq_cp)(self.memory(), from, to, -1, -1) };
    }

    /// Cut the header's sequence, the only one in use, back to its first `len` tokens.
    pub(crate) fn truncate(&mut self, len: usize) {
        // Cutting to nothing clears, which recurrent models can do too.
        if len == 0 {
            self.clear(false);
        } else {
            self.cut(HEADER, len);
        }
    }

    /// Cut a sequence back to its first `len` tokens.
    pub(crate) fn cut(&mut self, sequence: i32, len: usize) {
        // SAFETY: the id is below n_seq_max; recurrent models get no `len` above 0.
        unsafe { (self.api().llama_memory_seq_rm)(self.memory(), sequence, len as i32, -1) };
    }

    /// Empty a sequence.
    pub(crate) fn remove(&mut self, sequence: i32) {
        // SAFETY: -1, -1 means the whole sequence, which never fails.
        unsafe { (self.api().llama_memory_seq_rm)(self.memory(), sequence, -1, -1) };
    }

    /// Empty the cache, with its `buffers` too where nothing may be left of what was there.
    pub(crate) fn clear(&mut self, buffers: bool) {
        // SAFETY: live context.
        unsafe { (self.api().llama_memory_clear)(self.memory(), buffers) };
    }

    fn memory(&self) -> *mut c_void {
        // SAFETY: live context.
        unsafe { (self.api().llama_get_memory)(self.context.address()) }
    }
}
