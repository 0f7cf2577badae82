//! The parts of scoring outside of llama.cpp, beside plain code that does the same, in one run:
//!
//! `cargo bench -p misfired-llama`

use std::hint::black_box;
use std::num::NonZero;
use std::time::Instant;

use misfired_llama::logprob::{Level, Row, pass, read};
use misfired_llama::{Limits, Packing, Plan, Ragged};

/// Numbers that look random; the same every time.
fn numbers() -> impl Iterator<Item = u32> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32
    })
}

/// The least seconds of some calls.
fn seconds(n_calls: usize, mut work: impl FnMut()) -> f64 {
    let times = (0..n_calls).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Log-sum-exp and top token with the exponential of the standard library.
fn plain_position(logits: &[f32]) -> (usize, f64) {
    let top = (0..logits.len()).fold(0, |top, i| if logits[i] > logits[top] { i } else { top });
    let max = f64::from(logits[top]);
    let mut sums = [0.0_f64; 4];
    for chunk in logits.as_chunks::<4>().0 {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += (f64::from(x) - max).exp();
        }
    }
    (top, max + sums.iter().sum::<f64>().ln())
}

fn second_largest(logits: &[f32], top: usize) -> f32 {
    let others = logits.iter().enumerate().filter(|&(id, _)| id != top);
    others.map(|(_, &x)| x).fold(f32::NEG_INFINITY, f32::max)
}

fn rows_of_logits() {
    let bell = |numbers: &mut dyn Iterator<Item = u32>| {
        numbers.take(4).map(|n| (n as f32 / 2_f32.powi(31) - 0.5) * 6.0).sum::<f32>()
    };
    let mut numbers = numbers();
    let row: Vec<f32> = (0..128_256).map(|_| bell(&mut numbers)).collect();
    let plain = seconds(100, || {
        black_box(plain_position(black_box(&row)));
    });
    let top = plain_position(&row).0;
    let second = seconds(100, || {
        black_box(second_largest(black_box(&row), top));
    });
    println!("a row of 128,256 logits, microseconds");
    println!("  plain                     {:6.0}", plain * 1e6);
    println!("  plain, and the second     {:6.0}", (plain + second) * 1e6);
    for level in Level::ALL.into_iter().filter(|level| level.is_there()) {
        let own = seconds(100, || {
            black_box(pass(black_box(&row), level));
        });
        let (times, both) = (plain / own, (plain + second) / own);
        println!(
            "  one pass, {level:9?}       {:6.0}   {times:.2} and {both:.2} times faster",
            own * 1e6
        );
    }
    let copied = seconds(100, || drop(black_box(black_box(&row).clone())));
    println!("  a copy of the row         {:6.0}", copied * 1e6);
    let apart = (Row::new(&row).position(&[0]).logp[0]
        - (f64::from(row[0]) - plain_position(&row).1))
        .abs();
    println!("  apart by                  {apart:.1e}");
    let rows = vec![row.as_slice(); 64];
    let most = std::thread::available_parallelism().map_or(1, NonZero::get);
    let on = |n_threads| seconds(20, || drop(black_box(read(black_box(&rows), n_threads))));
    let one = on(1);
    for n_threads in std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n <= most) {
        let own = on(n_threads);
        println!(
            "  64 rows, {n_threads:2} threads        {:6.0}   {:.2} times faster than on one",
            own * 1e6,
            one / own
        );
    }
}

/// Sort as a comparison of whole sequences does, and count what neighbours share.
fn plain_order(rows: &[&[i32]]) -> usize {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| rows[a].cmp(rows[b]).then(a.cmp(&b)));
    let agree = |a: &[i32], b: &[i32]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
    order.windows(2).map(|pair| agree(rows[pair[0]], rows[pair[1]])).sum()
}

fn plans(n_prompts: usize, n_prefix: usize, n_prefixes: usize) {
    let mut numbers = numbers();
    let mut ids =
        |n: usize| numbers.by_ref().take(n).map(|n| (n % 128_000) as i32).collect::<Vec<_>>();
    let prefixes: Vec<Vec<i32>> = (0..n_prefixes).map(|_| ids(n_prefix)).collect();
    let mut values = Vec::with_capacity(n_prompts * (n_prefix + 60));
    for index in 0..n_prompts {
        values.extend(&prefixes[index % n_prefixes]);
        values.extend(ids(60));
    }
    let offsets: Vec<usize> = (0..=n_prompts).map(|i| i * (n_prefix + 60)).collect();
    let rows: Vec<&[i32]> = offsets.windows(2).map(|pair| &values[pair[0]..pair[1]]).collect();
    let compared = seconds(2, || {
        black_box(plain_order(&rows));
    });
    let limits = Limits {
        n_batch: 512,
        n_seq_max: 64,
        n_longest: 4096,
        n_vocab: 128_256,
        packing: Packing::Packed,
        n_block: 4096,
        seed: 0,
    };
    let mut given = Some(Ragged::new("tokens", values, offsets).expect("offsets that fit"));
    let own = seconds(1, || {
        let plan = Plan::new(given.take().expect("one plan"), limits).expect("prompts that fit");
        black_box(plan.n_blocks());
    });
    println!(
        "  {n_prompts} prompts of {n_prefix} + 60 tokens, {n_prefixes} prefixes: sorted and compared whole \
         {compared:.2} s, planned {own:.3} s: {:.1} times faster",
        compared / own
    );
}

fn main() {
    rows_of_logits();
    println!("planning, the check of the ids and the blocks included");
    plans(100_000, 2000, 1);
    plans(100_000, 1000, 8);
    plans(100_000, 40, 1);
}
