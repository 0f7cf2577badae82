//! The exact distribution of a sum of whole numbers whose signs are fair coins.

use std::f64::consts::LN_2;

use super::{Alternative, StatsError, mcnemar};
use crate::Result;
use crate::work::Stop;

/// Steps that the exact distribution may take: about a second.
const MOST_STEPS: u64 = 2_000_000_000;

/// Sums that the distribution may hold: 1 GiB of them.
const MOST_SUMS: u64 = 1 << 27;

/// Below it a tail has lost digits, or all of them.
const LEAST_TAIL: f64 = 1e-290;

/// A p value and its natural logarithm, which is right where the p value underflows to 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PValue {
    pub(super) p: f64,
    pub(super) log_p: f64,
}

impl PValue {
    pub(super) fn of(p: f64) -> Self {
        Self { p, log_p: p.ln() }
    }

    fn of_log(log_p: f64) -> Self {
        Self { p: log_p.exp(), log_p }
    }

    /// Both tails of a symmetric distribution.
    fn doubled(self) -> Self {
        if self.p >= 0.5 {
            return Self::of(1.0);
        }
        Self { p: 2.0 * self.p, log_p: self.log_p + LN_2 }
    }
}

/// The exact p value of a sign-flip test on whole differences, one for each cluster: the share of
/// all 2^G sign patterns whose sum is as extreme as the observed one.
///
/// The distribution of the sum is built cluster by cluster over all sums that it can take, so the
/// cost is G times the sum of the absolute differences, not 2^G. Where it is too much and all
/// differences are of one size, as those of single pairs are, it is a binomial. `None` if all
/// differences are 0.
///
/// # Errors
/// If the cost would pass `MOST_STEPS`, or the call was told to stop.
pub(super) fn sign_flip_exact(
    differences: &[i64],
    alternative: Alternative,
    stop: &Stop,
) -> Result<Option<PValue>> {
    let sizes = || differences.iter().map(|d| d.unsigned_abs()).filter(|&size| size > 0);
    let unit = sizes().fold(0, greatest_common_divisor);
    if unit == 0 {
        return Ok(None);
    }
    let (n, total) = (sizes().count() as u64, sizes().sum::<u64>() / unit);
    let observed = differences.iter().sum::<i64>() / unit as i64;
    if n.saturating_mul(total) > MOST_STEPS || total > MOST_SUMS {
        if n < total {
            let name = "differences";
            let rule = "have a product of their number and their sum below 2e9";
            return Err(
                StatsError::OutOfRange { name, value: total as f64 * n as f64, rule }.into()
            );
        }
        let n_positive = i64::midpoint(observed, n as i64) as u64;
        return Ok(mcnemar(n - n_positive, n_positive, alternative, false).map(PValue::of_log));
    }
    let flips = Flips { sizes: sizes().map(|size| (size / unit) as usize).collect(), stop };
    Ok(Some(match alternative {
        Alternative::Greater => flips.at_least(observed)?,
        Alternative::Less => flips.at_least(-observed)?,
        Alternative::TwoSided if observed == 0 => PValue::of(1.0),
        Alternative::TwoSided => flips.at_least(observed.abs())?.doubled(),
    }))
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Sizes that take a sign each.
struct Flips<'a> {
    sizes: Vec<usize>,
    stop: &'a Stop,
}

