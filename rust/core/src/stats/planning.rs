//! Number of scenarios that a study needs, by formula and by simulation.

use rand_distr::{Distribution, Gamma};
use rayon::prelude::*;

use super::simulate::{check_sizes, uniform};
use super::{Alternative, Purpose, Streams, Words, mcnemar, normal_cdf, normal_quantile};
use super::{check_length, check_simulations, refuse, sign_flip_exact};
use crate::Result;
use crate::work::Stop;

/// Most pairs of a study.
const MOST_PAIRS: u64 = 100_000_000;

/// Intra-class correlation of a binary outcome by analysis of variance: for each cluster the number
/// of hits and of trials. NaN if it cannot be estimated: fewer than two clusters with trials, no
/// cluster with two, or no variation.
///
/// # Errors
/// If there are not as many trials as hits, or fewer trials than hits in a cluster.
pub fn intraclass_correlation(hits: &[u32], trials: &[u32]) -> Result<f64> {
    check_length("trials", trials.len(), hits.len())?;
    if let Some((&x, _)) = hits.iter().zip(trials).find(|&(x, n)| x > n) {
        return refuse("hits", f64::from(x), "be at most the trials of the cluster");
    }
    let clusters: Vec<(f64, f64)> = hits
        .iter()
        .zip(trials)
        .filter(|&(_, &n)| n > 0)
        .map(|(&x, &n)| (f64::from(x), f64::from(n)))
        .collect();
    let k = clusters.len() as f64;
    let n: f64 = clusters.iter().map(|(_, n)| n).sum();
    let mean = clusters.iter().map(|(x, _)| x).sum::<f64>() / n;
    let between: f64 = clusters.iter().map(|(x, n)| n * (x / n - mean).powi(2)).sum();
    let within: f64 = clusters.iter().map(|(x, n)| x * (1.0 - x / n)).sum();
    let (between, within) = (between / (k - 1.0), within / (n - k));
    let size = (n - clusters.iter().map(|(_, n)| n * n).sum::<f64>() / n) / (k - 1.0);
    Ok((between - within) / (between + (size - 1.0) * within))
}

/// Kish's design effect of clusters of m items: 1 + (sum m^2 / sum m - 1) correlation. The variance of
/// a mean exceeds that of independent items by this factor.
///
/// # Errors
/// If a size is negative, or the correlation is outside -1 to 1.
pub fn design_effect<T: Copy + Into<i64>>(sizes: &[T], correlation: f64) -> Result<f64> {
    let sizes = || sizes.iter().map(|&m| -> i64 { m.into() });
    if let Some(size) = sizes().find(|&size| size < 0) {
        return refuse("sizes", size as f64, "be at least 0");
    }
    if !(-1.0..=1.0).contains(&correlation) {
        return refuse("correlation", correlation, "be from -1 to 1");
    }
    let sum: i128 = sizes().map(i128::from).sum();
    // A few squares of 63 bits pass 128 bits of no data that fit in memory; the sum of floats would round.
    let squares = sizes().fold(0_i128, |sum, size| sum.saturating_add(i128::from(size).pow(2)));
    Ok(1.0 + (squares as f64 / sum as f64 - 1.0) * correlation)
}

/// A comparison of paired outcomes: of each pair's two answers, the first alone is wrong with
/// probability `gain`, the second alone with probability `loss`.
#[derive(Debug, Clone)]
pub struct Design {
    /// Pairs in each scenario.
    pub sizes: Vec<u32>,
    /// Share of pairs that count for the difference, 0 to 1.
    pub gain: f64,
    /// Share of pairs that count against it, 0 to 1.
    pub loss: f64,
    /// Correlation within a scenario.
    pub correlation: f64,
    /// Significance level.
    pub alpha: f64,
    /// Which differences count.
    pub alternative: Alternative,
}

impl Design {
    fn check(&self) -> Result<()> {
        for (name, value) in [("gain", self.gain), ("loss", self.loss)] {
            if !(0.0..=1.0).contains(&value) || self.gain + self.loss > 1.0 {
                return refuse(name, value, "be between 0 and 1, and gain + loss at most 1");
            }
        }
        if !(0.0..1.0).contains(&self.correlation) {
            return refuse("correlation", self.correlation, "be at least 0 and below 1");
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return refuse("alpha", self.alpha, "be above 0 and below 1");
        }
        check_sizes(&self.sizes, MOST_PAIRS)
    }

