//! One resampling pass for all slices, questions and measures.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::block::BLOCK;
use super::sample::Sample;
use super::units::{Question, Units};
use super::{
    Ends, Estimate, Joint, Keys, Measure, Method, Observed, Request, Summary, Undefined, mover,
    stream,
};
use crate::Result;

/// Values that are held at once, all questions and measures of a round together: 64 MiB.
const N_VALUES: usize = 1 << 23;

/// Resamples up to which all values of a question are held at once.
const N_HELD: u64 = 1 << 17;

/// Resample once and summarise every slice (all pairs, then each category in order) and question.
///
/// The draws of a slice depend on the seed, the resample and the units of that slice, not on threads
/// or on other slices. All questions of a call share them. Draws of scenarios do not depend on the
/// questions either, so that two series on the same scenarios are resampled alike between calls too.
///
/// # Errors
/// If an argument is out of range, or the columns differ in length.
pub fn resample(request: &Request<'_>) -> Result<Vec<Vec<Summary>>> {
    request.check()?;
    let n_categories = if request.by_category { request.items.n_categories() } else { 0 };
    let categories = (0..n_categories as u32).map(Some);
    let slices = std::iter::once(None).chain(categories);
    slices.map(|slice| summarise_slice(request, slice)).collect()
}

fn summarise_slice(request: &Request<'_>, slice: Option<u32>) -> Result<Vec<Summary>> {
    let stratified = request.stratified && slice.is_none();
    let joint = Joint::of(request, slice)?;
    let units: Vec<Units> = request
        .questions
        .iter()
        .map(|question| Units::collect(&request.items, slice, question, request.unit, stratified))
        .collect::<Result<_>>()?;
    let held = request.n_resamples.unwrap_or(N_HELD).min(N_HELD) as usize;
    let round = (N_VALUES / (held * request.measures.len())).max(1);
    let rounds = units.chunks(round).zip(request.questions.chunks(round));
    let summaries =
        rounds.map(|(units, questions)| summarise_round(request, units, questions, joint.as_ref()));
    Ok(summaries.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Draw, evaluate and summarise a few questions that fit in memory together.
fn summarise_round(
    request: &Request<'_>,
    units: &[Units],
    questions: &[Question],
    joint: Option<&Joint>,
) -> Result<Vec<Summary>> {
    let asked = questions.iter().zip(units);
    let observed: Vec<Vec<Observed>> = asked
        .clone()
        .map(|(question, units)| {
            request.measures.iter().map(|&m| request.observe(m, question, units)).collect()
        })
        .collect();
    let mut resampled = vec![vec![None; request.measures.len()]; questions.len()];
    let cells = (units, questions, joint);
    for method in Method::ALL.into_iter().filter(|method| method.resamples()) {
        let of_method = |index: usize, at: usize, _: &Resampled| {
            request.method_for(request.measures[at], &questions[index]) == method
        };
        resample_by(request, method, cells, of_method, &observed, &mut resampled)?;
    }
    let falls_back = |_: usize, _: usize, found: &Resampled| {
        found.is_some_and(|(_, ends, _)| request.falls_back(ends))
    };
    resample_by(request, Method::Bca, cells, falls_back, &observed, &mut resampled)?;
    let summarise = |(((question, units), observed), resampled): (((&Question, &Units), _), _)| {
        let counts = units.totals();
        let found = std::iter::zip::<&Vec<Observed>, Vec<Resampled>>(observed, resampled);
        let finish = |(&measure, (observed, resampled))| {
            finish(request, (question, units), measure, observed, resampled)
        };
        let estimates = request.measures.iter().zip(found).map(finish);
        Summary {
            estimates: estimates.collect(),
            n_units: units.n_units(),
            n_scored: units.n_scored,
            n_unscored: units.n_unscored,
            counts,
        }
    };
    Ok(asked.zip(&observed).zip(resampled).map(summarise).collect())
}

/// An interval by resampling: method, ends, and how many resamples had no value.
type Resampled = Option<(Method, Ends, u64)>;

/// Fill in the intervals of the wanted questions and measures by a method. Questions that want it for
/// the same measures share a pass.
fn resample_by(
    request: &Request<'_>,
    method: Method,
    (units, questions, joint): (&[Units], &[Question], Option<&Joint>),
    is_wanted: impl Fn(usize, usize, &Resampled) -> bool,
    observed: &[Vec<Observed>],
    resampled: &mut [Vec<Resampled>],
) -> Result<()> {
    let mut passes: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (index, found) in resampled.iter().enumerate() {
        let found = found.iter().enumerate();
        let wanted = found.filter(|&(at, found)| is_wanted(index, at, found)).map(|(at, _)| at);
        passes.entry(wanted.collect()).or_default().push(index);
    }
    for (measures, members) in passes.into_iter().filter(|(measures, _)| !measures.is_empty()) {
        let chosen = members.iter().map(|&index| (&questions[index], &units[index])).unzip();
        let known =
            members.iter().flat_map(|&index| measures.iter().map(move |&at| observed[index][at]));
        let known = known.collect();
        let measured = measures.iter().map(|&at| request.measures[at]).collect();
        let sample = Sample::new(request, method, measured, chosen, joint, known)?;
        let mut intervals = intervals(request, &sample)?.into_iter();
        for &index in &members {
            for &at in &measures {
                resampled[index][at] = intervals.next().map(|(ends, n)| (method, ends, n));
            }
        }
    }
    Ok(())
}

/// The interval of each question and measure of a sample, and how many resamples had no value.
fn intervals(request: &Request<'_>, sample: &Sample<'_>) -> Result<Vec<(Ends, u64)>> {
    if sample.n_resamples > N_HELD {
        return stream::intervals(sample, request.confidence_level);
    }
    held_intervals(request, sample)
}

fn held_intervals(request: &Request<'_>, sample: &Sample<'_>) -> Result<Vec<(Ends, u64)>> {
    let mut values = vec![0.0; sample.n_blocks() * sample.block_len()];
    values
        .par_chunks_mut(sample.block_len())
        .enumerate()
        .try_for_each(|(block, values)| sample.evaluate(block, values))?;
    let interval = |index: usize| {
        let mut keys = Keys::with_capacity(sample.n_resamples as usize);
        for (block, values) in values.chunks_exact(sample.block_len()).enumerate() {
            let resamples = sample.resamples(block);
            let values = &values[index * BLOCK..][..(resamples.end - resamples.start) as usize];
            keys.extend(values);
        }
        let observed = &sample.observed[index];
        let ends = sample.method.of_keys(observed, &mut keys, request.confidence_level);
        (ends, keys.n_nan)
    };
    Ok((0..sample.observed.len()).into_par_iter().map(interval).collect())
}

fn finish(
    request: &Request<'_>,
    (question, units): (&Question, &Units),
    measure: Measure,
    observed: &Observed,
    resampled: Resampled,
) -> Estimate {
    let (level, unit) = (request.confidence_level, request.unit);
    let chosen = request.method_for(measure, question);
    let (method, ends, n_undefined) = resampled.unwrap_or_else(|| {
        let ends = match chosen {
            Method::Mover if question.is_rate(measure) => {
                Method::ClopperPearson.by_formula(observed, level, unit)
            }
            Method::Mover => mover::interval(question, units, measure, unit, level),
            _ => chosen.by_formula(observed, level, unit),
        };
        (chosen, ends, 0)
    });
    let ends = match question.undefined(measure, &units.totals()) {
        Some(reason) => Err(reason),
        None if units.is_alone() => Err(Undefined::OneUnit),
        None => ends,
    };
    let (low, high) = ends.unwrap_or((f64::NAN, f64::NAN));
    Estimate {
        value: observed.value,
        low,
        high,
        standard_error: observed.spread.standard_error,
        method,
        n_informative: units.n_informative(measure),
        reason: ends.err(),
        n_undefined,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Items, Unit};
    use super::*;
    use crate::work::Stop;

    #[test]
    fn streaming_gives_the_very_intervals_of_held_values() {
        let scenario: Vec<u32> = (0..300).map(|pair| pair / 9).collect();
        let codes: Vec<u8> = (0..300_u32).map(|pair| (pair * 7 % 13 % 4) as u8).collect();
        let question = Question::paired(vec![(0, 1.0)]);
        for method in [Method::Percentile, Method::Basic, Method::Bca, Method::Studentised] {
            for unit in [Unit::Pair, Unit::Scenario] {
                let request = Request {
                    items: Items { codes: &codes, scenario: &scenario, category: &[0; 300] },
                    questions: vec![question.clone()],
                    measures: vec![Measure::Mar, Measure::Discrepancy, Measure::DPrime],
                    unit,
                    stratified: false,
                    method: Some(method),
                    confidence_level: 0.9,
                    n_resamples: Some(2_001),
                    by_category: false,
                    seed: 4,
                    stop: &Stop::default(),
                };
                let units = Units::collect(&request.items, None, &question, unit, false).unwrap();
                let measures = request.measures.clone();
                let observe = |&measure: &Measure| request.observe(measure, &question, &units);
                let observed = measures.iter().map(observe).collect();
                let asked = (vec![&question], vec![&units]);
                let sample =
                    Sample::new(&request, method, measures, asked, None, observed).unwrap();
                let held = held_intervals(&request, &sample).unwrap();
                assert_eq!(stream::intervals(&sample, 0.9).unwrap(), held, "{method:?} {unit:?}");
                assert!(held.iter().all(|(ends, _)| ends.is_ok()));
            }
        }
    }
}
