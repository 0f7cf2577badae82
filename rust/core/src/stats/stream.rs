//! Exact quantiles of more resamples than are held in memory.
//!
//! The resamples are made twice, which their streams make possible: the first time they are counted
//! in bins, the second time only those in the bins of the wanted ranks are kept. Memory does not
//! depend on the number of resamples, except for the few in those bins.

use rayon::prelude::*;

use super::block::BLOCK;
use super::order::interpolate;
use super::sample::Sample;
use super::{Ends, Keys, Method, Observed, Position, Undefined};
use crate::Result;

const N_BINS: usize = 1 << 16;

/// Resampled values of one question and measure, counted.
#[derive(Clone)]
struct Tally {
    bins: Vec<u64>,
    position: Position,
    n_nan: u64,
}

/// The ranks at which an interval is read off, or why there is none.
type Ranks = std::result::Result<[f64; 2], Undefined>;

/// The bin of a value: any function that never falls as the value rises.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn bin(self, value: f64) -> usize {
        let share = if self.low.is_finite() && self.high.is_finite() {
            (value - self.low) / (self.high - self.low)
        } else if value.is_infinite() {
            f64::from(u8::from(value > 0.0))
        } else {
            0.5 + 0.5 * (value / (1.0 + value.abs()))
        };
        ((share * N_BINS as f64) as usize).min(N_BINS - 1)
    }
}

/// The interval of each question and measure, and how many resamples had no value.
pub(crate) fn intervals(sample: &Sample<'_>, level: f64) -> Result<Vec<(Ends, u64)>> {
    let method = sample.method;
    let scales: Vec<Scale> = sample.observed.iter().map(|o| scale(method, o)).collect();
    let tallies = count(sample, &scales)?;
    let ranks: Vec<Ranks> = tallies
        .iter()
        .zip(&sample.observed)
        .map(|(tally, observed)| {
            let (low, high) = method.probabilities(observed, tally.position, level)?;
            let last = (tally.position.n_defined - 1) as f64;
            Ok([low, high].map(|p| p.clamp(0.0, 1.0) * last))
        })
        .collect();
    let shelves: Vec<Vec<Shelf>> =
        tallies.iter().zip(&ranks).map(|(tally, ranks)| tally.shelves(ranks)).collect();
    let shelves = collect(sample, &scales, shelves)?;
    let intervals = (0..tallies.len()).map(|index| {
        let ends = ranks[index].and_then(|[low, high]| {
            let quantiles = (quantile(&shelves[index], low), quantile(&shelves[index], high));
            method.at_quantiles(&sample.observed[index], quantiles)
        });
        (ends, tallies[index].n_nan)
    });
    Ok(intervals.collect())
}

