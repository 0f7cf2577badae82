//! The eval callback: reads and overwrites rows of named nodes while llama.cpp computes a batch.

use std::any::Any;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ggml::Ggml;
use crate::api::Api;
use crate::error::{Error, Result};

/// A row of a batch, by its two numbers: nodes of the last layer hold rows of outputs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchRow {
    /// Index in the batch.
    pub(crate) token: usize,
    /// Rank among the rows marked as outputs.
    pub(crate) output: Option<usize>,
}

/// Values to put into a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    pub(crate) row: BatchRow,
    pub(crate) column: usize,
    pub(crate) values: Vec<f32>,
}

/// A read of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// A row, `width` values.
    Row { row: BatchRow, out: usize },
    /// Attention weights of one query on the first `n` cells, `n_head` times `n` values.
    Attention { token: usize, n: usize, out: usize },
}

/// The work on one node. Writes come first: a read sees what later nodes see.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) width: usize,
    pub(crate) writes: Vec<Write>,
    pub(crate) reads: Vec<Read>,
}

/// A head whose output is replaced in every row of every batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ablation {
    pub(crate) head: usize,
    pub(crate) n_head: usize,
    /// Zeros, if there are none.
    pub(crate) values: Option<Vec<f32>>,
}

/// The callback's task in the next batch.
#[derive(Debug, Default)]
pub(crate) struct Task {
    pub(crate) n_tokens: usize,
    pub(crate) n_outputs: usize,
    pub(crate) n_head: usize,
    pub(crate) work: HashMap<String, Work>,
    /// Only record the number of values of these nodes.
    pub(crate) measure: bool,
    /// Leave the graph uncomputed after the first of these nodes.
    pub(crate) stop: bool,
}

/// Results of a batch: values read, and the number of values of each node asked for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) values: Vec<f32>,
    pub(crate) sizes: HashMap<String, usize>,
}

/// The callback's side of a context: its task in the next batch, and the results of the last.
#[derive(Debug, Clone)]
pub struct Watcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// True once a context has it.
    is_taken: AtomicBool,
}

impl Watcher {
    /// Make a watcher, for one context.
    #[must_use]
    pub fn new(api: &Api) -> Self {
        let state = State {
            ggml: api.ggml,
            ablations: HashMap::new(),
            task: Task::default(),
            seen: Seen::default(),
            error: None,
        };
        let (state, is_taken) = (Mutex::new(state), AtomicBool::new(false));
        Self(Arc::new(Shared { state, is_taken }))
    }

    /// Give it to a context; false if one has it already.
    pub(crate) fn claim(&self) -> bool {
        !self.0.is_taken.swap(true, Ordering::Relaxed)
    }

    /// Addresses of the callback and of its user data, for a context's parameters.
    #[must_use]
    pub fn callback(&self) -> (usize, usize) {
        (eval_callback as *const () as usize, Arc::as_ptr(&self.0) as usize)
    }

    /// Replace a head's output from now on.
    pub(crate) fn ablate(&self, node: String, ablation: Ablation) {
        self.0.lock().ablations.entry(node).or_default().push(ablation);
    }

    /// Set the work for the next decode, with room for `n_out` values read.
    pub(crate) fn give(&self, task: Task, n_out: usize) {
        let mut state = self.0.lock();
        state.task = task;
        state.seen.values = vec![0.0; n_out];
    }

    /// Reset before a decode.
    pub(crate) fn open(&self) {
        let mut state = self.0.lock();
        state.seen.sizes.clear();
        state.error = None;
    }

    /// Check the decode that has ended.
    ///
    /// # Errors
    /// The first thing that went wrong inside the callback, or [`Error::NodeMissing`].
    pub(crate) fn check(&self) -> Result<()> {
        let mut state = self.0.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let unseen = |name: &&String| !state.seen.sizes.contains_key(*name);
        match state.task.work.keys().chain(state.ablations.keys()).filter(unseen).min() {
            Some(node) => Err(Error::NodeMissing { node: node.clone() }),
            None => Ok(()),
        }
    }

    /// Return the results; the callback asks for nothing more.
    pub(crate) fn take(&self) -> Seen {
        let mut state = self.0.lock();
        state.task = Task::default();
        std::mem::take(&mut state.seen)
    }
}

impl Shared {
    /// A panic leaves an error or a task behind, which the next decode overwrites.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Behind the callback's user data.
#[derive(Debug)]
struct State {
    ggml: Ggml,
    /// For each node of head outputs the heads that are replaced.
    ablations: HashMap<String, Vec<Ablation>>,
    task: Task,
    seen: Seen,
    error: Option<Error>,
}

/// Attention outside a prompt's own cells that rounding may explain.
const STRAY: f32 = 1e-6;

impl State {
    fn wants(&self, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| {
            self.task.work.contains_key(name) || self.ablations.contains_key(name)
        })
    }

