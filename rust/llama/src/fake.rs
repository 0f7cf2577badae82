//! A llama.cpp in Rust, for tests: small, exact, and able to fail.
//!
//! Its contexts are plain memory without locks, so that Miri and thread sanitizers see two threads in one.
//! A token's hidden row depends on the tokens before it in its sequence, and on what the callback writes.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use crate::api::{AbortCallback, Api, Batch};
use crate::handle::{Context, Interrupted, Model};
use crate::probe::{Ggml, Watcher};

pub(crate) const N_VOCAB: usize = 40;
pub(crate) const N_LAYER: usize = 2;
pub(crate) const N_HEAD: usize = 2;
pub(crate) const WIDTH: usize = 4;

type EvalCallback = unsafe extern "C" fn(*mut c_void, bool, *mut c_void) -> bool;

/// A context: its cells, the logits of the batch decoded last, and how it fails.
pub(crate) struct FakeContext {
    model: usize,
    n_batch: usize,
    n_seq_max: usize,
    cells: Vec<Cell>,
    logits: Vec<[f32; N_VOCAB]>,
    /// Place in `logits` of each row of the batch.
    places: Vec<Option<usize>>,
    eval: Option<(EvalCallback, usize)>,
    abort: Option<(AbortCallback, usize)>,
    n_calls: usize,
    /// One batch in this many, on average, is aborted after half of it; none if 0.
    pub(crate) fail_every: usize,
    /// As for a recurrent model.
    pub(crate) refuses_cuts: bool,
}

#[derive(Clone, Copy)]
struct Cell {
    sequence: i32,
    pos: i32,
    id: i32,
}

struct FakeTensor {
    name: CString,
    values: Vec<f32>,
    n_rows: usize,
}

/// A model and a context of it, both adopted; and the latter's address, to make it fail.
pub(crate) fn context(
    n_batch: usize,
    n_seq_max: usize,
    interrupted: Interrupted,
) -> (Arc<Context>, *mut FakeContext) {
    let api = Arc::new(api());
    let watcher = Watcher::new(&api);
    let (model, address) = parts(&api, n_batch, n_seq_max);
    let (callback, data) = watcher.callback();
    // SAFETY: the address of a live fake, and `callback` is the watcher's.
    let context = unsafe {
        let eval = std::mem::transmute::<usize, EvalCallback>(callback);
        (*address).eval = Some((eval, data));
        Context::adopt(model, address as usize, Some(watcher), interrupted).unwrap()
    };
    (Arc::new(context), address)
}

/// A model that is adopted, and a context of it that is not.
pub(crate) fn parts(
    api: &Arc<Api>,
    n_batch: usize,
    n_seq_max: usize,
) -> (Arc<Model>, *mut FakeContext) {
    let model = Box::into_raw(Box::new(0_u64)) as usize;
    let context = FakeContext {
        model,
        n_batch,
        n_seq_max,
        cells: vec![],
        logits: vec![],
        places: vec![],
        eval: None,
        abort: None,
        n_calls: 0,
        fail_every: 0,
        refuses_cuts: false,
    };
    // SAFETY: a live fake that nobody else frees.
    let model = unsafe { Model::adopt(Arc::clone(api), model) }.unwrap();
    (Arc::new(model), Box::into_raw(Box::new(context)))
}

/// Logits after tokens, with nothing written.
pub(crate) fn logits_after(tokens: &[i32]) -> [f32; N_VOCAB] {
    let mut row = first_row(tokens);
    for layer in 0..N_LAYER {
        let (heads, ffn) = (head_row(&row, layer), ffn_row(&row, layer));
        add(&mut row, &heads, &ffn);
    }
    read_out(&row)
}

fn first_row(tokens: &[i32]) -> [f32; WIDTH] {
    let mix = |state: u32, &id: &i32| (state ^ id as u32).wrapping_mul(16_777_619).rotate_left(5);
    let state = tokens.iter().fold(2_166_136_261, mix);
    std::array::from_fn(|i| ((state >> (8 * i)) & 0xff) as f32 / 64.0)
}

fn head_row(row: &[f32; WIDTH], layer: usize) -> [f32; WIDTH] {
    row.map(|x| x * 0.5 + layer as f32)
}

fn ffn_row(row: &[f32; WIDTH], layer: usize) -> [f32; WIDTH] {
    row.map(|x| 1.0 - x * 0.25 * (layer + 1) as f32)
}