    /// Power of the cluster sign-flip test by its normal approximation: the difference has variance
    /// deff v / n with v = (gain + loss) - (gain - loss)^2, where deff is the [`design_effect`]. The
    /// test takes the scenarios' squared differences about 0 for its variance, whose mean is
    /// deff v / n + (gain - loss)^2 sum m^2 / n^2.
    ///
    /// # Errors
    /// If a share is outside its limits.
    pub fn power(&self) -> Result<f64> {
        self.check()?;
        let n: f64 = self.sizes.iter().map(|&m| f64::from(m)).sum();
        let effect = self.gain - self.loss;
        let both = self.gain + self.loss;
        let deff = design_effect(&self.sizes, self.correlation)?;
        let squares: f64 = self.sizes.iter().map(|&m| f64::from(m).powi(2)).sum();
        let variance = deff * (both - effect * effect) / n;
        let null = (variance + effect * effect * squares / (n * n)).sqrt();
        let error = variance.sqrt();
        let tail = |effect: f64, alpha: f64| {
            let excess = effect - normal_quantile(1.0 - alpha) * null;
            if error > 0.0 { normal_cdf(excess / error) } else { f64::from(u8::from(excess > 0.0)) }
        };
        Ok(match self.alternative {
            Alternative::Greater => tail(effect, self.alpha),
            Alternative::Less => tail(-effect, self.alpha),
            Alternative::TwoSided => {
                tail(effect, self.alpha / 2.0) + tail(-effect, self.alpha / 2.0)
            }
        })
    }

    /// Differences of one simulated study: gains less losses of each scenario, and both in total.
    fn draw(&self, words: &mut Words) -> (Vec<i64>, u64, u64) {
        let (mut n_gain, mut n_loss) = (0, 0);
        let differences = self.sizes.iter().map(|&size| {
            let (gain, loss) = self.scenario_shares(words);
            let mut difference = 0;
            for _ in 0..size {
                let u = uniform(words);
                if u < gain {
                    (difference, n_gain) = (difference + 1, n_gain + 1);
                } else if u < gain + loss {
                    (difference, n_loss) = (difference - 1, n_loss + 1);
                }
            }
            difference
        });
        (differences.collect(), n_gain, n_loss)
    }

    /// Dirichlet-distributed shares, so that every outcome has the same intra-scenario correlation.
    fn scenario_shares(&self, words: &mut Words) -> (f64, f64) {
        let total = 1.0 / self.correlation - 1.0;
        if self.correlation <= 0.0 || !total.is_finite() {
            return (self.gain, self.loss);
        }
        let mut gamma =
            |share: f64| Gamma::new(share * total, 1.0).map_or(0.0, |gamma| gamma.sample(words));
        let shares = [gamma(self.gain), gamma(self.loss), gamma(1.0 - self.gain - self.loss)];
        let sum: f64 = shares.iter().sum();
        if sum > 0.0 { (shares[0] / sum, shares[1] / sum) } else { (self.gain, self.loss) }
    }

    /// Share of the simulated studies that each test rejects: exact `McNemar`, its mid-p version, and
    /// the exact cluster sign-flip test.
    ///
    /// # Errors
    /// If a share is outside its limits.
    pub fn simulated_power(&self, n_simulations: u64, seed: u64, stop: &Stop) -> Result<[f64; 3]> {
        self.check()?;
        check_simulations(n_simulations)?;
        let streams = Streams::new(seed, Purpose::Simulation);
        let alternative = self.alternative;
        let simulate = |index: u64| {
            stop.check()?;
            let (differences, gain, loss) = self.draw(&mut streams.stream(index));
            let plain = |mid_p| mcnemar(loss, gain, alternative, mid_p).map_or(1.0, f64::exp);
            let flip = sign_flip_exact(&differences, alternative, stop)?.map_or(1.0, |flip| flip.p);
            Ok([plain(false), plain(true), flip].map(|p| u64::from(p <= self.alpha)))
        };
        let add = |x: [u64; 3], y: [u64; 3]| Ok(std::array::from_fn(|i| x[i] + y[i]));
        let rejections: Result<[u64; 3]> =
            (0..n_simulations).into_par_iter().map(simulate).try_reduce(|| [0; 3], add);
        Ok(rejections?.map(|n| n as f64 / n_simulations as f64))
    }
}