fn scale(method: Method, observed: &Observed) -> Scale {
    if method == Method::Studentised {
        return Scale { low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    Scale { low: observed.range.0, high: observed.range.1 }
}

/// Run over all blocks on all threads. Each thread has a state of its own; states hold whole numbers
/// and multisets, so that neither the split nor the order of merging can matter.
fn for_each_value<S: Send>(
    sample: &Sample<'_>,
    start: impl Fn() -> S + Sync,
    add: impl Fn(&mut S, usize, &[f64]) + Sync,
) -> Result<Vec<S>> {
    let n_parts = rayon::current_num_threads();
    let run = |part: usize| {
        let mut state = start();
        let mut values = vec![0.0; sample.block_len()];
        for block in (part..sample.n_blocks()).step_by(n_parts) {
            let resamples = sample.resamples(block);
            sample.evaluate(block, &mut values)?;
            for (index, values) in values.chunks_exact(BLOCK).enumerate() {
                add(&mut state, index, &values[..(resamples.end - resamples.start) as usize]);
            }
        }
        Ok(state)
    };
    (0..n_parts).into_par_iter().map(run).collect()
}

fn count(sample: &Sample<'_>, scales: &[Scale]) -> Result<Vec<Tally>> {
    let empty = Tally { bins: vec![0; N_BINS], position: Position::default(), n_nan: 0 };
    let start = || vec![empty.clone(); sample.observed.len()];
    let add = |tallies: &mut Vec<Tally>, index: usize, values: &[f64]| {
        let observed = sample.observed[index].value;
        let centre = if sample.method == Method::Studentised { 0.0 } else { observed };
        for &value in values {
            tallies[index].add(value, centre, scales[index]);
        }
    };
    let parts = for_each_value(sample, start, add)?;
    Ok(parts.into_iter().reduce(Tally::merge).unwrap_or_default())
}

impl Tally {
    fn add(&mut self, value: f64, centre: f64, scale: Scale) {
        if value.is_nan() {
            self.n_nan += 1;
            return;
        }
        self.bins[scale.bin(value)] += 1;
        self.position.n_defined += 1;
        self.position.n_below += u64::from(value < centre);
        self.position.n_equal += u64::from(value <= centre) - u64::from(value < centre);
    }

    fn merge(mut into: Vec<Self>, from: Vec<Self>) -> Vec<Self> {
        for (into, from) in into.iter_mut().zip(from) {
            for (bin, n) in into.bins.iter_mut().zip(from.bins) {
                *bin += n;
            }
            into.position.n_defined += from.position.n_defined;
            into.position.n_below += from.position.n_below;
            into.position.n_equal += from.position.n_equal;
            into.n_nan += from.n_nan;
        }
        into
    }

    /// The bins that hold the order statistics on both sides of each rank, still empty.
    fn shelves(&self, ranks: &Ranks) -> Vec<Shelf> {
        let Ok(ranks) = ranks else { return Vec::new() };
        let wanted = ranks.iter().flat_map(|rank| [rank.floor() as u64, rank.ceil() as u64]);
        let wanted: Vec<u64> = wanted.collect();
        let mut shelves = Vec::new();
        let mut n_before = 0;
        for (bin, &n) in self.bins.iter().enumerate() {
            if wanted.iter().any(|rank| (n_before..n_before + n).contains(rank)) {
                shelves.push(Shelf { bin, n_before, keys: Keys::default() });
            }
            n_before += n;
        }
        shelves
    }
}

/// The values of one bin.
#[derive(Clone)]
struct Shelf {
    bin: usize,
    n_before: u64,
    keys: Keys,
}

fn collect(
    sample: &Sample<'_>,
    scales: &[Scale],
    empty: Vec<Vec<Shelf>>,
) -> Result<Vec<Vec<Shelf>>> {
    let add = |shelves: &mut Vec<Vec<Shelf>>, index: usize, values: &[f64]| {
        for &value in values.iter().filter(|value| !value.is_nan()) {
            let bin = scales[index].bin(value);
            if let Some(shelf) = shelves[index].iter_mut().find(|shelf| shelf.bin == bin) {
                shelf.keys.push(value);
            }
        }
    };
    let parts = for_each_value(sample, || empty.clone(), add)?;
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or(empty);
    for part in parts {
        for (into, from) in total.iter_mut().flatten().zip(part.into_iter().flatten()) {
            into.keys.append(from.keys);
        }
    }
    total.iter_mut().flatten().for_each(|shelf| shelf.keys.sort());
    Ok(total)
}

/// The value at a fractional rank among all resamples.
fn quantile(shelves: &[Shelf], rank: f64) -> f64 {
    let at = |rank: f64| {
        let rank = rank as u64;
        let shelf = shelves.iter().rfind(|shelf| shelf.n_before <= rank);
        shelf.map_or(f64::NAN, |shelf| shelf.keys.get((rank - shelf.n_before) as usize))
    };
    let fraction = rank - rank.floor();
    if fraction > 0.0 { interpolate(at(rank.floor()), at(rank.ceil()), fraction) } else { at(rank) }
}