fn add(row: &mut [f32; WIDTH], heads: &[f32; WIDTH], ffn: &[f32; WIDTH]) {
    for i in 0..WIDTH {
        row[i] += heads[i] + ffn[i];
    }
}

fn read_out(row: &[f32; WIDTH]) -> [f32; N_VOCAB] {
    std::array::from_fn(|id| row[id % WIDTH] * (1.0 + (id * 7 % 11) as f32 / 10.0))
}

impl FakeContext {
    /// Tokens of a sequence up to a position; None unless each position before it is there once.
    fn before(&self, sequence: i32, pos: i32) -> Option<Vec<i32>> {
        let own = self.cells.iter().filter(|cell| cell.sequence == sequence && cell.pos <= pos);
        let mut own: Vec<Cell> = own.copied().collect();
        own.sort_by_key(|cell| cell.pos);
        let in_order = own.iter().zip(0..).all(|(cell, pos)| cell.pos == pos);
        (in_order && own.len() == pos as usize + 1)
            .then(|| own.iter().map(|cell| cell.id).collect())
    }

    /// Add the batch to the cells; code 2 if it is aborted halfway, -1 if positions do not follow.
    fn decode(&mut self, tokens: &[(i32, i32, Vec<i32>)], is_output: &[bool]) -> i32 {
        assert!(!tokens.is_empty() && tokens.len() <= self.n_batch, "llama.cpp aborts");
        self.n_calls += 1;
        let square = self.n_calls.wrapping_mul(0x9e37_79b9).rotate_left(13) ^ 0x5bd1;
        let mixed = (square ^ square >> 17).wrapping_mul(0x85eb_ca6b) >> 20;
        let fails = self.fail_every > 0 && mixed.is_multiple_of(self.fail_every);
        let n_added = if fails { tokens.len() / 2 } else { tokens.len() };
        for (id, pos, sequences) in &tokens[..n_added] {
            let cell = |&sequence: &i32| Cell { sequence, pos: *pos, id: *id };
            self.cells.extend(sequences.iter().map(cell));
        }
        if fails || self.asks_to_stop() {
            return 2;
        }
        let seen = tokens.iter().map(|(_, pos, sequences)| self.before(sequences[0], *pos));
        let Some(seen) = seen.collect::<Option<Vec<_>>>() else { return -1 };
        let mut rows: Vec<[f32; WIDTH]> = seen.iter().map(|tokens| first_row(tokens)).collect();
        for layer in 0..N_LAYER {
            let mut heads: Vec<_> = rows.iter().map(|row| head_row(row, layer)).collect();
            self.show("kqv_out", layer, &mut heads);
            let mut ffn: Vec<_> = rows.iter().map(|row| ffn_row(row, layer)).collect();
            self.show("ffn_out", layer, &mut ffn);
            for (row, (heads, ffn)) in rows.iter_mut().zip(heads.iter().zip(&ffn)) {
                add(row, heads, ffn);
            }
            self.show("l_out", layer, &mut rows);
            if self.asks_to_stop() {
                return 2;
            }
        }
        let mut place = 0..;
        self.places = is_output.iter().map(|&is| if is { place.next() } else { None }).collect();
        let outputs = rows.iter().zip(is_output).filter(|&(_, &is)| is);
        self.logits = outputs.map(|(row, _)| read_out(row)).collect();
        0
    }

    fn asks_to_stop(&self) -> bool {
        // SAFETY: the function and its data, as they were set.
        self.abort.is_some_and(|(abort, data)| unsafe { abort(data as *mut c_void) })
    }

    /// Show a node to the callback, which may overwrite it.
    fn show(&self, name: &str, layer: usize, rows: &mut [[f32; WIDTH]]) {
        let Some((callback, data)) = self.eval else { return };
        let name = CString::new(format!("{name}-{layer}")).unwrap();
        let mut tensor = FakeTensor { name, values: rows.concat(), n_rows: rows.len() };
        let (tensor, data) = ((&raw mut tensor).cast::<c_void>(), data as *mut c_void);
        // SAFETY: a live tensor, and the callback's own data.
        unsafe {
            if callback(tensor, true, data) {
                callback(tensor, false, data);
            }
            let values = &(*tensor.cast::<FakeTensor>()).values;
            rows.as_flattened_mut().copy_from_slice(values);
        }
    }
}

