use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn limits(n_batch: usize, n_seq_max: usize) -> Limits {
    Limits {
        n_batch,
        n_seq_max,
        n_longest: 1000,
        n_vocab: 1000,
        packing: Packing::Packed,
        n_block: 20,
        seed: 0,
    }
}

pub(crate) fn ragged(rows: &[Vec<i32>]) -> Ragged {
    let mut offsets = vec![0];
    offsets.extend(rows.iter().scan(0, |n, row| {
        *n += row.len();
        Some(*n)
    }));
    Ragged::new("tokens", rows.concat(), offsets).unwrap()
}

/// A cell of the cache: what it holds, whose it is, and what its token attended to.
#[derive(Clone)]
struct Cell {
    id: i32,
    pos: usize,
    sequences: BTreeSet<i32>,
    attended: Vec<i32>,
    kernel: Kernel,
}

/// Which of llama.cpp's kernels a row of a batch goes through, where that can differ: see `solo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Few,
    Group,
    Rest,
}

fn kernel(place: usize, n_tokens: usize) -> Kernel {
    match n_tokens {
        n if n < LEAST => Kernel::Few,
        n if place < n - n % 4 => Kernel::Group,
        _ => Kernel::Rest,
    }
}

/// A cache that takes what llama.cpp's takes, and refuses what that refuses.
#[derive(Clone, Default)]
struct Cache(Vec<Cell>);

impl Cache {
    fn truncate(&mut self, len: usize) {
        self.0.retain(|cell| !cell.sequences.contains(&HEADER) || cell.pos < len);
    }

    fn remove(&mut self, sequence: i32) {
        for cell in &mut self.0 {
            cell.sequences.remove(&sequence);
        }
        self.0.retain(|cell| !cell.sequences.is_empty());
    }

    fn copy(&mut self, copy: Copy) {
        assert!(self.of(copy.to).is_empty(), "a sequence is handed out while in use");
        for cell in &mut self.0 {
            if cell.sequences.contains(&copy.from) && cell.pos < copy.len {
                cell.sequences.insert(copy.to);
            }
        }
        assert_eq!(self.of(copy.to).len(), copy.len, "what is handed on is there");
    }

    /// Cells of a sequence by position.
    fn of(&self, sequence: i32) -> Vec<&Cell> {
        let mut cells: Vec<_> =
            self.0.iter().filter(|cell| cell.sequences.contains(&sequence)).collect();
        cells.sort_by_key(|cell| cell.pos);
        cells
    }

    fn decode(&mut self, tokens: &[Token], n_seq_max: usize) {
        for token in tokens {
            assert!(token.sequences.iter().all(|&s| (0..n_seq_max as i32).contains(&s)));
            for &sequence in &token.sequences {
                // A token that two sequences share must find the same cells in both.
                let ids: Vec<i32> = self.of(sequence).iter().map(|cell| cell.id).collect();
                let first = self.of(token.sequences[0]);
                assert_eq!(ids, first.iter().map(|cell| cell.id).collect::<Vec<_>>());
                assert_eq!(ids.len(), token.pos, "positions follow one another");
            }
            self.0.push(Cell {
                id: token.id,
                pos: token.pos,
                sequences: token.sequences.iter().copied().collect(),
                attended: vec![],
                kernel: Kernel::Few,
            });
        }
        let start = self.0.len() - tokens.len();
        for (place, token) in tokens.iter().enumerate() {
            // As in llama.cpp's mask: a token sees what its first sequence sees, up to its position.
            let seen = self.of(token.sequences[0]);
            let attended = seen.iter().map(|cell| cell.id).take(token.pos + 1).collect();
            self.0[start + place].attended = attended;
            self.0[start + place].kernel = kernel(place, tokens.len());
        }
    }
}

/// What came of carrying a plan out.
struct Carried {
    n_decoded: usize,
    /// For each sequence the kernel of each of its tokens.
    kernels: Vec<Vec<Kernel>>,
}

/// Carry a plan out on the model cache.
fn simulate(rows: &[Vec<i32>], limits: Limits) -> Carried {
    let plan = Plan::new(ragged(rows), limits).unwrap();
    let longest = rows.iter().map(Vec::len).max().unwrap();
    let mut answered = vec![0; rows.len()];
    let mut kernels = vec![vec![]; rows.len()];
    let mut n_decoded = plan.header().len();
    let mut header = Cache::default();
    for batch in plan.header_batches() {
        assert!(batch.len() <= limits.n_batch);
        header.decode(&batch, limits.n_seq_max);
    }
    assert_eq!(header.0.len(), plan.header().len());
    for block in 0..plan.n_blocks() {
        let mut cache = header.clone();
        let mut walk = plan.walk(block).unwrap();
        while let Some(step) = walk.step(&plan) {
            assert!((1..=limits.n_batch).contains(&step.tokens.len()));
            step.truncate.iter().for_each(|&len| cache.truncate(len));
            step.removes.iter().for_each(|&sequence| cache.remove(sequence));
            step.copies.iter().for_each(|&copy| cache.copy(copy));
            cache.decode(&step.tokens, limits.n_seq_max);
            n_decoded += step.tokens.len();
            assert!(cache.0.len() <= longest + limits.n_batch, "more cells than the context holds");
            for (place, leaf) in step.outputs {
                let token = &step.tokens[place];
                let cells = cache.of(token.sequences[0]);
                for &index in plan.leaf_sequences(leaf) {
                    answered[index] += 1;
                    kernels[index] = cells.iter().map(|cell| cell.kernel).collect();
                    assert_eq!(token.pos + 1, rows[index].len(), "the last token is read");
                    assert_eq!(cells.len(), rows[index].len());
                    for cell in &cells {
                        assert_eq!(cell.attended, rows[index][..=cell.pos]);
                    }
                    assert!(plan.block_sequences(block).unwrap().contains(&index));
                }
            }
        }
    }
    assert!(answered.iter().all(|&n| n == 1), "each sequence is answered once: {answered:?}");
    Carried { n_decoded, kernels }
}

