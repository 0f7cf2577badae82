//! Many series on the same pairs: simultaneous intervals and ranks that respect the noise.

use rayon::prelude::*;

use super::units::{Items, Question, Unit, Units};
use super::{Ends, Measure, Method, Observed, Undefined, check_level, mover};
use crate::Result;
use crate::work::Stop;

/// Series to rank.
#[derive(Debug, Clone, Copy)]
pub struct RankingRequest<'a> {
    /// The outcomes; every series is taken on the pairs that it scored, every two on those of both.
    pub items: Items<'a>,
    /// The measure, smaller being better.
    pub measure: Measure,
    /// The unit that is independent of others.
    pub unit: Unit,
    /// True if the number of units of each category is fixed.
    pub stratified: bool,
    /// Of all intervals together, and of all ranks together; between 0 and 1.
    pub confidence_level: f64,
    /// Read once a series or difference: the call may be told to stop.
    pub stop: &'a Stop,
}

/// A series in a ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The value.
    pub value: f64,
    /// Lower end of the simultaneous interval.
    pub low: f64,
    /// Upper end of the simultaneous interval.
    pub high: f64,
    /// Rank of the value, 1 for the lowest; ties share the best.
    pub rank: u32,
    /// Best rank that the data allow.
    pub rank_low: u32,
    /// Worst rank that the data allow.
    pub rank_high: u32,
    /// Why there is no value, or no interval.
    pub reason: Option<Undefined>,
}

/// Rank all series by a measure.
///
/// Both statements hold jointly by Bonferroni's inequality. Values: the interval of each of n series
/// has the level 1 - (1 - level) / n. Ranks: that of each of the n (n - 1) / 2 differences has the
/// level 1 - (1 - level) / (n (n - 1) / 2), and a series surely above k others and surely below l has
/// ranks k + 1 to n - l. A difference without an interval is not sure.
///
/// # Errors
/// If an argument is out of range.
pub fn ranking(request: &RankingRequest<'_>) -> Result<Vec<Ranked>> {
    request.check()?;
    let n = request.items.n_series();
    let estimates: Vec<(f64, Ends)> =
        (0..n).into_par_iter().map(|series| request.single(series, n)).collect::<Result<_>>()?;
    let scored: Vec<usize> = (0..n).filter(|&series| !estimates[series].0.is_nan()).collect();
    let mut couples = Vec::new();
    for (place, &i) in scored.iter().enumerate() {
        couples.extend(scored[place + 1..].iter().map(|&j| (i, j)));
    }
    let sign = |&(i, j): &(usize, usize)| request.sign(i, j, couples.len());
    let signs: Vec<i8> = couples.par_iter().map(sign).collect::<Result<_>>()?;
    let surely = |lower: usize, higher: usize| {
        couples.iter().zip(&signs).any(|(&couple, &sign)| {
            sign < 0 && couple == (lower, higher) || sign > 0 && couple == (higher, lower)
        })
    };
    let count = |holds: &dyn Fn(usize) -> bool| scored.iter().filter(|&&i| holds(i)).count() as u32;
    let rank = |series: usize| {
        let (value, ends) = estimates[series];
        let (low, high) = ends.unwrap_or((f64::NAN, f64::NAN));
        Ranked {
            value,
            low,
            high,
            rank: count(&|i| estimates[i].0 < value) + 1,
            rank_low: count(&|i| surely(i, series)) + 1,
            rank_high: scored.len() as u32 - count(&|i| surely(series, i)),
            reason: ends.err(),
        }
    };
    Ok((0..n).map(rank).collect())
}

impl RankingRequest<'_> {
    fn check(&self) -> Result<()> {
        self.items.check()?;
        self.measure.of_one_table()?;
        check_level(self.confidence_level)
    }

    fn units(&self, question: &Question) -> Result<Units> {
        self.stop.check()?;
        Units::collect(&self.items, None, question, self.unit, self.stratified)
    }

    /// Value and interval of a series, one of `n`.
    fn single(&self, series: usize, n: usize) -> Result<(f64, Ends)> {
        let question = Question::paired(vec![(series, 1.0)]);
        let units = self.units(&question)?;
        let observed = Observed::of(self.measure, &question, &units, self.unit);
        let ends = match question.undefined(self.measure, &units.totals()) {
            Some(reason) => Err(reason),
            None if units.is_alone() => Err(Undefined::OneUnit),
            None => {
                let method =
                    if self.measure.is_rate() { Method::ClopperPearson } else { Method::T };
                method.by_formula(&observed, self.level(n), self.unit)
            }
        };
        Ok((observed.value, ends))
    }

    /// -1 if series i is surely lower than j, 1 if surely higher, else 0; one of `n` differences.
    fn sign(&self, i: usize, j: usize, n: usize) -> Result<i8> {
        let question = Question::paired(vec![(i, 1.0), (j, -1.0)]);
        let units = self.units(&question)?;
        if question.undefined(self.measure, &units.totals()).is_some() || units.is_alone() {
            return Ok(0);
        }
        let level = self.level(n);
        let ends = if self.measure.is_rate() {
            mover::interval(&question, &units, self.measure, self.unit, level)
        } else {
            let observed = Observed::of(self.measure, &question, &units, self.unit);
            Method::T.by_formula(&observed, level, self.unit)
        };
        Ok(ends.map_or(0, |(low, high)| i8::from(low > 0.0) - i8::from(high < 0.0)))
    }

    /// The level of each of `n` intervals that hold jointly.
    fn level(&self, n: usize) -> f64 {
        1.0 - (1.0 - self.confidence_level) / n.max(1) as f64
    }
}