    /// # Safety
    /// `tensor` is a computed `ggml_tensor`.
    unsafe fn visit(&mut self, tensor: *mut c_void) -> Result<()> {
        // SAFETY: by contract, here and below.
        let (name, n_values) =
            unsafe { (self.ggml.name(tensor).to_vec(), self.ggml.n_values(tensor)) };
        let node = String::from_utf8_lossy(&name).into_owned();
        let Some(n_values) = n_values else { return Err(Error::NodeType { node }) };
        let is_second = self.seen.sizes.insert(node.clone(), n_values).is_some();
        let nothing = Work::default();
        let work = match self.task.work.get(&node) {
            Some(_) if is_second => return Err(Error::NodeTwice { node }),
            Some(work) if !self.task.measure => work,
            _ => &nothing,
        };
        let ablations = self.ablations.get(&node).map_or(&[][..], Vec::as_slice);
        let shape = NodeShape { node: &node, n_values, task: &self.task };
        // SAFETY: by contract.
        unsafe {
            edit(self.ggml, tensor, &shape, ablations, work, &mut self.seen.values)?;
            read_attention(self.ggml, tensor, &shape, &work.reads, &mut self.seen.values)
        }
    }
}

/// Overwrite and read rows of a node. The part that is touched is copied out once, changed, and put back
/// once: on a GPU every copy waits for the device.
///
/// # Safety
/// As for [`State::visit`]; the tensor holds the values of `shape`.
unsafe fn edit(
    ggml: Ggml,
    tensor: *mut c_void,
    shape: &NodeShape<'_>,
    ablations: &[Ablation],
    work: &Work,
    out: &mut [f32],
) -> Result<()> {
    let offset = |row| shape.row(work.width, row);
    let mut writes = vec![];
    for write in &work.writes {
        writes.push((offset(write.row)? + write.column, write.values.as_slice()));
    }
    let mut reads = vec![];
    for &read in &work.reads {
        if let Read::Row { row, out } = read {
            reads.push((offset(row)?, out));
        }
    }
    let touched = if ablations.is_empty() {
        let written = writes.iter().map(|&(at, values)| at..at + values.len());
        cover(written.chain(reads.iter().map(|&(at, _)| at..at + work.width)))
    } else {
        0..shape.n_values
    };
    let mut values = vec![0.0; touched.len()];
    let is_overwritten = ablations.is_empty() && reads.is_empty() && writes.len() < 2;
    if !is_overwritten {
        // SAFETY: rows lie inside the tensor, and columns were checked against the width.
        unsafe { ggml.get(tensor, touched.start, &mut values) };
    }
    if !ablations.is_empty() {
        // SAFETY: by contract.
        replace_heads(&mut values, unsafe { ggml.n_rows(tensor) }, ablations)?;
    }
    for &(at, new) in &writes {
        values[at - touched.start..][..new.len()].copy_from_slice(new);
    }
    if !(ablations.is_empty() && writes.is_empty()) {
        // SAFETY: as above.
        unsafe { ggml.set(tensor, touched.start, &values) };
    }
    for &(at, place) in &reads {
        out[place..place + work.width].copy_from_slice(&values[at - touched.start..][..work.width]);
    }
    Ok(())
}

/// The range that holds all of these.
fn cover(ranges: impl Iterator<Item = Range<usize>>) -> Range<usize> {
    ranges.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0)
}

/// Overwrite the heads that are ablated, in every row. A batch of several streams comes in parts, and the
/// node is computed in each.
fn replace_heads(values: &mut [f32], n_rows: usize, ablations: &[Ablation]) -> Result<()> {
    let width = values.len() / n_rows.max(1);
    for ablation in ablations {
        let head_width = width / ablation.n_head;
        let zeros = vec![0.0; head_width];
        let new = ablation.values.as_ref().unwrap_or(&zeros);
        if new.len() != head_width || head_width * ablation.n_head != width {
            let (name, actual) = ("the output of an ablated head", new.len());
            return Err(Error::Length { name, actual, expected: head_width });
        }
        for row in values.chunks_exact_mut(width.max(1)) {
            row[ablation.head * head_width..][..head_width].copy_from_slice(new);
        }
    }
    Ok(())
}

/// Read attention weights, head after head.
///
/// # Safety
/// As for [`edit`].
unsafe fn read_attention(
    ggml: Ggml,
    tensor: *mut c_void,
    shape: &NodeShape<'_>,
    reads: &[Read],
    out: &mut [f32],
) -> Result<()> {
    for &read in reads {
        let Read::Attention { token, n, out: place } = read else { continue };
        let n_cells = shape.n_cells(n)?;
        let mut cells = vec![0.0; n_cells];
        for head in 0..shape.task.n_head {
            let offset = (head * shape.task.n_tokens + token) * n_cells;
            // SAFETY: n_head * n_tokens rows of n_cells values are the whole tensor.
            unsafe { ggml.get(tensor, offset, &mut cells) };
            check_cells(shape.node, &cells, n)?;
            out[place + head * n..][..n].copy_from_slice(&cells[..n]);
        }
    }
    Ok(())
}

