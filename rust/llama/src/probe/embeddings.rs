//! Token embeddings, read from the node that looks them up.

use std::collections::HashMap;
use std::sync::Arc;

use super::callback::{BatchRow, Read, Seen, Task, Watcher, Work};
use super::prober::watch;
use crate::error::{Error, Result};
use crate::handle::Context;
use crate::plan::{Token, check_ids};
use crate::turn::Turn;

const NODE: &str = "embd";

/// Embeddings of these tokens as the model reads them, row after row.
///
/// llama.cpp looks the rows up and dequantises them; the rest of the graph is not computed. The cache of
/// the context is taken.
///
/// # Errors
/// [`Error::Unwatched`], [`Error::TokenOutOfRange`]; [`Error::NodeMissing`] if the model looks nothing up.
pub fn embeddings(context: &Arc<Context>, tokens: &[i32]) -> Result<Vec<f32>> {
    let watcher = context.watcher().ok_or(Error::Unwatched)?;
    let capacity = context.capacity();
    check_ids(0, tokens, capacity.n_vocab)?;
    let mut turn = Turn::taken(context);
    let mut rows = vec![];
    for ids in tokens.chunks(capacity.n_batch) {
        let sizes = decode(&mut turn, watcher, ids, 0, Work::default())?.sizes;
        let width = sizes[NODE] / ids.len();
        let row = |token| BatchRow { token, output: None };
        let read = |token| Read::Row { row: row(token), out: token * width };
        let work = Work { width, writes: vec![], reads: (0..ids.len()).map(read).collect() };
        rows.extend(decode(&mut turn, watcher, ids, ids.len() * width, work)?.values);
    }
    Ok(rows)
}

/// Decode a batch up to the node, for its size where nothing is read.
fn decode(
    turn: &mut Turn<'_>,
    watcher: &Watcher,
    ids: &[i32],
    n_out: usize,
    work: Work,
) -> Result<Seen> {
    turn.clear(true);
    let token = |(pos, &id)| Token { id, pos, sequences: vec![0] };
    let tokens: Vec<Token> = ids.iter().enumerate().map(token).collect();
    let task = Task {
        n_tokens: ids.len(),
        n_outputs: 1,
        measure: n_out == 0,
        stop: true,
        work: HashMap::from([(NODE.to_owned(), work)]),
        ..Task::default()
    };
    watch(turn, watcher, &tokens, &[ids.len() - 1], task, n_out).map(|(seen, _)| seen)
}