impl Flips<'_> {
    /// The chance of a sum of at least `observed`.
    fn at_least(&self, observed: i64) -> Result<PValue> {
        let total = self.sizes.iter().sum::<usize>() as i64;
        let first = i64::midpoint(observed, total) as usize;
        let tail = self.distribution(|_| 0.5)?[first..].iter().rev().sum::<f64>();
        if tail >= LEAST_TAIL {
            return Ok(PValue::of(tail));
        }
        if observed == total {
            return Ok(PValue::of_log(-(self.sizes.len() as f64) * LN_2));
        }
        self.tilted_tail(observed, first).map(PValue::of_log)
    }

    /// Element u is the chance that the sizes with a positive sign, each with its own chance, add up to
    /// u; the sum is then 2 u - total.
    fn distribution(&self, positive: impl Fn(usize) -> f64) -> Result<Vec<f64>> {
        let mut chance = vec![0.0; self.sizes.iter().sum::<usize>() + 1];
        chance[0] = 1.0;
        let mut reach = 0;
        for &size in &self.sizes {
            self.stop.check()?;
            reach += size;
            let p = positive(size);
            for u in (0..=reach).rev() {
                let flipped = if u >= size { chance[u - size] } else { 0.0 };
                chance[u] = (1.0 - p) * chance[u] + p * flipped;
            }
        }
        Ok(chance)
    }

    /// ln of a chance too small for a float, by tilted signs (Esscher 1932): a sign is positive with
    /// odds e^(2 tilt size), so that the observed sum is the expected one and its chance ordinary.
    /// `P(s) = P_tilted(s) e^(-tilt s)` times the product of `cosh(tilt size)`.
    fn tilted_tail(&self, observed: i64, first: usize) -> Result<f64> {
        let expected = |tilt: f64| -> f64 {
            self.sizes.iter().map(|&size| size as f64 * (tilt * size as f64).tanh()).sum()
        };
        let (mut low, mut high) = (0.0, 1.0);
        while expected(high) < observed as f64 && high < 1e3 {
            high *= 2.0;
        }
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            (low, high) =
                if expected(middle) < observed as f64 { (middle, high) } else { (low, middle) };
        }
        let tilt = high;
        let chance = self.distribution(|size| 1.0 / (1.0 + (-2.0 * tilt * size as f64).exp()))?;
        let beyond = |(k, &p): (usize, &f64)| p * (-2.0 * tilt * k as f64).exp();
        let tail: f64 = chance[first..].iter().enumerate().map(beyond).sum();
        let log_cosh = |&size: &usize| {
            let x = tilt * size as f64;
            x + (-2.0 * x).exp().ln_1p() - LN_2
        };
        let log_cosh: f64 = self.sizes.iter().map(log_cosh).sum();
        Ok(log_cosh - tilt * observed as f64 + tail.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flip(differences: &[i64], alternative: Alternative) -> Result<Option<PValue>> {
        sign_flip_exact(differences, alternative, &Stop::default())
    }

    #[test]
    fn exact_p_values_by_hand() {
        // Signs of 3 and 1: sums 4, 2, -2, -4.
        let p = |alternative| flip(&[3, 1], alternative).unwrap().unwrap().p;
        assert!((p(Alternative::Greater) - 0.25).abs() < 1e-15);
        assert!((p(Alternative::TwoSided) - 0.5).abs() < 1e-15);
        assert!((p(Alternative::Less) - 1.0).abs() < 1e-15);
        assert_eq!(flip(&[0, 0], Alternative::Greater), Ok(None));
    }

    #[test]
    fn a_problem_too_large_is_refused() {
        assert!(flip(&[1_000_000_000, 3], Alternative::Greater).is_err());
    }

    #[test]
    fn single_pairs_make_it_mcnemar() {
        for (b, c) in [(13, 27), (0, 1_200), (40, 2_400), (24_900, 25_100), (1, 60_000)] {
            let differences: Vec<i64> = [vec![-1; b], vec![1; c]].concat();
            for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
                let found = flip(&differences, alternative).unwrap().unwrap();
                let expected = mcnemar(b as u64, c as u64, alternative, false).unwrap();
                let off = (found.log_p - expected).abs();
                assert!(off < 1e-9 * (1.0 + expected.abs()), "{b} {c} {found:?} {expected}");
            }
        }
    }

    #[test]
    fn a_tail_below_the_smallest_float_is_right() {
        // 3,000 clusters on one side: one pattern of 2^3000. With the smallest cluster of size 1
        // against it, that pattern and the one before it are as extreme: 2 of 2^3000.
        let mut differences: Vec<i64> = (0..3_000).map(|i| 2 + i % 3).collect();
        let found = flip(&differences, Alternative::Greater).unwrap().unwrap();
        assert_eq!((found.p, found.log_p), (0.0, -3_000.0 * LN_2));
        differences[0] = -1;
        let found = flip(&differences, Alternative::Greater).unwrap().unwrap();
        assert!((found.log_p + 2_999.0 * LN_2).abs() < 1e-8, "{found:?}");
        let two = flip(&differences, Alternative::TwoSided).unwrap().unwrap();
        assert!((two.log_p - found.log_p - LN_2).abs() < 1e-12);
    }
}
