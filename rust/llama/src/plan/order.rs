//! Sequences in order, with what neighbours share.
//!
//! A sort that compares whole sequences reads their long common prefixes in every comparison. This one
//! reads each token once: it finds the prefix that a group of sequences has in common, sorts the group by
//! the eight bytes behind it, and does the same with each part whose eight bytes are equal (multikey
//! quicksort with cached keys; Bentley and Sedgewick 1997, section 4). So prompts may share one header, or
//! have several long ones, as with primings and demonstrations.

use std::ops::Range;

use super::Ragged;

/// Tokens of a key.
const KEY: usize = 2;

/// Indices of all sequences, sorted by their tokens and then by index; and for each but the first the
/// number of tokens that it shares with the one before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) indices: Vec<usize>,
    pub(super) shared: Vec<usize>,
}

impl Order {
    /// Sort sequences. Negative ids count as one id, the least: no vocabulary has them, and where one is
    /// said to be shared, so is one in the row before.
    pub(super) fn new(sequences: &Ragged) -> Self {
        let mut keyed: Vec<(u64, usize)> = (0..sequences.len()).map(|index| (0, index)).collect();
        let mut shared = vec![0; keyed.len()];
        // Groups whose sequences agree in the first `depth` tokens.
        let mut groups = vec![(0..keyed.len(), 0)];
        while let Some((group, depth)) = groups.pop() {
            if group.len() < 2 {
                continue;
            }
            let part = &mut keyed[group.clone()];
            let depth = common_prefix(sequences, part, depth);
            for (key, index) in part.iter_mut() {
                *key = key_at(sequences.row(*index), depth);
            }
            part.sort_unstable();
            split(sequences, part, group.start, depth, &mut shared, &mut groups);
        }
        Self { indices: keyed.into_iter().map(|(_, index)| index).collect(), shared }
    }
}

/// Write down what neighbours with different keys share, and add the runs of equal keys to the groups.
fn split(
    sequences: &Ragged,
    part: &[(u64, usize)],
    start: usize,
    depth: usize,
    shared: &mut [usize],
    groups: &mut Vec<(Range<usize>, usize)>,
) {
    let mut first = 0;
    for run in part.chunk_by(|a, b| a.0 == b.0) {
        if first > 0 {
            let same_token = part[first - 1].0 >> 32 == run[0].0 >> 32;
            shared[start + first] = depth + usize::from(same_token);
        }
        let end = first + run.len();
        let len = sequences.row(run[0].1).len();
        if len < depth + KEY {
            // The key holds the end: all of the run are equal.
            shared[start + first + 1..start + end].fill(len);
        } else {
            groups.push((start + first..start + end, depth + KEY));
        }
        first = end;
    }
}

/// The next two tokens, in the order of slices: an end comes first, then a negative id.
fn key_at(row: &[i32], depth: usize) -> u64 {
    let token =
        |at: usize| row.get(at).map_or(0, |&id| u64::from(id.max(-1).wrapping_add(2) as u32));
    token(depth) << 32 | token(depth + 1)
}

/// Tokens that all sequences of a group share, at least `depth`.
fn common_prefix(sequences: &Ragged, group: &[(u64, usize)], depth: usize) -> usize {
    let first = sequences.row(group[0].1);
    group[1..].iter().fold(first.len(), |most, &(_, index)| {
        let row = sequences.row(index);
        let end = most.min(row.len());
        depth + agreeing(&first[depth..end], &row[depth..end])
    })
}

/// Number of leading tokens in which two slices of one length agree.
fn agreeing(a: &[i32], b: &[i32]) -> usize {
    // Whole blocks are compared by vectors.
    const BLOCK: usize = 32;
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let start = BLOCK * blocks.take_while(|(x, y)| x == y).count();
    start + a[start..].iter().zip(&b[start..]).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::ragged;
    use super::*;

    /// The plain twin: whole sequences compared, and counted out.
    fn plain(rows: &[Vec<i32>]) -> Order {
        let mut indices: Vec<usize> = (0..rows.len()).collect();
        indices.sort_by(|&a, &b| rows[a].cmp(&rows[b]).then(a.cmp(&b)));
        let agree = |a: &[i32], b: &[i32]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let pairs = indices.windows(2).map(|pair| agree(&rows[pair[0]], &rows[pair[1]]));
        let shared = rows.first().map(|_| 0).into_iter().chain(pairs).collect();
        Order { indices, shared }
    }

    /// Rows with several long prefixes, equal rows, and rows that others begin with.
    fn rows() -> impl Strategy<Value = Vec<Vec<i32>>> {
        let tail = prop::collection::vec(prop_oneof![0..3, 90_000..90_002], 0..7);
        let row = (0_usize..4, 0_usize..70, tail).prop_map(|(kind, n, tail)| {
            let head = (0..n as i32).map(move |i| if i < 40 { i } else { i * (kind as i32 + 1) });
            head.chain(tail).collect()
        });
        prop::collection::vec(row, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 500 }))]

        #[test]
        fn the_order_is_that_of_whole_sequences(rows in rows()) {
            prop_assert_eq!(Order::new(&ragged(&rows)), plain(&rows));
        }
    }

    #[test]
    fn the_largest_id_and_the_end_keep_their_order() {
        let rows = [vec![1, i32::MAX], vec![1], vec![1, 0], vec![], vec![1, i32::MAX, 0], vec![1]];
        assert_eq!(Order::new(&ragged(&rows)), plain(&rows));
    }
}
