//! Log-probabilities at one position, in f64.

/// The next token by one row of logits. Logarithms are natural.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// Log-probability of each wanted token, in the order asked for.
    pub logp: Vec<f64>,
    /// The most probable token; the lowest id on a tie; -1 if any logit is NaN.
    pub top_token: i32,
    /// Its log-probability.
    pub top_logp: f64,
}

/// Normalise a row of logits and read the wanted tokens: `logp(t) = x_t - max - ln(sum exp(x - max))`.
///
/// A NaN anywhere makes every result NaN. `wanted` ids must lie inside the row.
pub(crate) fn position(logits: &[f32], wanted: &[i32]) -> Position {
    let (top, max) = top(logits);
    let total = max + sum_exp(logits, max).ln();
    let value = |id: i32| f64::from(logits[id as usize]) - total;
    if total.is_nan() {
        return Position { logp: vec![f64::NAN; wanted.len()], top_token: -1, top_logp: f64::NAN };
    }
    Position {
        logp: wanted.iter().map(|&id| value(id)).collect(),
        top_token: top as i32,
        top_logp: value(top as i32),
    }
}

/// The greedy choice at one position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    /// The most probable token; the lowest id on a tie; -1 if any logit is NaN.
    pub(crate) token: i32,
    /// Its log-probability.
    pub(crate) logp: f64,
    /// Its logit minus the second largest: 0 on a tie.
    pub(crate) gap: f64,
}

/// Choose the most probable token of a row of logits.
pub(crate) fn choose(logits: &[f32]) -> Choice {
    let read = position(logits, &[]);
    let others = logits.iter().enumerate().filter(|&(id, _)| id as i32 != read.top_token);
    let second = others.map(|(_, &x)| x).fold(f32::NEG_INFINITY, f32::max);
    let gap = match usize::try_from(read.top_token) {
        Ok(top) => f64::from(logits[top]) - f64::from(second),
        Err(_) => f64::NAN,
    };
    Choice { token: read.top_token, logp: read.top_logp, gap }
}

fn top(logits: &[f32]) -> (usize, f64) {
    let mut best = 0;
    for (index, &value) in logits.iter().enumerate() {
        if value > logits[best] {
            best = index;
        }
    }
    (best, f64::from(logits[best]))
}

/// Four accumulators: the additions do not wait for one another, and the order is fixed.
fn sum_exp(logits: &[f32], max: f64) -> f64 {
    let mut sums = [0.0_f64; 4];
    let chunks = logits.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().map(|&x| (f64::from(x) - max).exp()).sum();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += (f64::from(x) - max).exp();
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn nan_is_not_hidden() {
        let read = position(&[0.0, f32::NAN, 1.0], &[0]);
        assert_eq!(read.top_token, -1);
        assert!(read.logp[0].is_nan());
    }
}
