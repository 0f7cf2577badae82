use proptest::prelude::*;

use super::*;

fn position(logits: &[f32], wanted: &[i32]) -> Position {
    Row::new(logits).position(wanted)
}

fn choose(logits: &[f32]) -> Choice {
    Row::new(logits).choice()
}

/// The plain twin: the exponential of the standard library, one value after another.
fn plain(logits: &[f32]) -> (usize, f64) {
    let top = (0..logits.len()).fold(0, |top, i| if logits[i] > logits[top] { i } else { top });
    let max = f64::from(logits[top]);
    (top, max + logits.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln())
}

#[test]
fn a_hand_made_row() {
    // exp(x) = 1, 2, 5: probabilities 1/8, 2/8, 5/8.
    let logits = [0.0, 2.0_f32.ln(), 5.0_f32.ln()];
    let read = position(&logits, &[2, 0]);
    assert_eq!(read.top_token, 2);
    assert!((read.logp[0] - (5.0_f64 / 8.0).ln()).abs() < 1e-7);
    assert!((read.logp[1] - (1.0_f64 / 8.0).ln()).abs() < 1e-7);
}

#[test]
fn large_logits_do_not_overflow_and_ties_take_the_lowest_id() {
    let read = position(&[1e4, 1e4, -1e4, 0.0, 1.0], &[0]);
    assert_eq!(read.top_token, 0);
    assert!((read.logp[0] - 0.5_f64.ln()).abs() < 1e-12);
}

#[test]
fn the_choice_and_its_lead() {
    let choice = choose(&[1.0, 3.0, 2.5]);
    assert_eq!(choice.token, 1);
    assert!((choice.gap - 0.5).abs() < 1e-12);
    assert!(choose(&[2.0, 1.0, 2.0]).gap.abs() < 1e-12);
    assert_eq!(choose(&[f32::NAN, 1.0]).token, -1);
    assert!(choose(&[1.0]).gap.is_infinite());
}

#[test]
fn nan_is_not_hidden() {
    for place in (0..70).step_by(if cfg!(miri) { 23 } else { 1 }) {
        let mut row = [0.0; 70];
        row[place] = f32::NAN;
        let read = position(&row, &[0]);
        assert_eq!(read.top_token, -1);
        assert!(read.logp[0].is_nan() && read.top_logp.is_nan());
        assert!(choose(&row).gap.is_nan());
        row[place] = f32::INFINITY;
        assert!(position(&row, &[0]).logp[0].is_nan());
    }
}

#[test]
fn tokens_that_cannot_come_add_nothing() {
    let read = position(&[f32::NEG_INFINITY, 0.0, f32::MIN, -800.0], &[0, 1]);
    assert_eq!(read.logp, [f64::NEG_INFINITY, 0.0]);
}

/// Values of exp, each alone beside a 0: within two units in the last place of the library's.
#[test]
fn the_exponential_is_accurate() {
    let n = if cfg!(miri) { 20 } else { 400 };
    for step in 0..n {
        let x = -f64::from(step) * 0.1734 - 1e-3;
        let x = f64::from(x as f32);
        let found = pass(&[0.0, x as f32], Level::Baseline).sum;
        assert!((found - (1.0 + x.exp())).abs() <= 2.0 * f64::EPSILON, "{x}");
    }
}

fn rows() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![8 => -40.0_f32..40.0, 1 => Just(7.5_f32), 1 => Just(f32::NEG_INFINITY)];
    prop::collection::vec(value, 1..300)
        .prop_filter("something is possible", |row| row.iter().any(|x| x.is_finite()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

    #[test]
    fn all_instruction_sets_give_the_same_bits_and_the_twin_agrees(row in rows()) {
        let base = pass(&row, Level::Baseline);
        for level in Level::ALL.into_iter().filter(|level| level.is_there()) {
            let found = pass(&row, level);
            prop_assert_eq!(found.sum.to_bits(), base.sum.to_bits());
            prop_assert_eq!(found, base);
        }
        let (top, total) = plain(&row);
        let read = Row::new(&row);
        prop_assert_eq!(read.pass.top, top);
        // A few units in the last place of numbers up to 64.
        prop_assert!((read.total - total).abs() <= 3e-14);
        let mut sorted = row.clone();
        sorted.sort_by(f32::total_cmp);
        let second = sorted.iter().rev().nth(1).copied().unwrap_or(f32::NEG_INFINITY);
        prop_assert!(base.second.total_cmp(&second).is_eq());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 10 }))]

    #[test]
    fn threads_change_nothing(rows in prop::collection::vec(rows(), 1..5), n_threads in 1_usize..9) {
        // Long enough for threads of their own.
        let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.iter().copied().cycle()
            .take(if cfg!(miri) { 40 } else { 70_000 }).collect()).collect();
        let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let found = read(&slices, n_threads);
        prop_assert_eq!(found.len(), rows.len());
        for (row, found) in rows.iter().zip(found) {
            prop_assert_eq!(found.total.to_bits(), Row::new(row).total.to_bits());
        }
    }
}
