//! Sign-flip tests over clusters: scenarios are independent, pairs within one are not.

use rayon::prelude::*;

use super::flips::{PValue, sign_flip_exact};
use super::units::{Items, Question, Unit, Units};
use super::{Alternative, Measure, Purpose, Streams, check_resamples, refuse};
use crate::Result;
use crate::work::Stop;

/// The p value of a swap test on a measure that is no whole number: in each resample the two series
/// of a cluster change places with probability 1/2, (1 + as extreme) / (1 + resamples).
///
/// `None` if the measure has no value, or no swap can change anything.
pub(super) fn swap_test(
    first: &[[u32; 4]],
    second: &[[u32; 4]],
    measure: Measure,
    options: &PermutationOptions<'_>,
) -> Result<Option<PValue>> {
    let PermutationOptions { n_resamples, stop, .. } = *options;
    let streams = Streams::new(options.seed, Purpose::Permutation);
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
        return Ok(None);
    }
    // Sums are whole numbers, but their ratios round: ties within 1e-9 are ties.
    let extreme = |value: f64| match options.alternative {
        Alternative::Greater => value >= observed - 1e-9,
        Alternative::Less => value <= observed + 1e-9,
        Alternative::TwoSided => value.abs() >= observed.abs() - 1e-9,
    };
    let count = |index| stop.check().map(|()| u64::from(extreme(draw(index))));
    let n_extreme: Result<u64> =
        (0..n_resamples).into_par_iter().map(count).try_reduce(|| 0, |x, y| Ok(x + y));
    Ok(Some(PValue::of((1 + n_extreme?) as f64 / (1 + n_resamples) as f64)))
}

/// Result of a permutation test. NaN stands for an absent number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Permuted {
    /// The observed statistic, in percentage points.
    pub statistic: f64,
    /// The p value.
    pub p_value: f64,
    /// Its natural logarithm, finite also where the p value underflows to 0.
    pub log_p_value: f64,
    /// True if the p value is exact, not sampled.
    pub exact: bool,
    /// Clusters.
    pub n_clusters: u64,
    /// Clusters that a flip changes: only they tell something.
    pub n_informative: u64,
}

/// Settings of a permutation test.
#[derive(Debug, Clone, Copy)]
pub struct PermutationOptions<'a> {
    /// The clusters.
    pub unit: Unit,
    /// Which departures count.
    pub alternative: Alternative,
    /// Resamples, where the test cannot be exact.
    pub n_resamples: u64,
    /// Seed.
    pub seed: u64,
    /// Read once a block: the call may be told to stop.
    pub stop: &'a Stop,
}

impl PermutationOptions<'_> {
    fn check(&self, items: &Items<'_>, n_series: usize) -> Result<()> {
        items.check()?;
        check_resamples(self.n_resamples)?;
        if items.n_pairs() > 0 && items.n_series() != n_series {
            return refuse(
                "codes",
                items.n_series() as f64,
                "have 2 series with a measure, else 1",
            );
        }
        Ok(())
    }
}

fn found(
    statistic: f64,
    p_value: Option<PValue>,
    exact: bool,
    (n_clusters, n_informative): (u64, u64),
) -> Permuted {
    let PValue { p: p_value, log_p: log_p_value } = p_value.unwrap_or(PValue::of(f64::NAN));
    Permuted { statistic, p_value, log_p_value, exact, n_clusters, n_informative }
}

/// Asymmetry of one series (is c larger than b?): under the null hypothesis the two prompts of a pair
/// are exchangeable, so that each cluster's c - b could as well have the other sign.
///
/// # Errors
/// If the columns differ in length, or the problem is too large.
pub fn asymmetry(items: &Items<'_>, options: &PermutationOptions<'_>) -> Result<Permuted> {
    options.check(items, 1)?;
    let terms = vec![(0, 1.0)];
    let units = Units::collect(items, None, &Question::paired(terms), options.unit, false)?;
    let differences = units.expand(|row| i64::from(row[0][2]) - i64::from(row[0][1]));
    let [total] = units.totals()[..] else { unreachable!("one term") };
    let p_value = sign_flip_exact(&differences, options.alternative, options.stop)?;
    let n_informative = differences.iter().filter(|&&difference| difference != 0).count() as u64;
    let counts = (units.n_units(), n_informative);
    Ok(found(Measure::Discrepancy.value(total), p_value, true, counts))
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
    options: &PermutationOptions<'_>,
) -> Result<Permuted> {
    options.check(items, 2)?;
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
        sign_flip_exact(&differences, options.alternative, options.stop)?
    } else {
        let rows = units.expand(|row| (row[0], row[1]));
        let (first, second): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        n_informative =
            std::iter::zip(&first, &second).filter(|(one, two)| one != two).count() as u64;
        swap_test(&first, &second, measure, options)?
    };
    Ok(found(statistic, p_value, exact, (units.n_units(), n_informative)))
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
