//! The fake as llama.cpp's functions. Every pointer that they get is that of a live fake.

use std::ffi::{c_char, c_void};

use super::{Cell, FakeContext, FakeTensor, N_COPIES, N_HEAD, N_LAYER, N_VOCAB, WIDTH};
use crate::api::{AbortCallback, Api, Batch};
use crate::probe::Ggml;

/// The functions of the fake.
pub(crate) fn api() -> Api {
    let ggml = Ggml {
        get_name: name,
        n_elements,
        n_rows,
        n_bytes,
        is_contiguous: always,
        tensor_get: get,
        tensor_set: set,
    };
    Api {
        llama_model_free: free_model,
        llama_free: free,
        llama_model_get_vocab: same,
        llama_vocab_n_tokens: n_vocab,
        llama_vocab_get_text: no_text,
        llama_vocab_get_attr: no_attr,
        llama_vocab_bos: n_vocab,
        llama_vocab_get_add_bos: always,
        llama_tokenize: no_tokens,
        llama_token_to_piece: piece,
        llama_get_model: model_of,
        llama_n_ctx: n_ctx,
        llama_n_batch: n_batch,
        llama_n_seq_max: n_seq_max,
        llama_n_threads: n_threads,
        llama_set_abort_callback: set_abort,
        llama_get_memory: memory,
        llama_memory_clear: clear,
        llama_memory_seq_rm: remove,
        llama_memory_seq_cp: copy,
        llama_decode: decode,
        llama_get_logits_ith: logits,
        llama_vocab_is_eog: is_eog,
        llama_model_n_layer: n_layer,
        llama_model_n_embd: width,
        llama_model_n_head: n_head,
        ggml,
        library: None,
    }
}

unsafe fn of<'a>(context: *const c_void) -> &'a mut FakeContext {
    unsafe { &mut *context.cast_mut().cast::<FakeContext>() }
}

unsafe extern "C-unwind" fn decode(context: *mut c_void, batch: Batch) -> i32 {
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

unsafe extern "C-unwind" fn logits(context: *mut c_void, row: i32) -> *const f32 {
    let context = unsafe { of(context) };
    match context.places.get(row as usize).copied().flatten() {
        Some(place) => context.logits[place].as_ptr(),
        None => std::ptr::null(),
    }
}

unsafe extern "C-unwind" fn clear(context: *mut c_void, _: bool) {
    unsafe { of(context) }.cells.clear();
}

unsafe extern "C-unwind" fn remove(context: *mut c_void, sequence: i32, from: i32, _: i32) -> bool {
    let context = unsafe { of(context) };
    if context.refuses_cuts {
        return false;
    }
    context.cells.retain(|cell| cell.sequence != sequence || cell.pos < from);
    true
}

unsafe extern "C-unwind" fn copy(context: *mut c_void, from: i32, to: i32, _: i32, end: i32) {
    let context = unsafe { of(context) };
    if end < 0 {
        // Between streams a whole copy replaces what was there.
        context.cells.retain(|cell| cell.sequence != to);
    }
    let is_copied = |cell: &&Cell| cell.sequence == from && (end < 0 || cell.pos < end);
    let copied: Vec<Cell> = context.cells.iter().filter(is_copied).copied().collect();
    context.cells.extend(copied.iter().map(|cell| Cell { sequence: to, ..*cell }));
}

unsafe extern "C-unwind" fn set_abort(
    context: *mut c_void,
    callback: AbortCallback,
    data: *mut c_void,
) {
    unsafe { of(context) }.abort = Some((callback, data as usize));
}

unsafe extern "C-unwind" fn model_of(context: *const c_void) -> *const c_void {
    unsafe { of(context) }.model as *const c_void
}

unsafe extern "C-unwind" fn n_batch(context: *const c_void) -> u32 {
    unsafe { of(context) }.n_batch as u32
}

unsafe extern "C-unwind" fn n_seq_max(context: *const c_void) -> u32 {
    unsafe { of(context) }.n_seq_max as u32
}

unsafe extern "C-unwind" fn free(context: *mut c_void) {
    drop(unsafe { Box::from_raw(context.cast::<FakeContext>()) });
}

unsafe extern "C-unwind" fn free_model(model: *mut c_void) {
    drop(unsafe { Box::from_raw(model.cast::<u64>()) });
}

unsafe extern "C-unwind" fn piece(
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

unsafe extern "C-unwind" fn name(t: *const c_void) -> *const c_char {
    unsafe { tensor(t) }.name.as_ptr()
}

unsafe extern "C-unwind" fn n_elements(t: *const c_void) -> i64 {
    unsafe { tensor(t) }.values.len() as i64
}

unsafe extern "C-unwind" fn n_rows(t: *const c_void) -> i64 {
    unsafe { tensor(t) }.n_rows as i64
}

unsafe extern "C-unwind" fn n_bytes(t: *const c_void) -> usize {
    size_of_val(unsafe { tensor(t) }.values.as_slice())
}

unsafe extern "C-unwind" fn get(t: *const c_void, out: *mut c_void, offset: usize, size: usize) {
    let (first, n) = (offset / size_of::<f32>(), size / size_of::<f32>());
    N_COPIES.set(N_COPIES.get() + 1);
    let out = unsafe { std::slice::from_raw_parts_mut(out.cast::<f32>(), n) };
    out.copy_from_slice(&unsafe { tensor(t) }.values[first..first + n]);
}

unsafe extern "C-unwind" fn set(t: *mut c_void, values: *const c_void, offset: usize, size: usize) {
    let (first, n) = (offset / size_of::<f32>(), size / size_of::<f32>());
    N_COPIES.set(N_COPIES.get() + 1);
    let values = unsafe { std::slice::from_raw_parts(values.cast::<f32>(), n) };
    unsafe { tensor(t) }.values[first..first + n].copy_from_slice(values);
}

unsafe extern "C-unwind" fn same(pointer: *const c_void) -> *const c_void {
    pointer
}

unsafe extern "C-unwind" fn memory(context: *const c_void) -> *mut c_void {
    context.cast_mut()
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
