//! A llama.cpp in Rust, for tests: small, exact, and able to fail.
//!
//! Its contexts are plain memory without locks, so that Miri and thread sanitizers see two threads in one.
//! A token's hidden row depends on the tokens before it in its sequence, and on what the callback writes.

mod functions;

use std::cell::Cell as Count;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use crate::api::{AbortCallback, Api};
use crate::handle::{Context, Interrupted, Model};
use crate::probe::Watcher;
pub(crate) use functions::api;

pub(crate) const N_VOCAB: usize = 40;
pub(crate) const N_LAYER: usize = 2;
pub(crate) const N_HEAD: usize = 2;
pub(crate) const WIDTH: usize = 4;

thread_local! {
    /// Copies out of and into tensors, on this thread.
    pub(crate) static N_COPIES: Count<usize> = const { Count::new(0) };
}

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
        let callback = std::ptr::with_exposed_provenance::<()>(callback);
        let eval = std::mem::transmute::<*const (), EvalCallback>(callback);
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
