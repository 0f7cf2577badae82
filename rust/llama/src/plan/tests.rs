use std::collections::{BTreeMap, BTreeSet};

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
    }
}

fn ragged(rows: &[Vec<i32>]) -> Ragged {
    let mut offsets = vec![0];
    offsets.extend(rows.iter().scan(0, |n, row| {
        *n += row.len();
        Some(*n)
    }));
    Ragged::new("tokens", rows.concat(), offsets).unwrap()
}

/// A cache that, like llama.cpp's, holds cells of (token, position) tagged with sequences.
#[derive(Default)]
struct Cache(Vec<(i32, usize, BTreeSet<i32>)>);

impl Cache {
    fn remove(&mut self, sequence: i32) {
        for cell in &mut self.0 {
            cell.2.remove(&sequence);
        }
        self.0.retain(|cell| !cell.2.is_empty());
    }

    fn sees(&self, sequence: i32) -> Vec<i32> {
        let cells: BTreeMap<usize, i32> =
            self.0.iter().filter(|c| c.2.contains(&sequence)).map(|c| (c.1, c.0)).collect();
        assert_eq!(cells.len(), self.0.iter().filter(|c| c.2.contains(&sequence)).count());
        cells.into_values().collect()
    }
}

/// Carry a plan out on the model cache; returns how many tokens were decoded.
fn simulate(rows: &[Vec<i32>], limits: Limits) -> usize {
    let plan = Plan::new(ragged(rows), limits).unwrap();
    let mut answered = vec![0; rows.len()];
    let mut n_decoded = plan.header().len();
    let header: Vec<_> = plan
        .header()
        .iter()
        .enumerate()
        .map(|(p, &id)| (id, p, BTreeSet::from([HEADER])))
        .collect();
    for block in 0..plan.n_blocks() {
        let mut cache = Cache(header.clone());
        let mut walk = plan.walk(block).unwrap();
        while let Some(step) = walk.step(&plan) {
            assert!(step.tokens.len() <= limits.n_batch);
            if let Some(len) = step.truncate {
                cache.0.retain(|cell| !cell.2.contains(&HEADER) || cell.1 < len);
            }
            step.removes.iter().for_each(|&sequence| cache.remove(sequence));
            for copy in &step.copies {
                assert!(cache.sees(copy.to).is_empty(), "a sequence is handed out while in use");
                for cell in &mut cache.0 {
                    if cell.2.contains(&copy.from) && cell.1 < copy.len {
                        cell.2.insert(copy.to);
                    }
                }
            }
            for token in &step.tokens {
                cache.0.push((token.id, token.pos, token.sequences.iter().copied().collect()));
            }
            n_decoded += step.tokens.len();
            let longest = rows.iter().map(Vec::len).max().unwrap();
            assert!(cache.0.len() <= longest + limits.n_batch, "more cells than the context holds");
            for (place, leaf) in step.outputs {
                let token = &step.tokens[place];
                for &index in plan.leaf_sequences(leaf) {
                    answered[index] += 1;
                    let own = token.sequences[0];
                    assert_eq!(cache.sees(own)[..=token.pos], rows[index][..]);
                    assert!(plan.block_sequences(block).unwrap().contains(&index));
                }
            }
        }
    }
    assert!(answered.iter().all(|&n| n == 1), "each sequence is answered once: {answered:?}");
    n_decoded
}

#[test]
fn a_shared_prefix_is_decoded_once() {
    let rows = vec![vec![1, 2, 3, 4], vec![1, 2, 3, 5], vec![1, 2, 6], vec![1, 2, 3, 4]];
    assert_eq!(simulate(&rows, limits(8, 8)), 6);
}

#[test]
fn without_sharing_every_token_is_decoded_in_a_batch_of_its_own_sequence() {
    let rows = vec![vec![1, 2, 3], vec![1, 2, 4]];
    assert_eq!(simulate(&rows, Limits { packing: Packing::Fresh, ..limits(8, 8) }), 6);
}

#[test]
fn a_solo_batch_never_holds_a_single_token_of_a_longer_sequence() {
    let rows: Vec<Vec<i32>> = (2..40).map(|n| (0..n).collect()).collect();
    let limits = Limits { packing: Packing::Solo, ..limits(12, 3) };
    let plan = Plan::new(ragged(&rows), limits).unwrap();
    for block in 0..plan.n_blocks() {
        let mut walk = plan.walk(block).unwrap();
        while let Some(step) = walk.step(&plan) {
            assert!((2..=12).contains(&step.tokens.len()));
            assert_eq!(step.tokens[0].pos % 4, 0);
            assert!(step.outputs.len() <= 1);
        }
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

proptest! {
    #[test]
    fn each_output_sees_its_own_sequence_and_nothing_else(
        rows in prop::collection::vec(prop::collection::vec(0..3_i32, 1..12), 1..40),
        n_batch in 1..20_usize,
        n_seq_max in 3..9_usize,
        n_block in 1..60_usize,
        packing in prop::sample::select(vec![Packing::Packed, Packing::Solo, Packing::Fresh]),
    ) {
        let limits = Limits { packing, n_block, ..limits(n_batch, n_seq_max) };
        let n_decoded = simulate(&rows, limits);
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
}
