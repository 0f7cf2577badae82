//! `McNemar`'s exact test, in log space, right at any count.

use std::f64::consts::{LN_2, PI};
use std::str::FromStr;

use super::{StatsError, check_length, refuse};
use crate::Result;

/// Which departures from the null hypothesis count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternative {
    /// Either side.
    TwoSided,
    /// The statistic is larger than under the null.
    Greater,
    /// The statistic is smaller than under the null.
    Less,
}

impl FromStr for Alternative {
    type Err = StatsError;

    fn from_str(word: &str) -> std::result::Result<Self, StatsError> {
        match word {
            "two-sided" => Ok(Self::TwoSided),
            "greater" => Ok(Self::Greater),
            "less" => Ok(Self::Less),
            _ => Err(StatsError::UnknownName {
                name: "alternative",
                value: word.to_owned(),
                known: "two-sided, greater, less".to_owned(),
            }),
        }
    }
}

/// Refuse counts that do not belong together, or that have no float of their own.
///
/// # Errors
/// If the two are not equally many, or a sum passes 2^53.
pub fn check_counts(b: &[u64], c: &[u64]) -> Result<()> {
    check_length("c", c.len(), b.len())?;
    let sums = b.iter().zip(c).map(|(&b, &c)| b.saturating_add(c));
    match sums.max() {
        Some(sum) if sum > 1 << 53 => refuse("b + c", sum as f64, "be at most 9007199254740992"),
        _ => Ok(()),
    }
}

/// ln of the exact p value: c of b + c discordant pairs against a fair coin; `Greater` asks for
/// P(C >= c). With `mid_p`, half the probability of the observed count is taken off each tail.
/// `None` without discordant pairs. Right up to 2^53 pairs ([`check_counts`]).
#[must_use]
pub fn mcnemar(b: u64, c: u64, alternative: Alternative, mid_p: bool) -> Option<f64> {
    if b + c == 0 {
        return None;
    }
    let greater = || log_tail(b + c, c, mid_p);
    let less = || log_tail(b + c, b, mid_p);
    Some(match alternative {
        Alternative::Greater => greater(),
        Alternative::Less => less(),
        Alternative::TwoSided => (LN_2 + log_tail(b + c, b.max(c), mid_p)).min(0.0),
    })
}

/// ln P(X >= k), less half P(X = k) if `mid_p`, for X of n fair coins.
fn log_tail(n: u64, k: u64, mid_p: bool) -> f64 {
    if 2 * k < n {
        // P(X >= k) - P(X = k)/2 = 1 - (P(X >= n - k) - P(X = n - k)/2), by symmetry.
        let other = log_tail(n, if mid_p { n - k } else { n - k + 1 }, mid_p);
        return (-other.exp()).ln_1p();
    }
    if k > n {
        return f64::NEG_INFINITY;
    }
    // Terms relative to the first fall at least geometrically once k passes the middle.
    let (mut term, mut sum) = (1.0, if mid_p { 0.5 } else { 1.0 });
    for j in k..n {
        term *= (n - j) as f64 / (j + 1) as f64;
        sum += term;
        if term < 1e-18 * sum {
            break;
        }
    }
    log_pmf(n, k) + f64::ln(sum)
}

/// ln P(X = k), by Loader's saddle-point expansion, since differences of log-gammas lose all digits
/// at large counts.
fn log_pmf(n: u64, k: u64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    if k <= 0.0 || k >= n {
        return -n * LN_2;
    }
    let rest = n - k;
    let correction = stirling_error(n) - stirling_error(k) - stirling_error(rest);
    let distance = deviance(k, n / 2.0) + deviance(rest, n / 2.0);
    correction - distance + 0.5 * (n / (2.0 * PI * k * rest)).ln()
}

/// ln n! - ln(sqrt(2 pi n) (n/e)^n)
pub(super) fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return libm::lgamma(n + 1.0) - (n + 0.5) * n.ln() + n - 0.5 * (2.0 * PI).ln();
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / n
}

/// x ln(x / m) + m - x, without cancellation where x is near m.
pub(super) fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut power = 2.0 * x * v;
    for j in 1..1000 {
        power *= v * v;
        let next = sum + power / f64::from(2 * j + 1);
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(b: u64, c: u64, alternative: Alternative, mid_p: bool) -> f64 {
        mcnemar(b, c, alternative, mid_p).unwrap().exp()
    }

    #[test]
    fn small_counts_by_hand() {
        // Of 5 coins: P(X >= 4) = 6/32.
        assert!((p(1, 4, Alternative::Greater, false) - 6.0 / 32.0).abs() < 1e-15);
        assert!((p(1, 4, Alternative::Less, false) - 31.0 / 32.0).abs() < 1e-15);
        assert!((p(1, 4, Alternative::TwoSided, false) - 12.0 / 32.0).abs() < 1e-15);
        assert!((p(1, 4, Alternative::Greater, true) - 3.5 / 32.0).abs() < 1e-15);
        assert!((p(3, 3, Alternative::TwoSided, true) - 1.0).abs() < 1e-15);
        assert_eq!(mcnemar(0, 0, Alternative::TwoSided, false), None);
    }

    #[test]
    fn large_counts_do_not_overflow() {
        // ln of the normal tail at z = 4000 / sqrt(1e6) = 4 with continuity correction, to 1e-4.
        let log_p = mcnemar(498_000, 502_000, Alternative::Greater, false).unwrap();
        let expected = super::super::normal_cdf(-3.999).ln();
        assert!((log_p - expected).abs() < 1e-4, "{log_p} {expected}");
        // All of 2,000 coins: 2^-2000 is below the smallest double.
        let log_p = mcnemar(0, 2_000, Alternative::Greater, false).unwrap();
        assert!((log_p + 2_000.0 * LN_2).abs() < 1e-9);
    }
}