/// # Safety
/// Every pointer that these functions get is that of a live fake.
mod functions {
    use super::*;

    unsafe fn of<'a>(context: *const c_void) -> &'a mut FakeContext {
        unsafe { &mut *context.cast_mut().cast::<FakeContext>() }
    }

    pub(super) unsafe extern "C-unwind" fn decode(context: *mut c_void, batch: Batch) -> i32 {
        let token = |row: usize| unsafe {
            let n = *batch.n_seq_id.add(row) as usize;
            let sequences = std::slice::from_raw_parts(*batch.seq_id.add(row), n).to_vec();
            (*batch.token.add(row), *batch.pos.add(row), sequences)
        };
        let n_tokens = batch.n_tokens as usize;
        let tokens: Vec<_> = (0..n_tokens).map(token).collect();
        let is_output = |row: usize| unsafe { *batch.logits.add(row) != 0 };
        unsafe { of(context) }.decode(&tokens, &(0..n_tokens).map(is_output).collect::<Vec<_>>())
    }

    pub(super) unsafe extern "C-unwind" fn logits(context: *mut c_void, row: i32) -> *const f32 {
        let context = unsafe { of(context) };
        match context.places.get(row as usize).copied().flatten() {
            Some(place) => context.logits[place].as_ptr(),
            None => std::ptr::null(),
        }
    }

    pub(super) unsafe extern "C-unwind" fn clear(context: *mut c_void, _: bool) {
        unsafe { of(context) }.cells.clear();
    }

    pub(super) unsafe extern "C-unwind" fn remove(
        context: *mut c_void,
        sequence: i32,
        from: i32,
        _: i32,
    ) -> bool {
        let context = unsafe { of(context) };
        if context.refuses_cuts {
            return false;
        }
        context.cells.retain(|cell| cell.sequence != sequence || cell.pos < from);
        true
    }

    pub(super) unsafe extern "C-unwind" fn copy(
        context: *mut c_void,
        from: i32,
        to: i32,
        _: i32,
        end: i32,
    ) {
        let context = unsafe { of(context) };
        if end < 0 {
            // Between streams a whole copy replaces what was there.
            context.cells.retain(|cell| cell.sequence != to);
        }
        let is_copied = |cell: &&Cell| cell.sequence == from && (end < 0 || cell.pos < end);
        let copied: Vec<Cell> = context.cells.iter().filter(is_copied).copied().collect();
        context.cells.extend(copied.iter().map(|cell| Cell { sequence: to, ..*cell }));
    }

    pub(super) unsafe extern "C-unwind" fn set_abort(
        context: *mut c_void,
        callback: AbortCallback,
        data: *mut c_void,
    ) {
        unsafe { of(context) }.abort = Some((callback, data as usize));
    }

    pub(super) unsafe extern "C-unwind" fn model_of(context: *const c_void) -> *const c_void {
        unsafe { of(context) }.model as *const c_void
    }

    pub(super) unsafe extern "C-unwind" fn n_batch(context: *const c_void) -> u32 {
        unsafe { of(context) }.n_batch as u32
    }

    pub(super) unsafe extern "C-unwind" fn n_seq_max(context: *const c_void) -> u32 {
        unsafe { of(context) }.n_seq_max as u32
    }

    pub(super) unsafe extern "C-unwind" fn free(context: *mut c_void) {
        drop(unsafe { Box::from_raw(context.cast::<FakeContext>()) });
    }

    pub(super) unsafe extern "C-unwind" fn free_model(model: *mut c_void) {
        drop(unsafe { Box::from_raw(model.cast::<u64>()) });
    }

    pub(super) unsafe extern "C-unwind" fn piece(
        _: *const c_void,
        id: i32,
        buffer: *mut c_char,
        _: i32,
        _: i32,
        _: bool,
    ) -> i32 {
        unsafe { *buffer = b'a' as c_char + (id % 26) as c_char };
        1
    }

    unsafe fn tensor<'a>(tensor: *const c_void) -> &'a mut FakeTensor {
        unsafe { &mut *tensor.cast_mut().cast::<FakeTensor>() }
    }

    pub(super) unsafe extern "C-unwind" fn name(t: *const c_void) -> *const c_char {
        unsafe { tensor(t) }.name.as_ptr()
    }

    pub(super) unsafe extern "C-unwind" fn n_elements(t: *const c_void) -> i64 {
        unsafe { tensor(t) }.values.len() as i64
    }

