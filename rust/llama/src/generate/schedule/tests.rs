use proptest::prelude::*;

use super::*;
use crate::plan::{HEADER, Limits, Packing, Ragged};

fn plan(prompts: &[Vec<i32>], n_batch: usize) -> Plan {
    let offsets = std::iter::once(0)
        .chain(prompts.iter().scan(0, |end, prompt| {
            *end += prompt.len();
            Some(*end)
        }))
        .collect();
    let limits = Limits {
        n_batch,
        n_seq_max: 20,
        n_longest: 100,
        n_vocab: 1000,
        packing: Packing::Packed,
        n_block: 30,
        seed: 0,
    };
    Plan::new(Ragged::new("prompts", prompts.concat(), offsets).unwrap(), limits).unwrap()
}

/// A model whose next token depends on everything before it, and on nothing else.
fn next(history: &[i32]) -> i32 {
    history.iter().fold(7, |state, &id| (state * 31 + id + 1) % 997) % 10
}

/// Greedy text by the definition: until token 0 or `n_generate` tokens.
fn alone(prompt: &[i32], n_generate: usize) -> Vec<i32> {
    let mut history = prompt.to_vec();
    while history.len() < prompt.len() + n_generate {
        history.push(next(&history));
        if history.last() == Some(&0) {
            break;
        }
    }
    history.split_off(prompt.len())
}

/// Run a schedule on a pretended cache; returns each leaf's text.
fn simulate(plan: &Plan, n_places: usize, n_generate: usize, n_batch: usize) -> Vec<Vec<i32>> {
    let mut texts = vec![vec![]; plan.n_leaves()];
    let mut schedule = Schedule::new(n_places);
    for block in 0..plan.n_blocks() {
        let mut cache = vec![vec![]; n_places + 1];
        cache[HEADER as usize] = plan.header().to_vec();
        schedule.start(plan.block(block).unwrap());
        loop {
            for sequence in schedule.admit(plan.header().len()) {
                cache[sequence as usize] = plan.header().to_vec();
            }
            let batch = schedule.batch(plan, n_batch);
            if batch.tokens.is_empty() {
                break;
            }
            assert!(batch.tokens.len() <= n_batch);
            for token in &batch.tokens {
                let sequence = &mut cache[token.sequences[0] as usize];
                assert_eq!(sequence.len(), token.pos, "positions follow one another");
                sequence.push(token.id);
            }
            for &(row, index) in &batch.outputs {
                let history = &cache[batch.tokens[row].sequences[0] as usize];
                let token = next(history);
                schedule.place(index).choose(Choice { token, logp: -1.0, gap: 1.0 });
                let leaf = schedule.place(index).leaf;
                texts[leaf].push(token);
                if token == 0 || texts[leaf].len() == n_generate {
                    assert_eq!(schedule.release(index).n_chosen, texts[leaf].len());
                }
            }
        }
    }
    texts
}

proptest! {
    #[test]
    fn every_prompt_gets_the_text_that_it_gets_alone(
        prompts in prop::collection::vec(prop::collection::vec(0..10_i32, 1..12), 0..30),
        header in prop::collection::vec(0..10_i32, 0..5),
        n_places in 1..9_usize,
        n_generate in 1..8_usize,
        more in 0..12_usize,
    ) {
        let prompts: Vec<Vec<i32>> =
            prompts.into_iter().map(|prompt| [header.clone(), prompt].concat()).collect();
        // As the generator sees to it, a batch holds at least a token of each text.
        let n_batch = n_places + more;
        let plan = plan(&prompts, n_batch);
        let texts = simulate(&plan, n_places, n_generate, n_batch);
        for (leaf, text) in texts.iter().enumerate() {
            prop_assert_eq!(text, &alone(plan.tokens(leaf), n_generate));
        }
    }
}

#[test]
fn a_place_is_taken_over_as_soon_as_its_text_ends() {
    let plan = plan(&[vec![1], vec![2], vec![3]], 4);
    let mut schedule = Schedule::new(2);
    schedule.start(0..3);
    assert_eq!(schedule.admit(0), [1, 2]);
    assert_eq!(schedule.batch(&plan, 4).outputs, [(0, 0), (1, 1)]);
    schedule.place(0).choose(Choice { token: 5, logp: -0.5, gap: 0.25 });
    assert_eq!(schedule.release(1).leaf, 1);
    assert_eq!(schedule.admit(0), [2]);
    let batch = schedule.batch(&plan, 4);
    let sent: Vec<_> = batch.tokens.iter().map(|t| (t.id, t.pos, t.sequences[0])).collect();
    assert_eq!(sent, [(5, 1, 1), (3, 0, 2)]);
}
