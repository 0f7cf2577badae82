//! Sign-flip tests over clusters: scenarios are independent, pairs within one are not.

use rayon::prelude::*;

use super::resample::with_threads;
use super::units::{Items, Question, Unit, Units};
use super::{Alternative, Measure, Purpose, StatsError, Streams};
use crate::Result;

/// Steps that the exact distribution may take: about a second.
const MOST_STEPS: u64 = 2_000_000_000;

/// The exact p value of a sign-flip test on whole differences, one for each cluster: the share of
/// all 2^G sign patterns whose sum is as extreme as the observed one.
///
/// The distribution of the sum is built cluster by cluster over all sums that it can take, so the
/// cost is G times the sum of the absolute differences, not 2^G. `None` if all differences are 0.
///
/// # Errors
/// If the cost would pass `MOST_STEPS`.
pub(super) fn sign_flip_exact(
    differences: &[i64],
    alternative: Alternative,
) -> Result<Option<f64>> {
    let sizes: Vec<usize> =
        differences.iter().map(|d| d.unsigned_abs() as usize).filter(|&size| size > 0).collect();
    let total: usize = sizes.iter().sum();
    if total == 0 {
        return Ok(None);
    }
    if total as u64 * sizes.len() as u64 > MOST_STEPS {
        let name = "differences";
        let rule = "have a product of their number and their sum below 2e9";
        let value = total as f64 * sizes.len() as f64;
        return Err(StatsError::OutOfRange { name, value, rule }.into());
    }
    // chance[u]: probability that the positive part of the sum is u; the sum is then 2u - total.
    let mut chance = vec![0.0; total + 1];
    chance[0] = 1.0;
    let mut reach = 0;
    for size in sizes {
        reach += size;
        for u in (0..=reach).rev() {
            let flipped = if u >= size { chance[u - size] } else { 0.0 };
            chance[u] = 0.5 * (chance[u] + flipped);
        }
    }
    let observed: i64 = differences.iter().sum();
    let total = total as i64;
    let at_least = |sum: i64| -> f64 {
        let first = i64::midpoint(sum, total);
        chance[first as usize..].iter().rev().sum()
    };
    Ok(Some(match alternative {
        Alternative::Greater => at_least(observed),
        Alternative::Less => at_least(-observed),
        Alternative::TwoSided if observed == 0 => 1.0,
        Alternative::TwoSided => (2.0 * at_least(observed.abs())).min(1.0),
    }))
}

/// The p value of a swap test on a measure that is no whole number: in each resample the two series
/// of a cluster change places with probability 1/2, (1 + as extreme) / (1 + resamples).
///
/// `None` if the measure has no value, or no swap can change anything.
pub(super) fn swap_test(
    first: &[[u32; 4]],
    second: &[[u32; 4]],
    measure: Measure,
    alternative: Alternative,
    n_resamples: u64,
    seed: u64,
    n_threads: Option<usize>,
) -> Option<f64> {
    let streams = Streams::new(seed, Purpose::Permutation);
    let difference = |totals: [[f64; 4]; 2]| measure.value(totals[0]) - measure.value(totals[1]);
    let draw = |index: u64| {
        let mut words = streams.stream(index);
        let mut totals = [[0.0; 4]; 2];
        let mut word = 0;
        for (cluster, (first, second)) in first.iter().zip(second).enumerate() {
            word = if cluster % 64 == 0 { words.next_word() } else { word >> 1 };
            let swap = (word & 1) as usize;
            for cell in 0..4 {
                totals[swap][cell] += f64::from(first[cell]);
                totals[1 - swap][cell] += f64::from(second[cell]);
            }
        }
        difference(totals)
    };
    let sum = |rows: &[[u32; 4]]| {
        rows.iter().fold([0.0; 4], |sum: [f64; 4], row| {
            std::array::from_fn(|cell| sum[cell] + f64::from(row[cell]))
        })
    };
    let observed = difference([sum(first), sum(second)]);
    if observed.is_nan() || first == second {
        return None;
    }
    // Sums are whole numbers, but their ratios round: ties within 1e-9 are ties.
    let extreme = |value: f64| match alternative {
        Alternative::Greater => value >= observed - 1e-9,
        Alternative::Less => value <= observed + 1e-9,
        Alternative::TwoSided => value.abs() >= observed.abs() - 1e-9,
    };
    let n_extreme = with_threads(n_threads, || {
        (0..n_resamples).into_par_iter().filter(|&index| extreme(draw(index))).count()
    });
    Some((1 + n_extreme) as f64 / (1 + n_resamples) as f64)
}

/// Result of a permutation test. NaN stands for an absent number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Permuted {
    /// The observed statistic, in percentage points.
    pub statistic: f64,
    /// The p value.
    pub p_value: f64,
    /// True if the p value is exact, not sampled.
    pub exact: bool,
    /// Clusters.
    pub n_clusters: u64,
    /// Clusters that a flip changes: only they tell something.
    pub n_informative: u64,
}