    pub(super) unsafe extern "C-unwind" fn n_rows(t: *const c_void) -> i64 {
        unsafe { tensor(t) }.n_rows as i64
    }

    pub(super) unsafe extern "C-unwind" fn n_bytes(t: *const c_void) -> usize {
        size_of_val(unsafe { tensor(t) }.values.as_slice())
    }

    pub(super) unsafe extern "C-unwind" fn get(
        t: *const c_void,
        out: *mut c_void,
        offset: usize,
        size: usize,
    ) {
        let (first, n) = (offset / size_of::<f32>(), size / size_of::<f32>());
        let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<f32>(), n) };
        out.copy_from_slice(&unsafe { tensor(t) }.values[first..first + n]);
    }

    pub(super) unsafe extern "C-unwind" fn set(
        t: *mut c_void,
        values: *const c_void,
        offset: usize,
        size: usize,
    ) {
        let (first, n) = (offset / size_of::<f32>(), size / size_of::<f32>());
        let values = unsafe { std::slice::from_raw_parts(values.cast::<f32>(), n) };
        unsafe { tensor(t) }.values[first..first + n].copy_from_slice(values);
    }

    pub(super) unsafe extern "C-unwind" fn same(pointer: *const c_void) -> *const c_void {
        pointer
    }

    pub(super) unsafe extern "C-unwind" fn memory(context: *const c_void) -> *mut c_void {
        context.cast_mut()
    }
}

/// The functions of the fake.
pub(crate) fn api() -> Api {
    use functions::{self as f, same};
    let ggml = Ggml {
        get_name: f::name,
        n_elements: f::n_elements,
        n_rows: f::n_rows,
        n_bytes: f::n_bytes,
        is_contiguous: always,
        tensor_get: f::get,
        tensor_set: f::set,
    };
    Api {
        llama_model_free: f::free_model,
        llama_free: f::free,
        llama_model_get_vocab: same,
        llama_vocab_n_tokens: n_vocab,
        llama_vocab_get_text: no_text,
        llama_vocab_get_attr: no_attr,
        llama_vocab_bos: n_vocab,
        llama_vocab_get_add_bos: always,
        llama_tokenize: no_tokens,
        llama_token_to_piece: f::piece,
        llama_get_model: f::model_of,
        llama_n_ctx: n_ctx,
        llama_n_batch: f::n_batch,
        llama_n_seq_max: f::n_seq_max,
        llama_n_threads: n_threads,
        llama_set_abort_callback: f::set_abort,
        llama_get_memory: f::memory,
        llama_memory_clear: f::clear,
        llama_memory_seq_rm: f::remove,
        llama_memory_seq_cp: f::copy,
        llama_decode: f::decode,
        llama_get_logits_ith: f::logits,
        llama_vocab_is_eog: is_eog,
        llama_model_n_layer: n_layer,
        llama_model_n_embd: width,
        llama_model_n_head: n_head,
        ggml,
        library: None,
    }
}

unsafe extern "C-unwind" fn always(_: *const c_void) -> bool {
    true
}

unsafe extern "C-unwind" fn n_vocab(_: *const c_void) -> i32 {
    N_VOCAB as i32
}

unsafe extern "C-unwind" fn no_text(_: *const c_void, _: i32) -> *const c_char {
    std::ptr::null()
}

unsafe extern "C-unwind" fn no_attr(_: *const c_void, _: i32) -> i32 {
    0
}

unsafe extern "C-unwind" fn no_tokens(
    _: *const c_void,
    _: *const c_char,
    _: i32,
    _: *mut i32,
    _: i32,
    _: bool,
    _: bool,
) -> i32 {
    0
}

unsafe extern "C-unwind" fn n_ctx(_: *const c_void) -> u32 {
    4096
}

unsafe extern "C-unwind" fn n_threads(_: *mut c_void) -> i32 {
    2
}

unsafe extern "C-unwind" fn is_eog(_: *const c_void, id: i32) -> bool {
    id == 0
}

unsafe extern "C-unwind" fn n_layer(_: *const c_void) -> i32 {
    N_LAYER as i32
}

unsafe extern "C-unwind" fn width(_: *const c_void) -> i32 {
    WIDTH as i32
}

unsafe extern "C-unwind" fn n_head(_: *const c_void) -> i32 {
    N_HEAD as i32
}
