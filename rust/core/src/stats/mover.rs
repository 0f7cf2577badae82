//! Intervals of weighted sums of rates, made from the intervals of the rates: the method of variance
//! estimates recovery.

use super::units::{Question, Units};
use super::{Ends, Measure, Observed, Undefined, Unit};

/// The interval of a weighted sum of rates (Zou and Donner 2008; Zou, Huang and Zhang 2009).
///
/// With `e_i` = weight times the distance from rate i to the end of its own interval that lowers the
/// sum, and `r_ij` the correlation of rates i and j over units, the lower end is
/// `value - sqrt(sum over i and j of r_ij e_i e_j)`; the upper end likewise with the other ends. The
/// intervals of the rates are `ClopperPearson`'s, without its floor. A rate of 0 or 100 tells nothing of
/// how alike the pairs of a unit are: it takes the largest design effect of the other rates.
///
/// # Errors
/// If the measure is no rate, or the sum does not vary over units.
pub(super) fn interval(
    question: &Question,
    units: &Units,
    measure: Measure,
    unit: Unit,
    level: f64,
) -> Ends {
    if !measure.is_rate() {
        return Err(Undefined::NotARate);
    }
    let whole = Observed::of(measure, question, units, unit);
    if whole.spread.standard_error == 0.0 {
        return Err(Undefined::Constant);
    }
    let rates = rates(question, units, measure, unit);
    let mut arms = Vec::new();
    for (rate, &(_, weight)) in rates.iter().zip(&question.terms) {
        let (low, high) = rate.exact(level, unit)?;
        let arm = (weight * (rate.value - low), weight * (high - rate.value));
        arms.push(if weight < 0.0 { (arm.1, arm.0) } else { arm });
    }
    let correlation = units.correlations(measure);
    let spread = |arm: fn(&(f64, f64)) -> f64| {
        let mut sum = 0.0;
        for (one, row) in arms.iter().zip(&correlation) {
            sum += row.iter().zip(&arms).map(|(r, two)| r * arm(one) * arm(two)).sum::<f64>();
        }
        // A correlation of 1 leaves rounding that may be below 0.
        sum.max(0.0).sqrt()
    };
    let (least, most) = whole.range;
    Ok((
        (whole.value - spread(|arm| arm.0)).max(least),
        (whole.value + spread(|arm| arm.1)).min(most),
    ))
}

/// What is observed of each term alone.
fn rates(question: &Question, units: &Units, measure: Measure, unit: Unit) -> Vec<Observed> {
    let alone: Vec<Units> = (0..question.terms.len()).map(|term| units.alone(term)).collect();
    let observe = |units: &Units| Observed::of(measure, &Question::rate(), units, unit);
    let mut rates: Vec<Observed> = alone.iter().map(observe).collect();
    let sizes: Vec<f64> = alone.iter().map(|units| units.base(measure).1).collect();
    let varies = |rate: &Observed| rate.value > 0.0 && rate.value < 100.0;
    let known = rates.iter().zip(&sizes).filter(|(rate, _)| varies(rate));
    let effects = known.filter_map(|(rate, size)| rate.effective_size.map(|n| size / n));
    let effect = effects.fold(f64::NAN, f64::max);
    for (rate, size) in rates.iter_mut().zip(&sizes).filter(|(rate, _)| !varies(rate)) {
        if effect.is_finite() {
            rate.effective_size = rate.effective_size.map(|n| n.max(size / effect.max(1.0)));
        }
    }
    rates
}

impl Units {
    /// The same units with one term of the question alone.
    fn alone(&self, term: usize) -> Self {
        Self {
            terms: vec![self.terms[term].clone()],
            multiplicity: self.multiplicity.clone(),
            strata: self.strata.clone(),
            ..Self::default()
        }
    }

    /// Correlations of the terms' values over units; 0 with a value that does not vary.
    fn correlations(&self, measure: Measure) -> Vec<Vec<f64>> {
        let pulls: Vec<Vec<f64>> = self
            .terms
            .iter()
            .zip(self.totals())
            .map(|(rows, total)| {
                let slope = measure.gradient(total);
                let pull =
                    |row: &[u32; 4]| row.iter().zip(slope).map(|(&n, x)| f64::from(n) * x).sum();
                rows.iter().map(pull).collect()
            })
            .collect();
        let covariance = |one: &Vec<f64>, two: &Vec<f64>| self.covariance(one, two);
        let own: Vec<f64> = pulls.iter().map(|pull| covariance(pull, pull)).collect();
        let row = |(i, one): (usize, &Vec<f64>)| {
            let correlation = |(j, two): (usize, &Vec<f64>)| match own[i] * own[j] {
                _ if i == j => 1.0,
                product if product > 0.0 => {
                    (covariance(one, two) / product.sqrt()).clamp(-1.0, 1.0)
                }
                _ => 0.0,
            };
            pulls.iter().enumerate().map(correlation).collect()
        };
        pulls.iter().enumerate().map(row).collect()
    }

    /// The covariance of two sums over units, from what each row adds to them.
    fn covariance(&self, one: &[f64], two: &[f64]) -> f64 {
        let of_stratum = |rows: std::ops::Range<usize>| {
            let times = || rows.clone().map(|row| f64::from(self.multiplicity[row]));
            let n: f64 = times().sum();
            let mean = |pull: &[f64]| {
                times().zip(&pull[rows.clone()]).map(|(k, x)| k * x).sum::<f64>() / n
            };
            let (centre, other) = (mean(one), mean(two));
            let products = rows.clone().map(|row| (one[row] - centre) * (two[row] - other));
            times().zip(products).map(|(k, product)| k * product).sum::<f64>() * n / (n - 1.0)
        };
        self.strata.iter().cloned().map(of_stratum).sum()
    }
}
