//! One resampling pass for all slices, questions and measures.

use std::ops::Range;

use rand_distr::{Binomial, Distribution};
use rayon::prelude::*;

use super::units::{Items, Question, Unit, Units};
use super::{Dice, Keys, Measure, Purpose, StatsError, Streams, Undefined, Words, quantile_pair};
use crate::Result;

/// How an interval is made from the resamples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The quantiles of the resampled values.
    Percentile,
}

impl std::str::FromStr for Method {
    type Err = StatsError;

    fn from_str(word: &str) -> std::result::Result<Self, StatsError> {
        match word {
            "percentile" => Ok(Self::Percentile),
            _ => Err(StatsError::UnknownName {
                name: "method",
                value: word.to_owned(),
                known: "percentile".to_owned(),
            }),
        }
    }
}

/// What to resample and what to report of it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The outcomes.
    pub items: Items<'a>,
    /// Series, or weighted sums of series, in the order of the answer.
    pub questions: Vec<Question>,
    /// Measures, in the order of the answer.
    pub measures: Vec<Measure>,
    /// What is drawn.
    pub unit: Unit,
    /// Whether the overall slice keeps the number of units of each category fixed.
    pub stratified: bool,
    /// How intervals are made.
    pub method: Method,
    /// Between 0 and 1.
    pub confidence_level: f64,
    /// Number of resamples, at least 1.
    pub n_resamples: u64,
    /// Seed; the same seed gives the same bits.
    pub seed: u64,
    /// Threads to use; as many as there are cores if `None`.
    pub n_threads: Option<usize>,
}

/// A measure of a question in a slice. NaN where there is no number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value at the observed counts.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Why there is no value.
    pub reason: Option<Undefined>,
    /// Resamples in which the measure has no value; they are left out of the interval.
    pub n_undefined: u64,
}

/// All estimates of a question in a slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// (a, b, c, d) for each term of the question.
    pub counts: Vec<[f64; 4]>,
    /// Units in the slice.
    pub n_units: u64,
    /// Pairs with all terms scored.
    pub n_scored: u64,
    /// Pairs with any term unscored.
    pub n_unscored: u64,
    /// One for each measure.
    pub estimates: Vec<Estimate>,
}

/// Resamples that are drawn together, small enough for their indices to stay in cache.
const BLOCK: usize = 64;

/// Values that are held at once, all questions and measures of a round together: 64 MiB.
const VALUES: usize = 1 << 23;

/// Resample once and summarise every slice (all pairs, then each category in order) and question.
///
/// The draws of a slice depend on the seed, the resample and the units of that slice, and on nothing
/// else: not on threads, on other slices, or on other questions. So two series on the same pairs are
/// always resampled alike, within a call and between calls.
///
/// # Errors
/// If an argument is out of range, or the columns differ in length.
pub fn resample(request: &Request<'_>) -> Result<Vec<Vec<Summary>>> {
    request.check()?;
    let slices: Vec<_> =
        std::iter::once(None).chain((0..request.items.n_categories() as u32).map(Some)).collect();
    with_threads(request.n_threads, || {
        slices.into_iter().map(|slice| summarise_slice(request, slice)).collect()
    })
}

