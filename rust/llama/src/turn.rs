//! One llama.cpp context in use: its cache and `llama_decode`.
//!
//! A [`Lease`] is a claim to the cache, which ends when somebody else takes it. A [`Turn`] is the locked
//! context; [`Logits`] borrow it, so that no row outlives the batch that it came from.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use crate::api::{Api, Batch};
use crate::error::{Error, Result};
use crate::handle::{Context, Raw};
use crate::logprob::{self, Row};
use crate::plan::{Copy, HEADER, Token};
use crate::probe::Watcher;

/// A claim to the cache of a context, with a count of the tokens decoded under it.
#[derive(Debug)]
pub struct Lease {
    context: Arc<Context>,
    epoch: u64,
    n_decoded: Arc<AtomicUsize>,
}

impl Lease {
    /// Take the cache of a context, which is emptied; whoever had it has it no longer.
    pub(crate) fn take(context: Arc<Context>) -> Self {
        let epoch = Turn::taken(&context).raw.epoch;
        Self { context, epoch, n_decoded: Arc::default() }
    }

    /// Wait for the context.
    ///
    /// # Errors
    /// [`Error::CacheTaken`].
    pub(crate) fn turn(&self) -> Result<Turn<'_>> {
        let turn = Turn::new(&self.context, Some(&self.n_decoded));
        if turn.raw.epoch == self.epoch { Ok(turn) } else { Err(Error::CacheTaken) }
    }

    /// Take the cache again: it is empty, whatever was in it.
    pub(crate) fn renew(&mut self) -> Turn<'_> {
        let mut turn = Turn::taken(&self.context);
        self.epoch = turn.raw.epoch;
        turn.n_decoded = Some(&self.n_decoded);
        turn
    }

    /// The number of tokens decoded so far, still counting.
    pub(crate) fn n_decoded(&self) -> &Arc<AtomicUsize> {
        &self.n_decoded
    }
}

/// A context that nobody else uses as long as this value lives.
#[derive(Debug)]
pub struct Turn<'a> {
    context: &'a Context,
    raw: MutexGuard<'a, Raw>,
    n_decoded: Option<&'a AtomicUsize>,
}

impl<'a> Turn<'a> {
    fn new(context: &'a Context, n_decoded: Option<&'a AtomicUsize>) -> Self {
        Self { context, raw: context.lock(), n_decoded }
    }

    /// Wait for a context, end every lease of its cache, and empty it.
    pub(crate) fn taken(context: &'a Context) -> Self {
        let mut turn = Self::new(context, None);
        turn.raw.epoch += 1;
        // Clearing the buffers too gives every run the same start.
        turn.clear(true);
        turn
    }

    /// Sequences that the cache holds.
    pub(crate) fn n_seq_max(&self) -> usize {
        self.context.capacity().n_seq_max
    }

    fn api(&self) -> &'a Api {
        self.context.model().api()
    }

    fn address(&self) -> *mut c_void {
        self.raw.address.as_ptr()
    }

    /// Decode a batch and return the logits of the tokens at `outputs`.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::BatchSize`], [`Error::Decode`], and what the watcher found.
    pub(crate) fn decode(&mut self, tokens: &[Token], outputs: &[usize]) -> Result<Logits<'_>> {
        let (n_tokens, n_batch) = (tokens.len(), self.context.capacity().n_batch);
        if self.context.is_interrupted() {
            return Err(Error::Interrupted);
        }
        // llama.cpp aborts the process.
        if n_tokens == 0 || n_tokens > n_batch {
            return Err(Error::BatchSize { n_tokens, n_batch });
        }
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
        let code = unsafe { (self.api().llama_decode)(self.address(), batch) };
        if code != 0 {
            return Err(Error::Decode { code, n_tokens });
        }
        watcher.map_or(Ok(()), Watcher::check)?;
        self.n_decoded.inspect(|n_decoded| {
            n_decoded.fetch_add(n_tokens, Ordering::Relaxed);
        });
        Ok(Logits { turn: self, n_tokens })
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
    ///
    /// # Errors
    /// [`Error::NotCut`].
    pub(crate) fn truncate(&mut self, len: usize) -> Result<()> {
        // Cutting to nothing clears, which recurrent models can do too.
        if len > 0 {
            return self.cut(HEADER, len);
        }
        self.clear(false);
        Ok(())
    }

    /// Cut a sequence back to its first `len` tokens.
    ///
    /// # Errors
    /// [`Error::NotCut`], as from a recurrent model.
    pub(crate) fn cut(&mut self, sequence: i32, len: usize) -> Result<()> {
        // SAFETY: the id is below n_seq_max.
        let done =
            unsafe { (self.api().llama_memory_seq_rm)(self.memory(), sequence, len as i32, -1) };
        if done { Ok(()) } else { Err(Error::NotCut { sequence, len }) }
    }

    /// Empty a sequence.
    ///
    /// # Errors
    /// [`Error::NotCut`].
    pub(crate) fn remove(&mut self, sequence: i32) -> Result<()> {
        // SAFETY: the id is below n_seq_max; -1, -1 means the whole sequence.
        let done = unsafe { (self.api().llama_memory_seq_rm)(self.memory(), sequence, -1, -1) };
        if done { Ok(()) } else { Err(Error::NotCut { sequence, len: 0 }) }
    }

    /// Empty the cache, with its `buffers` too where nothing may be left of what was there.
    pub(crate) fn clear(&mut self, buffers: bool) {
        // SAFETY: live context.
        unsafe { (self.api().llama_memory_clear)(self.memory(), buffers) };
    }

    fn memory(&self) -> *mut c_void {
        // SAFETY: live context.
        unsafe { (self.api().llama_get_memory)(self.address()) }
    }
}

/// The logits of the batch decoded last, until the next one.
#[derive(Debug)]
pub(crate) struct Logits<'a> {
    turn: &'a Turn<'a>,
    n_tokens: usize,
}

impl<'a> Logits<'a> {
    /// Logits of the token at `row` of the batch, one of its outputs.
    ///
    /// # Errors
    /// [`Error::NoLogits`].
    pub(crate) fn row(&self, row: usize) -> Result<&'a [f32]> {
        let Self { turn, n_tokens } = *self;
        // SAFETY: llama.cpp checks the row and returns null for one that is no output.
        let logits = unsafe { (turn.api().llama_get_logits_ith)(turn.address(), row as i32) };
        if logits.is_null() {
            return Err(Error::NoLogits { row, n_tokens });
        }
        // SAFETY: a row of n_vocab floats, valid until the next decode, which needs the turn that is
        // borrowed here.
        Ok(unsafe { std::slice::from_raw_parts(logits, turn.context.capacity().n_vocab) })
    }

    /// Read rows of the batch, on the context's threads.
    ///
    /// # Errors
    /// [`Error::NoLogits`].
    pub(crate) fn read(&self, rows: &[usize]) -> Result<Vec<Row<'a>>> {
        let rows: Vec<&[f32]> = rows.iter().map(|&row| self.row(row)).collect::<Result<_>>()?;
        Ok(logprob::read(&rows, self.turn.context.capacity().n_threads))
    }
}