#[test]
fn a_shared_prefix_is_decoded_once() {
    let rows = vec![vec![1, 2, 3, 4], vec![1, 2, 3, 5], vec![1, 2, 6], vec![1, 2, 3, 4]];
    assert_eq!(simulate(&rows, limits(8, 8)).n_decoded, 6);
}

#[test]
fn without_sharing_every_token_is_decoded_in_a_batch_of_its_own_sequence() {
    let rows = vec![vec![1, 2, 3], vec![1, 2, 4]];
    let fresh = Limits { packing: Packing::Fresh, ..limits(8, 8) };
    assert_eq!(simulate(&rows, fresh).n_decoded, 6);
}

#[test]
fn a_solo_batch_never_holds_a_few_tokens_of_a_longer_sequence() {
    let rows: Vec<Vec<i32>> = (8..60).map(|n| (0..n).collect()).collect();
    let limits = Limits { packing: Packing::Solo, ..limits(18, 3) };
    let plan = Plan::new(ragged(&rows), limits).unwrap();
    for block in 0..plan.n_blocks() {
        let mut walk = plan.walk(block).unwrap();
        while let Some(step) = walk.step(&plan) {
            assert!((LEAST..=18).contains(&step.tokens.len()));
            assert_eq!(step.tokens[0].pos % 4, 0);
            assert!(step.outputs.len() <= 1);
        }
    }
}

/// Tokens and rows of logits of each batch, and the leaves in the order in which they are read.
fn stable_shapes(rows: &[Vec<i32>], seed: u64) -> (Vec<(usize, usize)>, Vec<usize>) {
    let limits = Limits { packing: Packing::Stable, seed, n_block: 1000, ..limits(128, 20) };
    let plan = Plan::new(ragged(rows), limits).unwrap();
    let mut walk = plan.walk(0).unwrap();
    let (mut shapes, mut order) = (vec![], vec![]);
    while let Some(step) = walk.step(&plan) {
        let read: BTreeSet<usize> = step.outputs.iter().map(|&(row, _)| row).collect();
        assert!(step.idle.iter().all(|row| !read.contains(row)));
        shapes.push((step.tokens.len(), read.len() + step.idle.len()));
        order.extend(step.outputs.iter().map(|&(_, leaf)| plan.leaf_sequences(leaf)[0]));
    }
    (shapes, order)
}

