//! Quantiles of the beta distribution.

use std::f64::consts::PI;

use statrs::distribution::{Beta, ContinuousCDF};

use super::mcnemar::{deviance, stirling_error};

/// Above it statrs' continued fraction stops too early, and from 10^9 on its search does not end.
const MOST_OF_STATRS: f64 = 1e5;

/// The quantile of the beta distribution; the ends 0 and 1 where a shape is 0, or the tail is
/// beyond 1e-15.
pub(super) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if a <= 0.0 || p <= 1e-15 {
        return 0.0;
    }
    if b <= 0.0 || p >= 1.0 - 1e-15 {
        return 1.0;
    }
    if a + b <= MOST_OF_STATRS {
        return Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
    }
    if p.is_nan() || a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    let (mut low, mut high) = (0.0, 1.0);
    // Bisection to the last bit: floats between 0 and 1 are halved in order 1,100 times at most.
    for _ in 0..1100 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        (low, high) = if beta_cdf(middle, a, b) < p { (middle, high) } else { (low, middle) };
    }
    high
}

/// P(X <= x), from the end of the nearer tail.
fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    let rest = 1.0 - x;
    if x > a / (a + b) { 1.0 - lower_tail(rest, x, b, a) } else { lower_tail(x, rest, a, b) }
}

/// P(X <= x) for x below the mean, `rest` being 1 - x: x^a (1 - x)^b / (a B(a, b)) times a continued
/// fraction (DLMF 8.17.22, by Lentz' method), of about sqrt(max(a, b)) steps. The factor is a binomial
/// probability in Loader's saddle-point form.
fn lower_tail(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    let n = a + b;
    let correction = stirling_error(n) - stirling_error(a) - stirling_error(b);
    let distance = deviance(a, n * x) + deviance(b, n * rest);
    let factor = (correction - distance + 0.5 * (b / (2.0 * PI * a * n)).ln()).exp();
    if factor == 0.0 {
        return 0.0;
    }
    // The ratios of neighbouring numerators and denominators, and the product of their quotients.
    let (mut numerators, mut denominators) = (1.0, (a + 1.0) / (1.0 - b + n * rest));
    let mut fraction = denominators;
    for m in (1..1_000_000).map(f64::from) {
        let place = a + 2.0 * m;
        let even = m * (b - m) * x / ((place - 1.0) * place);
        let odd = -(a + m) * (n + m) * x / (place * (place + 1.0));
        let before = fraction;
        for coefficient in [even, odd] {
            denominators = 1.0 / (1.0 + coefficient * denominators);
            numerators = 1.0 + coefficient / numerators;
            fraction *= denominators * numerators;
        }
        let change = (fraction / before - 1.0).abs();
        if change <= 4.0 * f64::EPSILON || change.is_nan() {
            break;
        }
    }
    factor * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_quantiles() {
        // scipy.stats.beta.ppf.
        for (p, a, b, expected) in [
            (0.025, 5.0, 96.0, 0.016_431_879_182_052_155),
            (0.975, 1.0, 1e6, 3.688_872_650_206_488e-6),
            (0.025, 1e6, 1.0, 0.999_996_311_127_349_8),
            (0.025, 5e8, 5e8 + 1.0, 0.499_969_009_748_422_3),
            (0.975, 10.5, 2e5, 8.869_114_998_914_295e-5),
            (0.5, 1e7, 9e7, 0.099_999_997_333_333_34),
            (0.975, 1.0, 1e8, 3.688_879_386_074_778e-8),
            (0.975, 11.0, 1e8, 1.839_035_344_003_441_5e-7),
        ] {
            let found = beta_quantile(p, a, b);
            assert!((found / expected - 1.0).abs() < 1e-9, "{p} {a} {b}: {found} {expected}");
        }
    }
}
