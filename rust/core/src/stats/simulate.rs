//! Simulated benchmarks with known rates, to measure what intervals and tests are worth.

use rand_distr::{Beta, Distribution};
use rayon::prelude::*;

use super::resample::resample;
use super::{Items, Measure, Method, Purpose, Question, Request, Streams, Unit, Words};
use super::{check_simulations, refuse};
use crate::Result;
use crate::work::Stop;

/// Most pairs of a simulated benchmark.
const MOST_PAIRS: u64 = 10_000_000;

/// Benchmarks whose intervals are held at once.
const N_HELD: u64 = 4096;

/// Refuse more pairs than a simulation can draw between two looks at whether to stop.
pub(crate) fn check_sizes(sizes: &[u32], most: u64) -> Result<()> {
    let n_pairs: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    if n_pairs == 0 {
        return refuse("sizes", 0.0, "hold at least 1 pair");
    }
    if n_pairs.max(sizes.len() as u64) > most {
        return refuse("sizes", n_pairs as f64, "hold no more pairs than can be simulated");
    }
    Ok(())
}

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

    /// A benchmark, and the seed of its resamples. The seed is of the simulation's own stream: seeds that
    /// count up would be shared by neighbouring seeds of the simulation.
    fn simulate(&self, streams: &Streams, index: u64) -> (Benchmark, u64) {
        let mut words = streams.stream(index);
        (self.draw(&mut words), words.next_word())
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
                return refuse(name, value, "be between 0 and 1");
            }
        }
        check_sizes(&self.sizes, MOST_PAIRS)
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
pub struct CoverageRequest<'a> {
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
    /// Read once a block: the call may be told to stop.
    pub stop: &'a Stop,
}

/// Draw benchmarks, make intervals of MAR and of its change by each method, and see which hold the
/// truth. Answers in the order of methods: MAR, then its change.
///
/// # Errors
/// If an argument is out of range.
pub fn coverage(request: &CoverageRequest<'_>) -> Result<Vec<[Coverage; 2]>> {
    request.population.check()?;
    check_simulations(request.n_simulations)?;
    let truth = request.population.truth();
    let streams = Streams::new(request.seed, Purpose::Simulation);
    let simulate = |index: u64| {
        let (benchmark, seed) = request.population.simulate(&streams, index);
        let methods = request.methods.iter();
        methods.map(|&method| intervals(request, &benchmark, method, seed)).collect()
    };
    let mut total = vec![[Coverage::default(); 2]; request.methods.len()];
    for first in (0..request.n_simulations).step_by(N_HELD as usize) {
        let last = (first + N_HELD).min(request.n_simulations);
        let answers: Result<Vec<Vec<Intervals>>> =
            (first..last).into_par_iter().map(simulate).collect();
        // Summed in the order of simulations, so that threads cannot change the widths' rounding.
        for answer in answers? {
            for (total, intervals) in total.iter_mut().zip(answer) {
                for ((total, (low, high)), truth) in total.iter_mut().zip(intervals).zip(truth) {
                    total.add(low, high, truth);
                }
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
    request: &CoverageRequest<'_>,
    benchmark: &Benchmark,
    method: Method,
    seed: u64,
) -> Result<Intervals> {
    let category = vec![0; benchmark.scenario.len()];
    let mut questions = vec![Question::paired(vec![(0, 1.0)])];
    // Nothing changes where no priming adds misfires.
    if request.population.primed > 0.0 {
        questions.push(Question::paired(vec![(1, 1.0), (0, -1.0)]));
    }
    let summaries = resample(&Request {
        items: Items {
            codes: &benchmark.codes,
            scenario: &benchmark.scenario,
            category: &category,
        },
        questions,
        measures: vec![Measure::Mar],
        unit: request.unit,
        stratified: false,
        method: Some(method),
        confidence_level: request.confidence_level,
        n_resamples: Some(request.n_resamples),
        by_category: false,
        seed,
        stop: request.stop,
    })?;
    let ends = |question: usize| {
        let found = summaries[0].get(question).map(|summary| &summary.estimates[0]);
        found.map_or((f64::NAN, f64::NAN), |estimate| (estimate.low, estimate.high))
    };
    Ok([ends(0), ends(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_seeds_share_no_resamples() {
        let population = Population {
            sizes: vec![3; 4],
            mar: 0.2,
            primed: 0.1,
            accuracy_contrast: 0.9,
            correlation: 0.1,
        };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let streams = Streams::new(seed, Purpose::Simulation);
            seen.extend((0..20).map(|index| population.simulate(&streams, index).1));
        }
        assert_eq!(seen.len(), 400);
    }
}