#[test]
fn stable_batches_have_one_shape_and_neighbours_drawn_by_seed() {
    let rows: Vec<Vec<i32>> = (0..40).map(|n| [vec![5; 10], vec![n; 30]].concat()).collect();
    let (shapes, order) = stable_shapes(&rows, 1);
    assert!(shapes.len() > 5);
    assert!(shapes.iter().all(|&(n, rows)| n == 128 && rows % 2 == 0 && rows > 0), "{shapes:?}");
    assert_eq!(stable_shapes(&rows, 1), (shapes, order.clone()));
    assert_ne!(stable_shapes(&rows, 2).1, order);
    assert_ne!(order, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_stable_block_ends_where_its_last_batch_is_nearly_full() {
    let rows: Vec<Vec<i32>> = (0..90).map(|n| [vec![5; 10], vec![n; 30]].concat()).collect();
    let limits = Limits {
        packing: Packing::Stable,
        seed: 1,
        n_block: 128,
        n_longest: 40,
        ..limits(128, 20)
    };
    let plan = Plan::new(ragged(&rows), limits).unwrap();
    assert!(plan.n_blocks() > 5);
    for block in 0..plan.n_blocks() - 1 {
        let mut walk = plan.walk(block).unwrap();
        let filled_up = std::iter::from_fn(|| walk.step(&plan))
            .flat_map(|step| step.tokens)
            .filter(|token| token.sequences == [19])
            .count();
        assert!(filled_up < 30, "{filled_up} of a row's 30 tokens");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]

    /// Shared tokens are looked at once; the first bad id is named all the same.
    #[test]
    fn the_first_id_outside_the_vocabulary_is_named(
        rows in prop::collection::vec(prop::collection::vec(-3..1004, 1..6), 1..12),
        header in prop::collection::vec(0..3, 0..40),
        is_stable: bool,
    ) {
        let rows: Vec<Vec<i32>> = rows.iter().map(|row| [&header[..], row].concat()).collect();
        let packing = if is_stable { Packing::Stable } else { Packing::Packed };
        let made = Plan::new(ragged(&rows), Limits { packing, n_seq_max: 4, ..limits(4, 4) });
        let bad = rows.iter().enumerate().find_map(|(index, row)| {
            let token = row.iter().copied().find(|id| !(0..1000).contains(id))?;
            Some(Error::TokenOutOfRange { index, token, n_vocab: 1000 })
        });
        prop_assert_eq!(made.err(), bad);
    }
}

#[test]
fn bad_input_is_named() {
    let make = |rows: &[Vec<i32>], limits| Plan::new(ragged(rows), limits).unwrap_err();
    assert_eq!(make(&[vec![1], vec![]], limits(4, 4)), Error::EmptySequence { index: 1 });
    let short = Limits { n_longest: 2, ..limits(4, 4) };
    assert_eq!(make(&[vec![1, 2, 3]], short), Error::TooLong { index: 0, n_tokens: 3, limit: 2 });
    assert!(matches!(make(&[vec![1, -1]], limits(4, 4)), Error::TokenOutOfRange { token: -1, .. }));
    assert!(matches!(make(&[vec![1000]], limits(4, 4)), Error::TokenOutOfRange { .. }));
    let few = Error::TooSmall { name: "n_seq_max", value: 2, least: 3 };
    assert_eq!(make(&[vec![1]], limits(4, 2)), few);
    assert!(Ragged::new("tokens", vec![1, 2], vec![0, 3]).is_err());
    assert!(Ragged::new("tokens", vec![1, 2], vec![]).is_err());
    assert!(Ragged::new("tokens", vec![1, 2], vec![0, 2, 1, 2]).is_err());
}

#[test]
fn no_sequence_no_block() {
    let plan = Plan::new(ragged(&[]), limits(4, 4)).unwrap();
    assert_eq!((plan.n_blocks(), plan.n_distinct_tokens(), plan.header().len()), (0, 0, 0));
}

/// Rows that share prefixes of several lengths; short and few under Miri, which is slow.
fn families() -> impl Strategy<Value = Vec<Vec<i32>>> {
    let n = |many| if cfg!(miri) { many / 4 } else { many };
    let row = prop::collection::vec(0..3_i32, 1..12);
    let stem = prop::collection::vec(0..9_i32, 0..n(40));
    let family = (stem, prop::collection::vec(row, 1..n(12))).prop_map(|(stem, rows)| {
        rows.into_iter().map(|row| [stem.clone(), row].concat()).collect::<Vec<_>>()
    });
    let header = prop::collection::vec(0..9_i32, 0..n(30));
    (header, prop::collection::vec(family, 1..5)).prop_map(|(header, families)| {
        families.concat().into_iter().map(|row| [header.clone(), row].concat()).collect()
    })
}

proptest! {
    #![proptest_config(if cfg!(miri) { ProptestConfig::with_cases(2) } else { ProptestConfig::default() })]

    #[test]
    fn each_output_sees_its_own_sequence_and_nothing_else(
        rows in families(),
        n_batch in 1..24_usize,
        n_seq_max in 4..9_usize,
        n_block in 1..90_usize,
        packing in prop::sample::select(vec![
            Packing::Packed,
            Packing::Stable,
            Packing::Solo,
            Packing::Fresh,
        ]),
        seed in any::<u64>(),
    ) {
        let limits = Limits { packing, n_block, seed, ..limits(n_batch, n_seq_max) };
        let n_decoded = simulate(&rows, limits).n_decoded;
        let prefixes: BTreeSet<_> =
            rows.iter().flat_map(|row| (1..=row.len()).map(|n| row[..n].to_vec())).collect();
        let plan = Plan::new(ragged(&rows), limits).unwrap();
        if packing != Packing::Fresh {
            prop_assert_eq!(plan.n_distinct_tokens(), prefixes.len());
        }
        if packing == Packing::Packed && plan.n_blocks() == 1 {
            prop_assert_eq!(n_decoded, prefixes.len());
        }
        if packing == Packing::Fresh {
            let distinct: BTreeSet<_> = rows.iter().collect();
            prop_assert_eq!(n_decoded, distinct.iter().map(|row| row.len()).sum::<usize>());
        }
    }

    #[test]
    fn a_solo_sequence_goes_through_the_kernels_that_it_goes_through_alone(
        rows in families(),
        n_batch in 16..40_usize,
        n_block in 1..90_usize,
    ) {
        let limits = Limits { packing: Packing::Solo, n_block, ..limits(n_batch, 3) };
        let together = simulate(&rows, limits).kernels;
        for (row, kernels) in rows.iter().zip(together) {
            let alone = simulate(std::slice::from_ref(row), limits).kernels.remove(0);
            prop_assert_eq!(kernels, alone);
        }
    }
}
