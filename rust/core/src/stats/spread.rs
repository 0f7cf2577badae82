//! Standard errors, skewness and leave-one-out values: what intervals need beside the resamples.

use super::units::{Question, Units};
use super::{Measure, Unit};

/// The sampling error of a question's value, from its units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Linearised (infinitesimal jackknife) standard error over units: cluster-robust if the units
    /// are scenarios. NaN if a stratum holds a single unit.
    pub standard_error: f64,
    /// Units minus strata.
    pub degrees: f64,
    /// Degrees of freedom of the squared standard error, from the kurtosis of what the units add to
    /// the value: 2 / (sum of fourth powers / squared sum of squares - 1 / units), at most `degrees`
    /// (Satterthwaite 1946). Few where a few units hold most of the variance.
    pub(crate) effective_degrees: f64,
    /// The acceleration of `BCa`, from leaving one unit out at a time.
    pub(crate) acceleration: f64,
}

impl Question {
    /// The slope of the value in each term's (a, b, c, d).
    pub(crate) fn gradient(&self, measure: Measure, totals: &[[f64; 4]]) -> Vec<[f64; 4]> {
        let mut slopes = vec![[0.0; 4]; totals.len()];
        self.gradient_into(measure, totals, &mut slopes);
        slopes
    }
}

impl Units {
    /// Standard error, degrees of freedom and acceleration.
    pub(crate) fn spread(&self, question: &Question, measure: Measure) -> Spread {
        let totals = self.totals();
        let gradient = question.gradient(measure, &totals);
        let slack = question.slack(measure);
        let (mut variance, mut power_2, mut power_4) = (0.0, 0.0, 0.0);
        let (mut cubes, mut squares) = (0.0, 0.0);
        for stratum in self.strata.clone() {
            let n: f64 = self.multiplicity[stratum.clone()].iter().map(|&n| f64::from(n)).sum();
            let influence: Vec<f64> =
                stratum.clone().map(|row| self.influence(row, &gradient)).collect();
            let weights = &self.multiplicity[stratum.clone()];
            let [second, _, fourth] = central_moments(&influence, weights);
            variance += second * n / (n - 1.0);
            (power_2, power_4) = (power_2 + second, power_4 + fourth);
            let mut without = totals.clone();
            let mut value = |row| {
                self.take_out(row, &totals, &mut without);
                question.value(measure, &without)
            };
            let left_out: Vec<f64> = stratum.map(&mut value).collect();
            let [second, third, _] = central_moments(&left_out, weights);
            // Davison and Hinkley 1997, section 5.3.2, with jackknife values (n - 1)(mean - value).
            let shrink = (n - 1.0) / n;
            cubes -= shrink.powi(3) * third;
            squares += shrink.powi(2) * second;
        }
        // What does not vary leaves rounding behind, which would pass for a tiny error and any skewness.
        let error = if variance.sqrt() <= slack { 0.0 } else { variance.sqrt() };
        if squares.sqrt() <= slack {
            (cubes, squares) = (0.0, 0.0);
        }
        let degrees = self.n_units() as f64 - self.strata.len() as f64;
        let excess = power_4 / (power_2 * power_2) - 1.0 / self.n_units() as f64;
        Spread {
            standard_error: error,
            degrees,
            effective_degrees: if error > 0.0 && excess > 0.0 {
                degrees.min(2.0 / excess)
            } else {
                degrees
            },
            acceleration: cubes / (6.0 * squares.powf(1.5)),
        }
    }

    /// Change of the value by one unit of this row, to first order.
    fn influence(&self, row: usize, gradient: &[[f64; 4]]) -> f64 {
        let dot = |(rows, slope): (&Vec<[u32; 4]>, &[f64; 4])| -> f64 {
            rows[row].iter().zip(slope).map(|(&count, slope)| f64::from(count) * slope).sum()
        };
        self.terms.iter().zip(gradient).map(dot).sum()
    }

    fn take_out(&self, row: usize, totals: &[[f64; 4]], without: &mut [[f64; 4]]) {
        for ((rows, total), without) in self.terms.iter().zip(totals).zip(without) {
            *without = std::array::from_fn(|cell| total[cell] - f64::from(rows[row][cell]));
        }
    }

    /// Units whose rows have a positive denominator under a measure, and the total denominator.
    pub(crate) fn base(&self, measure: Measure) -> (f64, f64) {
        let (_, form) = measure.forms();
        let mut sums = (0.0, 0.0);
        for (row, &n) in self.terms[0].iter().zip(&self.multiplicity) {
            let size: f64 = row.iter().zip(form).map(|(&count, x)| f64::from(count) * x).sum();
            if size > 0.0 {
                sums = (sums.0 + f64::from(n), sums.1 + f64::from(n) * size);
            }
        }
        sums
    }

    /// Units whose rows have a positive denominator under a measure, in any term.
    pub(crate) fn n_informative(&self, measure: Measure) -> u64 {
        let (_, form) = measure.forms();
        let counts = |row: &[u32; 4]| row.iter().zip(form).any(|(&n, x)| n > 0 && x > 0.0);
        let is_informative = |&row: &usize| self.terms.iter().any(|rows| counts(&rows[row]));
        (0..self.n_rows()).filter(is_informative).map(|row| u64::from(self.multiplicity[row])).sum()
    }

    /// The share of the variance of independent pairs that the units' variance is, by denominator.
    pub(crate) fn effective_size(
        &self,
        measure: Measure,
        unit: Unit,
        share: f64,
        error: f64,
    ) -> f64 {
        let (n_units, size) = self.base(measure);
        match unit {
            Unit::Pair => size,
            // Nothing varies, so nothing can be learnt of the correlation: each scenario counts as
            // one pair, which is the least that the data can be worth.
            Unit::Scenario if share <= 0.0 || share >= 1.0 => n_units,
            Unit::Scenario => (share * (1.0 - share) / (error / 100.0).powi(2)).min(size),
        }
    }
}

/// The second, third and fourth sums of powers about the mean.
fn central_moments(values: &[f64], weights: &[u32]) -> [f64; 3] {
    let weighted = || values.iter().zip(weights).map(|(&value, &n)| (value, f64::from(n)));
    let n: f64 = weighted().map(|(_, n)| n).sum();
    let mean = weighted().map(|(value, n)| n * value).sum::<f64>() / n;
    let sum = |power| weighted().map(|(value, n)| n * (value - mean).powi(power)).sum::<f64>();
    [sum(2), sum(3), sum(4)]
}
