//! Simulated benchmarks with known rates, to measure what intervals and tests are worth.

use rand_distr::{Beta, Distribution};
use rayon::prelude::*;

use super::resample::{resample, with_threads};
use super::{Items, Measure, Method, Purpose, Question, Request, StatsError, Streams, Unit, Words};
use crate::Result;

/// A population of benchmarks like the real one.
#[derive(Debug, Clone)]
pub struct Population {
    /// Pairs in each scenario.
    pub sizes: Vec<u32>,
    /// P(stereotyped wrong | contrast right), 0 to 1.
    pub mar: f64,
    /// P(a pair that did not misfire does so when primed), 0 to 1.
    pub primed: f64,
    /// P(contrast right), 0 to 1.
    pub accuracy_contrast: f64,
    /// Correlation of misfires within a scenario: beta-distributed rates, 0 for one common rate.
    pub correlation: f64,
}

/// One simulated benchmark: codes of the unprimed and of the primed run, and scenarios.
#[derive(Debug, Clone, Default)]
pub(crate) struct Benchmark {
    /// Codes, unprimed then primed.
    pub codes: Vec<u8>,
    /// Scenario of each pair.
    pub scenario: Vec<u32>,
}

/// A uniform number in [0, 1) with 53 bits.
pub(crate) fn uniform(words: &mut Words) -> f64 {
    (words.next_word() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// A rate for one scenario, with the given mean and intra-scenario correlation.
pub(crate) fn scenario_rate(words: &mut Words, mean: f64, correlation: f64) -> f64 {
    let total = 1.0 / correlation - 1.0;
    if correlation >= 1.0 {
        return f64::from(u8::from(uniform(words) < mean));
    }
    if correlation <= 0.0 || mean <= 0.0 || mean >= 1.0 {
        return mean;
    }
    Beta::new(mean * total, (1.0 - mean) * total).map_or(mean, |beta| beta.sample(words))
}

impl Population {
    /// Draw a benchmark.
    pub(crate) fn draw(&self, words: &mut Words) -> Benchmark {
        let mut benchmark = Benchmark::default();
        let mut primed = Vec::new();
        for (scenario, &size) in self.sizes.iter().enumerate() {
            let rate = scenario_rate(words, self.mar, self.correlation);
            let more = scenario_rate(words, self.primed, self.correlation);
            for _ in 0..size {
                let contrast_wrong = uniform(words) >= self.accuracy_contrast;
                let wrong = uniform(words) < if contrast_wrong { 0.5 } else { rate };
                let primed_wrong = wrong || uniform(words) < more;
                benchmark.codes.push(u8::from(contrast_wrong) + 2 * u8::from(wrong));
                primed.push(u8::from(contrast_wrong) + 2 * u8::from(primed_wrong));
                benchmark.scenario.push(scenario as u32);
            }
        }
        benchmark.codes.extend(primed);
        benchmark
    }

    /// The true MAR and the true change in MAR, in percent.
    #[must_use]
    pub fn truth(&self) -> [f64; 2] {
        [100.0 * self.mar, 100.0 * (1.0 - self.mar) * self.primed]
    }

    fn check(&self) -> Result<()> {
        let shares = [
            ("mar", self.mar),
            ("primed", self.primed),
            ("accuracy_contrast", self.accuracy_contrast),
            ("correlation", self.correlation),
        ];
        for (name, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(
                    StatsError::OutOfRange { name, value, rule: "be between 0 and 1" }.into()
                );
            }
        }
        Ok(())
    }
}

/// Coverage of an interval over many simulated benchmarks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Coverage {
    /// Intervals that hold the true value.
    pub n_covered: u64,
    /// Intervals wholly below the true value.
    pub n_below: u64,
    /// Intervals wholly above the true value.
    pub n_above: u64,
    /// Benchmarks that gave no interval.
    pub n_undefined: u64,
    /// Sum of the widths, in percentage points.
    pub width: f64,
}

/// Settings of a coverage simulation.
#[derive(Debug, Clone)]
pub struct CoverageRequest {
    /// The population to simulate.
    pub population: Population,
    /// The methods under trial.
    pub methods: Vec<Method>,
    /// The unit of resampling.
    pub unit: Unit,
    /// Between 0 and 1.
    pub confidence_level: f64,
    /// Benchmarks to draw.
    pub n_simulations: u64,
    /// Resamples for each.
    pub n_resamples: u64,
    /// Seed.
    pub seed: u64,
    /// Threads.
    pub n_threads: Option<usize>,
}

/// Draw benchmarks, make intervals of MAR and of its change by each method, and see which hold the
/// truth. Answers in the order of methods: MAR, then its change.
///
/// # Errors
/// If an argument is out of range.
pub fn coverage(request: &CoverageRequest) -> Result<Vec<[Coverage; 2]>> {
    request.population.check()?;
    let truth = request.population.truth();
    let streams = Streams::new(request.seed, Purpose::Simulation);
    let simulate = |index: u64| {
        let benchmark = request.population.draw(&mut streams.stream(index));
        let methods = request.methods.iter();
        methods.map(|&method| intervals(request, &benchmark, method, index)).collect()
    };
    let answers: Vec<Result<Vec<Intervals>>> = with_threads(request.n_threads, || {
        (0..request.n_simulations).into_par_iter().map(simulate).collect()
    });
    let mut total = vec![[Coverage::default(); 2]; request.methods.len()];
    // Summed in the order of simulations, so that threads cannot change the widths' rounding.
    for answer in answers {
        for (total, intervals) in total.iter_mut().zip(answer?) {
            for ((total, (low, high)), truth) in total.iter_mut().zip(intervals).zip(truth) {
                total.add(low, high, truth);
            }
        }
    }
    Ok(total)
}

/// The ends of the intervals of MAR and of its change.
type Intervals = [(f64, f64); 2];

impl Coverage {
    fn add(&mut self, low: f64, high: f64, truth: f64) {
        if low.is_nan() {
            self.n_undefined += 1;
            return;
        }
        self.width += high - low;
        let place = match (high < truth, low > truth) {
            (true, _) => &mut self.n_below,
            (_, true) => &mut self.n_above,
            _ => &mut self.n_covered,
        };
        *place += 1;
    }
}

fn intervals(
    request: &CoverageRequest,
    benchmark: &Benchmark,
    method: Method,
    index: u64,
) -> Result<Intervals> {
    let category = vec![0; benchmark.scenario.len()];
    let summaries = resample(&Request {
        items: Items {
            codes: &benchmark.codes,
            scenario: &benchmark.scenario,
            category: &category,
        },
        questions: vec![
            Question::paired(vec![(0, 1.0)]),
            Question::paired(vec![(1, 1.0), (0, -1.0)]),
        ],
        measures: vec![Measure::Mar],
        unit: request.unit,
        stratified: false,
        method: Some(method),
        confidence_level: request.confidence_level,
        n_resamples: Some(request.n_resamples),
        by_category: false,
        seed: request.seed.wrapping_add(index),
        n_threads: None,
    })?;
    let ends = |question: usize| {
        let estimate = &summaries[0][question].estimates[0];
        (estimate.low, estimate.high)
    };
    Ok([ends(0), ends(1)])
}
