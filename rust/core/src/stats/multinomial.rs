//! Multinomial draws without rounding: whole numbers and random bits only, so that the distribution is
//! exact and the draws are the same on every machine.

use super::Words;

/// How often each unit is drawn when as many are drawn with replacement as there are, `multiplicity`
/// of each: conditional binomials, one after the other.
pub(super) fn multinomial(words: &mut Words, multiplicity: &[u32], drawn: &mut Vec<u32>) {
    let mut open: u64 = multiplicity.iter().map(|&n| u64::from(n)).sum();
    let mut left = open;
    for &n in multiplicity {
        let n = u64::from(n);
        let times = if n == open { left } else { binomial(words, left, n, open) };
        (open, left) = (open - n, left - times);
        drawn.push(times as u32);
    }
}

/// Successes in `n` trials of probability `top / bottom`.
///
/// Each trial compares a uniform number with the fraction, binary digit by binary digit, and is decided
/// by the first that differs: half of the trials with every digit. So a digit for all open trials is as
/// many random bits, and what is needed of them is how many are set.
fn binomial(words: &mut Words, n: u64, mut top: u64, bottom: u64) -> u64 {
    let (mut open, mut hits) = (n, 0);
    while open > 0 && top > 0 {
        top *= 2;
        let ones = count_heads(words, open);
        if top >= bottom {
            top -= bottom;
            (hits, open) = (hits + open - ones, ones);
        } else {
            open -= ones;
        }
    }
    hits
}

/// Heads among `n` fair coins: the bits of whole words, then the lowest of one more.
fn count_heads(words: &mut Words, n: u64) -> u64 {
    let mut heads: u64 = (0..n / 64).map(|_| u64::from(words.next_word().count_ones())).sum();
    if !n.is_multiple_of(64) {
        let mask = (1 << (n % 64)) - 1;
        heads += u64::from((words.next_word() & mask).count_ones());
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, Streams};
    use super::*;

    #[test]
    fn the_draws_have_the_moments_of_a_multinomial() {
        // n = 60 of shares 1/2, 1/3, 1/6: means 30, 20, 10; variances n p (1 - p) 15, 13.3, 8.3;
        // covariance of the first two -n p q = -10. 40,000 draws: four standard errors.
        let streams = Streams::new(8, Purpose::Resample);
        let n_draws = 40_000;
        let (mut sums, mut squares, mut product) = ([0.0; 3], [0.0; 3], 0.0);
        for index in 0..n_draws {
            let mut drawn = Vec::new();
            multinomial(&mut streams.stream(index), &[30, 20, 10], &mut drawn);
            assert_eq!(drawn.iter().sum::<u32>(), 60);
            let off = [30.0, 20.0, 10.0].map(f64::from);
            for k in 0..3 {
                let x = f64::from(drawn[k]) - off[k];
                (sums[k], squares[k]) = (sums[k] + x, squares[k] + x * x);
            }
            product += (f64::from(drawn[0]) - 30.0) * (f64::from(drawn[1]) - 20.0);
        }
        let n = n_draws as f64;
        for (k, variance) in [15.0, 40.0 / 3.0, 25.0 / 3.0].into_iter().enumerate() {
            assert!((sums[k] / n).abs() < 4.0 * f64::sqrt(variance / n), "{k}");
            assert!((squares[k] / n / variance - 1.0).abs() < 4.0 * f64::sqrt(2.0 / n), "{k}");
        }
        assert!((product / n + 10.0).abs() < 4.0 * f64::sqrt((15.0 * 40.0 / 3.0 + 100.0) / n));
    }

    #[test]
    fn a_fraction_of_two_is_decided_by_one_digit() {
        let streams = Streams::new(1, Purpose::Resample);
        let heads = count_heads(&mut streams.stream(0), 200);
        assert_eq!(binomial(&mut streams.stream(0), 200, 1, 2), 200 - heads);
    }
}