/// Run `work` on a pool of `n_threads`, or on the common pool.
fn with_threads<T: Send>(n_threads: Option<usize>, work: impl FnOnce() -> T + Send) -> T {
    let pool = n_threads.and_then(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().ok());
    match pool {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

impl Request<'_> {
    fn check(&self) -> Result<()> {
        self.items.check()?;
        let level = self.confidence_level;
        let n_series = self.items.n_series();
        let known = |question: &Question| question.terms.iter().all(|&(at, _)| at < n_series);
        let refuse = |name, value, limit| Err(StatsError::OutOfRange { name, value, limit }.into());
        if !(level > 0.0 && level < 1.0) {
            return refuse("confidence_level", level, "above 0 and below 1");
        }
        if self.n_resamples == 0 {
            return refuse("n_resamples", 0.0, "at least 1");
        }
        if self.n_threads == Some(0) {
            return refuse("n_threads", 0.0, "at least 1");
        }
        if self.measures.is_empty() {
            return refuse("measures", 0.0, "at least 1 measure");
        }
        if self.items.n_pairs() > 0 && !self.questions.iter().all(known) {
            return refuse("questions", n_series as f64, "terms that name an existing series");
        }
        Ok(())
    }
}

fn summarise_slice(request: &Request<'_>, slice: Option<u32>) -> Result<Vec<Summary>> {
    let stratified = request.stratified && slice.is_none();
    let units: Vec<Units> = request
        .questions
        .iter()
        .map(|question| Units::collect(&request.items, slice, question, request.unit, stratified))
        .collect::<Result<_>>()?;
    let per_question = (request.n_resamples as usize).saturating_mul(request.measures.len()).max(1);
    let round = (VALUES / per_question).max(1);
    let mut summaries = Vec::with_capacity(units.len());
    for (units, questions) in units.chunks(round).zip(request.questions.chunks(round)) {
        summaries.extend(summarise_round(request, units, questions));
    }
    Ok(summaries)
}

/// Draw, evaluate and summarise a few questions that fit in memory together.
fn summarise_round(request: &Request<'_>, units: &[Units], questions: &[Question]) -> Vec<Summary> {
    let n_measures = request.measures.len();
    let per_block = units.len() * n_measures * BLOCK;
    let n_blocks = (request.n_resamples as usize).div_ceil(BLOCK);
    let mut values = vec![0.0; n_blocks * per_block];
    let draws = Draws::new(request, &units[0]);
    values.par_chunks_mut(per_block.max(1)).enumerate().for_each(|(block, values)| {
        let first = block * BLOCK;
        let resamples = first..(first + BLOCK).min(request.n_resamples as usize);
        draws.evaluate(&resamples, units, questions, &request.measures, values);
    });
    let summarise = |question: usize| {
        let estimates = (0..n_measures).map(|measure| {
            let offset = (question * n_measures + measure) * BLOCK;
            let mut keys = Keys::default();
            for (block, values) in values.chunks_exact(per_block).enumerate() {
                let n = BLOCK.min(request.n_resamples as usize - block * BLOCK);
                keys.extend(&values[offset..offset + n]);
            }
            let measure = request.measures[measure];
            estimate(request, measure, &questions[question], &units[question], keys)
        });
        summary(&units[question], estimates.collect())
    };
    (0..units.len()).into_par_iter().map(summarise).collect()
}

fn summary(units: &Units, estimates: Vec<Estimate>) -> Summary {
    Summary {
        counts: units.totals(),
        n_units: units.n_units(),
        n_scored: units.n_scored,
        n_unscored: units.n_unscored,
        estimates,
    }
}

fn estimate(
    request: &Request<'_>,
    measure: Measure,
    question: &Question,
    units: &Units,
    mut keys: Keys,
) -> Estimate {
    let totals = units.totals();
    let value = question.value(measure, &totals);
    let reason = totals.iter().find_map(|&counts| measure.undefined(counts));
    let tail = (1.0 - request.confidence_level) / 2.0;
    let (low, high) = match request.method {
        Method::Percentile if reason.is_none() => quantile_pair(&mut keys, tail, 1.0 - tail),
        Method::Percentile => (f64::NAN, f64::NAN),
    };
    Estimate { value, low, high, reason, n_undefined: keys.n_nan }
}

impl Question {
    /// The weighted sum of a measure at the given (a, b, c, d) of each term.
    #[must_use]
    pub fn value(&self, measure: Measure, totals: &[[f64; 4]]) -> f64 {
        self.terms.iter().zip(totals).map(|(&(_, w), &counts)| w * measure.value(counts)).sum()
    }
}

/// How the resamples of a slice are drawn.
enum Draws {
    /// Indices of scenarios: within each stratum as many as it has, the same for all questions.
    Scenarios { streams: Streams, strata: Vec<(Range<usize>, Dice)>, n_draws: usize },
    /// Counts of outcome patterns: within each stratum a multinomial over its patterns.
    Pairs { streams: Streams },
}

impl Draws {
    fn new(request: &Request<'_>, units: &Units) -> Self {
        let streams = Streams::new(request.seed, Purpose::Resample);
        match request.unit {
            Unit::Pair => Self::Pairs { streams },
            Unit::Scenario => {
                let dice = |range: &Range<usize>| (range.clone(), Dice::new(range.len() as u32));
                let strata = units.strata.iter().map(dice).collect();
                Self::Scenarios { streams, strata, n_draws: units.n_rows() }
            }
        }
    }

    /// Fill `values`, laid out as `[question][measure][resample of the block]`.
    fn evaluate(
        &self,
        resamples: &Range<usize>,
        units: &[Units],
        questions: &[Question],
        measures: &[Measure],
        values: &mut [f64],
    ) {
        let indices = self.indices(resamples);
        let mut totals = Vec::new();
        let per_question = measures.len() * BLOCK;
        for (index, values) in values.chunks_exact_mut(per_question.max(1)).enumerate() {
            self.totals(resamples, &indices, &units[index], &mut totals);
            for (&measure, values) in measures.iter().zip(values.chunks_exact_mut(BLOCK)) {
                weighted_values(measure, &questions[index], &totals, values);
            }
        }
    }

    /// Indices of the drawn scenarios, resample by resample; none when pairs are drawn.
    fn indices(&self, resamples: &Range<usize>) -> Vec<u32> {
        let Self::Scenarios { streams, strata, n_draws } = self else { return Vec::new() };
        let mut indices = vec![0; n_draws * resamples.len()];
        if *n_draws > 0 {
            for (resample, indices) in resamples.clone().zip(indices.chunks_exact_mut(*n_draws)) {
                let mut words = streams.stream(resample as u64);
                for (range, dice) in strata {
                    let offset = range.start as u32;
                    dice.roll_into(&mut words, offset, &mut indices[range.clone()]);
                }
            }
        }
        indices
    }

    /// (a, b, c, d) of each resample, for one term after the other.
    fn totals(
        &self,
        resamples: &Range<usize>,
        indices: &[u32],
        units: &Units,
        totals: &mut Vec<Vec<[u32; 4]>>,
    ) {
        totals.clear();
        match self {
            Self::Scenarios { n_draws, .. } => totals.extend(units.terms.iter().map(|rows| {
                let drawn = |resample| &indices[resample * n_draws..(resample + 1) * n_draws];
                (0..resamples.len()).map(|resample| sum_rows(rows, drawn(resample))).collect()
            })),
            Self::Pairs { streams } => {
                totals.resize(units.terms.len(), vec![[0; 4]; resamples.len()]);
                for (slot, resample) in resamples.clone().enumerate() {
                    draw_patterns(&mut streams.stream(resample as u64), units, slot, totals);
                }
            }
        }
    }
}

#[inline]
fn sum_rows(rows: &[[u32; 4]], drawn: &[u32]) -> [u32; 4] {
    let mut sum = [0; 4];
    for &index in drawn {
        let row = rows[index as usize];
        for (cell, count) in sum.iter_mut().zip(row) {
            *cell += count;
        }
    }
    sum
}

/// A multinomial draw of the pairs of each stratum over its patterns, by conditional binomials.
fn draw_patterns(words: &mut Words, units: &Units, slot: usize, totals: &mut [Vec<[u32; 4]>]) {
    for stratum in &units.strata {
        let mut open: u64 = units.multiplicity[stratum.clone()].iter().map(|&n| u64::from(n)).sum();
        let mut left = open;
        for row in stratum.clone() {
            let n = u64::from(units.multiplicity[row]);
            let drawn = if n == open {
                left
            } else {
                let share = n as f64 / open as f64;
                Binomial::new(left, share).expect("a share between 0 and 1").sample(words)
            };
            (open, left) = (open - n, left - drawn);
            for (rows, totals) in units.terms.iter().zip(&mut *totals) {
                for (total, count) in totals[slot].iter_mut().zip(rows[row]) {
                    *total += drawn as u32 * count;
                }
            }
        }
    }
}

fn weighted_values(
    measure: Measure,
    question: &Question,
    totals: &[Vec<[u32; 4]>],
    values: &mut [f64],
) {
    values.fill(0.0);
    for (&(_, weight), totals) in question.terms.iter().zip(totals) {
        for (value, counts) in values.iter_mut().zip(totals) {
            *value += weight * measure.value(counts.map(f64::from));
        }
    }
}
