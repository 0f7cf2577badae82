//! Many series on the same pairs: simultaneous intervals and ranks that respect the noise.

use rayon::prelude::*;

use super::resample::with_threads;
use super::sample::{BLOCK, Sample};
use super::units::{Question, Units};
use super::{Joint, Keys, Measure, Method, Request, Undefined, quantile_pair};
use crate::Result;

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
/// Values: one multiple of each standard error for all, the `confidence_level` quantile of the largest
/// of |resampled - observed| / error over series. Ranks: the same with all differences between two
/// series; a series surely above k others and surely below l has ranks k + 1 to n - l (Mogstad et
/// al. 2024, one joint confidence set for all ranks).
///
/// # Errors
/// If an argument is out of range.
pub fn ranking(request: &Request<'_>, measure: Measure) -> Result<Vec<Ranked>> {
    request.check()?;
    measure.of_one_table()?;
    let n = request.items.n_series();
    let questions = (0..n).map(|series| Question::paired(vec![(series, 1.0)])).collect();
    let request = &Request { questions, ..request.clone() };
    let collect =
        |question| Units::collect(&request.items, None, question, request.unit, request.stratified);
    let units: Vec<Units> = request.questions.iter().map(collect).collect::<Result<_>>()?;
    let values: Vec<f64> = request
        .questions
        .iter()
        .zip(&units)
        .map(|(question, units)| question.value(measure, &units.totals()))
        .collect();
    let scored: Vec<usize> = (0..n).filter(|&series| !values[series].is_nan()).collect();
    let draws = with_threads(request.n_threads, || draw(request, measure, &units))?;
    let singles: Vec<(usize, usize)> = scored.iter().map(|&i| (i, i)).collect();
    let mut couples = Vec::new();
    for (place, &i) in scored.iter().enumerate() {
        couples.extend(scored[place + 1..].iter().map(|&j| (i, j)));
    }
    let level = request.confidence_level;
    let slack = Question::paired(vec![(0, 1.0), (1, -1.0)]).slack(measure);
    let one = margins(&draws, &values, &singles, (level, slack));
    let two = margins(&draws, &values, &couples, (level, slack));
    let sure: Vec<(usize, usize)> = couples
        .iter()
        .zip(two)
        .filter(|&(&(i, j), margin)| (values[i] - values[j]).abs() > margin)
        .map(|(&(i, j), _)| if values[i] < values[j] { (i, j) } else { (j, i) })
        .collect();
    let rank = |series: usize| {
        let undefined = measure.undefined(units[series].totals()[0]);
        let margin = scored.iter().position(|&i| i == series).map_or(f64::NAN, |at| one[at]);
        let below = sure.iter().filter(|&&(_, high)| high == series).count() as u32;
        let above = sure.iter().filter(|&&(low, _)| low == series).count() as u32;
        let lower = scored.iter().filter(|&&i| values[i] < values[series]).count() as u32;
        let constant = (margin <= 0.0 || margin.is_nan()).then_some(Undefined::Constant);
        let reason = undefined.or(constant);
        let half = if reason.is_some() { f64::NAN } else { margin };
        let (least, most) = measure.range();
        Ranked {
            value: values[series],
            low: (values[series] - half).max(if half.is_nan() { f64::NAN } else { least }),
            high: (values[series] + half).min(if half.is_nan() { f64::NAN } else { most }),
            rank: lower + 1,
            rank_low: below + 1,
            rank_high: scored.len() as u32 - above,
            reason,
        }
    };
    Ok((0..n).map(rank).collect())
}

/// Resampled values, series by series, resample by resample.
fn draw(request: &Request<'_>, measure: Measure, units: &[Units]) -> Result<Vec<Vec<f64>>> {
    let joint = Joint::of(request, None)?;
    let asked = request.questions.iter().zip(units);
    let observed = asked.clone().map(|(question, units)| request.observe(measure, question, units));
    let observed = observed.collect();
    let method = Method::Percentile;
    let sample =
        Sample::new(request, method, vec![measure], asked.unzip(), joint.as_ref(), observed)?;
    let blocks: Vec<Vec<f64>> = (0..sample.n_blocks())
        .into_par_iter()
        .map(|block| {
            let mut values = vec![0.0; sample.block_len()];
            sample.evaluate(block, &mut values);
            values
        })
        .collect();
    let series = |series: usize| {
        let of_block = |(block, values): (usize, &Vec<f64>)| {
            let resamples = sample.resamples(block);
            let n = (resamples.end - resamples.start) as usize;
            values[series * BLOCK..series * BLOCK + n].to_vec()
        };
        blocks.iter().enumerate().flat_map(of_block).collect()
    };
    Ok((0..units.len()).map(series).collect())
}

/// For each series (i, i) or difference (i, j) the half-width that holds jointly for all.
fn margins(
    draws: &[Vec<f64>],
    values: &[f64],
    couples: &[(usize, usize)],
    (level, slack): (f64, f64),
) -> Vec<f64> {
    let deviation = |&(i, j): &(usize, usize), resample: usize| {
        let other = |values: f64, of_j: f64| if i == j { values } else { values - of_j };
        let gap = other(draws[i][resample], draws[j][resample]) - other(values[i], values[j]);
        if gap.abs() <= slack { 0.0 } else { gap }
    };
    let n = draws.first().map_or(0, Vec::len);
    let error = |couple: &(usize, usize)| {
        let finite = (0..n).map(|at| deviation(couple, at)).filter(|x| !x.is_nan());
        let (count, sum, squares) =
            finite.fold((0.0, 0.0, 0.0), |(k, s, q), x| (k + 1.0, s + x, q + x * x));
        ((squares - sum * sum / count) / (count - 1.0)).max(0.0).sqrt()
    };
    let errors: Vec<f64> = couples.par_iter().map(error).collect();
    let largest = |at: usize| {
        let ratios = couples.iter().zip(&errors).filter(|&(_, &error)| error > 0.0);
        ratios.map(|(couple, error)| (deviation(couple, at) / error).abs()).fold(0.0, f64::max)
    };
    let mut keys = Keys::default();
    keys.extend(&(0..n).into_par_iter().map(largest).collect::<Vec<f64>>());
    let (_, critical) = quantile_pair(&mut keys, 0.0, level);
    errors.into_iter().map(|error| critical * error).collect()
}