struct NodeShape<'a> {
    node: &'a str,
    n_values: usize,
    task: &'a Task,
}

impl NodeShape<'_> {
    /// Offset of a row.
    fn row(&self, width: usize, row: BatchRow) -> Result<usize> {
        let place = if self.n_values == width * self.task.n_tokens {
            Some(row.token)
        } else if self.n_values == width * self.task.n_outputs {
            row.output
        } else {
            None
        };
        place.map(|place| place * width).ok_or_else(|| self.wrong(width))
    }

    fn n_cells(&self, least: usize) -> Result<usize> {
        let n_rows = self.task.n_head * self.task.n_tokens;
        let n_cells = self.n_values / n_rows;
        if n_cells * n_rows != self.n_values || n_cells < least {
            return Err(self.wrong(least));
        }
        Ok(n_cells)
    }

    fn wrong(&self, width: usize) -> Error {
        Error::NodeShape {
            node: self.node.to_owned(),
            n_values: self.n_values,
            width,
            n_tokens: self.task.n_tokens,
            n_outputs: self.task.n_outputs,
        }
    }
}

/// A prompt alone in the first `n` cells attends to nothing else; if it seems to, the cells
/// are not in that order.
fn check_cells(node: &str, cells: &[f32], n: usize) -> Result<()> {
    let all: f32 = cells.iter().sum();
    let own: f32 = cells[..n].iter().sum();
    if (all - own).abs() <= STRAY {
        return Ok(());
    }
    Err(Error::CellOrder { node: node.to_owned(), stray: format!("{:.2e}", all - own) })
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("no reason given").to_owned()
}

/// The function that llama.cpp calls twice for every node: to ask if it is wanted, and once it is computed.
///
/// # Safety
/// `user_data` is [`Watcher::callback`]'s, of a watcher that is alive, and `tensor` a live `ggml_tensor`.
unsafe extern "C" fn eval_callback(tensor: *mut c_void, ask: bool, user_data: *mut c_void) -> bool {
    // SAFETY: by contract.
    let mut state = unsafe { &*user_data.cast::<Shared>() }.lock();
    if ask {
        // SAFETY: by contract.
        return state.error.is_none() && state.wants(unsafe { state.ggml.name(tensor) });
    }
    // A panic must not reach llama.cpp. What it leaves half done is discarded with the batch.
    // SAFETY: by contract.
    let visit = || unsafe { state.visit(tensor) };
    let visited = catch_unwind(AssertUnwindSafe(visit)).unwrap_or_else(|panic| {
        // SAFETY: by contract.
        let node = String::from_utf8_lossy(unsafe { state.ggml.name(tensor) }).into_owned();
        Err(Error::Panic { node, reason: message(panic.as_ref()) })
    });
    if let Err(error) = visited {
        // Returning false would stop one part of the graph only; the decode runs on and is discarded.
        state.error.get_or_insert(error);
    }
    !state.task.stop
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task { n_tokens: 4, n_outputs: 2, n_head: 2, ..Task::default() }
    }

    #[test]
    fn rows_of_whole_and_of_trimmed_nodes() {
        let task = task();
        let row = BatchRow { token: 3, output: Some(1) };
        let whole = NodeShape { node: "l_out-0", n_values: 40, task: &task };
        let trimmed = NodeShape { node: "l_out-1", n_values: 20, task: &task };
        assert_eq!(whole.row(10, row), Ok(30));
        assert_eq!(trimmed.row(10, row), Ok(10));
        let silent = BatchRow { token: 0, output: None };
        assert!(matches!(trimmed.row(10, silent), Err(Error::NodeShape { n_values: 20, .. })));
        assert!(matches!(whole.row(9, row), Err(Error::NodeShape { width: 9, .. })));
    }

    #[test]
    fn attention_outside_the_own_cells_is_an_error() {
        assert_eq!(check_cells("kq_soft_max-0", &[0.25, 0.75, 0.0], 2), Ok(()));
        let stray = check_cells("kq_soft_max-0", &[0.2, 0.7, 0.1], 2);
        assert!(matches!(stray, Err(Error::CellOrder { .. })));
    }

    #[test]
    fn cells_must_divide_evenly() {
        let task = task();
        let shape = NodeShape { node: "kq_soft_max-0", n_values: 2 * 4 * 8, task: &task };
        assert_eq!(shape.n_cells(8), Ok(8));
        assert!(shape.n_cells(9).is_err());
    }
}