/// Settings of a permutation test.
#[derive(Debug, Clone, Copy)]
pub struct PermutationOptions {
    /// The clusters.
    pub unit: Unit,
    /// Which departures count.
    pub alternative: Alternative,
    /// Resamples, where the test cannot be exact.
    pub n_resamples: u64,
    /// Seed.
    pub seed: u64,
    /// Threads.
    pub n_threads: Option<usize>,
}

/// Asymmetry of one series (is c larger than b?): under the null hypothesis the two prompts of a pair
/// are exchangeable, so that each cluster's c - b could as well have the other sign.
///
/// # Errors
/// If the columns differ in length, or the problem is too large.
pub fn asymmetry(items: &Items<'_>, options: &PermutationOptions) -> Result<Permuted> {
    items.check()?;
    let terms = vec![(0, 1.0)];
    let units = Units::collect(items, None, &Question::paired(terms), options.unit, false)?;
    let differences = units.expand(|row| i64::from(row[0][2]) - i64::from(row[0][1]));
    let [total] = units.totals()[..] else { unreachable!("one term") };
    let p_value = sign_flip_exact(&differences, options.alternative)?.unwrap_or(f64::NAN);
    let statistic = Measure::Discrepancy.value(total);
    let n_informative = differences.iter().filter(|&&difference| difference != 0).count() as u64;
    Ok(Permuted { statistic, p_value, exact: true, n_clusters: units.n_units(), n_informative })
}

/// Change of a measure between two series on the same pairs (first - second): under the null
/// hypothesis the two answers of a pair are exchangeable between the series. Exact for measures whose
/// denominator is n, sampled for `mar`, `br` and the measures of signal detection.
///
/// # Errors
/// If the columns differ in length, or the problem is too large.
pub fn change(
    items: &Items<'_>,
    measure: Measure,
    options: &PermutationOptions,
) -> Result<Permuted> {
    items.check()?;
    measure.of_one_table()?;
    let question = Question::paired(vec![(0, 1.0), (1, -1.0)]);
    let units = Units::collect(items, None, &question, options.unit, false)?;
    let statistic = question.value(measure, &units.totals());
    let (numerator, denominator) = measure.forms();
    let exact = measure.is_linear() && denominator.iter().all(|&x| x > 0.0);
    let n_informative;
    let p_value = if exact {
        let top = |counts: [u32; 4]| -> f64 {
            counts.iter().zip(numerator).map(|(&count, x)| f64::from(count) * x).sum()
        };
        let differences = units.expand(|row| (top(row[0]) - top(row[1])) as i64);
        n_informative = differences.iter().filter(|&&difference| difference != 0).count() as u64;
        sign_flip_exact(&differences, options.alternative)?
    } else {
        let rows = units.expand(|row| (row[0], row[1]));
        let (first, second): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        n_informative =
            std::iter::zip(&first, &second).filter(|(one, two)| one != two).count() as u64;
        let PermutationOptions { alternative, n_resamples, seed, n_threads, .. } = *options;
        swap_test(&first, &second, measure, alternative, n_resamples, seed, n_threads)
    };
    let p_value = p_value.unwrap_or(f64::NAN);
    Ok(Permuted { statistic, p_value, exact, n_clusters: units.n_units(), n_informative })
}

impl Units {
    /// Something of each unit, rows repeated with their multiplicity.
    fn expand<T: Clone>(&self, of_row: impl Fn(&[[u32; 4]]) -> T) -> Vec<T> {
        let mut all = Vec::new();
        for (index, &n) in self.multiplicity.iter().enumerate() {
            let row: Vec<[u32; 4]> = self.terms.iter().map(|rows| rows[index]).collect();
            all.extend(std::iter::repeat_n(of_row(&row), n as usize));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_p_values_by_hand() {
        // Signs of 3 and 1: sums 4, 2, -2, -4.
        let p = |alternative| sign_flip_exact(&[3, 1], alternative).unwrap().unwrap();
        assert!((p(Alternative::Greater) - 0.25).abs() < 1e-15);
        assert!((p(Alternative::TwoSided) - 0.5).abs() < 1e-15);
        assert!((p(Alternative::Less) - 1.0).abs() < 1e-15);
        assert_eq!(sign_flip_exact(&[0, 0], Alternative::Greater), Ok(None));
    }

    #[test]
    fn a_problem_too_large_is_refused() {
        assert!(sign_flip_exact(&[1_000_000_000, 2], Alternative::Greater).is_err());
    }

    #[test]
    fn single_pairs_make_it_mcnemar() {
        let differences: Vec<i64> = (0..40).map(|i| if i < 27 { 1 } else { -1 }).collect();
        let p = sign_flip_exact(&differences, Alternative::TwoSided).unwrap().unwrap();
        let expected = super::super::mcnemar(13, 27, Alternative::TwoSided, false).unwrap().exp();
        assert!((p - expected).abs() < 1e-14);
    }
}
