//! Tests, planning, agreement and ranking.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use misfired_core::stats::{
    self, Agreement, Alternative, Design, PermutationOptions, Permuted, RankingRequest, Ratings,
    Undefined,
};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::arguments::{Whole, c_order, elements, items};
use crate::errors::{enter_core, enter_pool};
use crate::stats::Values;

type Floats<'py> = Bound<'py, PyArray1<f64>>;

/// ln p of `McNemar`'s exact test for each pair of counts; NaN without discordant pairs.
#[pyfunction]
#[pyo3(signature = (b, c, *, alternative, mid_p))]
pub(crate) fn mcnemar<'py>(
    py: Python<'py>,
    b: PyReadonlyArray1<'py, u64>,
    c: PyReadonlyArray1<'py, u64>,
    alternative: &str,
    mid_p: bool,
) -> PyResult<Floats<'py>> {
    let (b, c) = (elements(&b, "b")?, elements(&c, "c")?);
    let log_p: Vec<f64> = enter_core(py, || {
        let alternative: Alternative = alternative.parse()?;
        stats::check_counts(b, c)?;
        let one = |(&b, &c)| stats::mcnemar(b, c, alternative, mid_p).unwrap_or(f64::NAN);
        Ok(b.iter().zip(c).map(one).collect())
    })?;
    Ok(log_p.into_pyarray(py))
}

/// Cluster permutation test: asymmetry of one series, or change of a measure between two.
/// (statistic, p value, its logarithm, exact, clusters, clusters that a flip changes)
#[pyfunction]
#[pyo3(signature = (codes, scenario, *, measure, unit, alternative, n_resamples, seed, n_threads))]
#[expect(
    clippy::too_many_arguments,
    reason = "scalars cross one by one; Python passes them by name"
)]
pub(crate) fn permutation(
    py: Python<'_>,
    codes: PyReadonlyArray2<'_, u8>,
    scenario: PyReadonlyArray1<'_, u32>,
    measure: Option<&str>,
    unit: &str,
    alternative: &str,
    n_resamples: Whole,
    seed: Whole,
    n_threads: Option<Whole>,
) -> PyResult<(f64, f64, f64, bool, u64, u64)> {
    let items = items(&codes, &scenario, &scenario)?;
    let (n_resamples, seed) = (n_resamples.named(py, "n_resamples")?, seed.named(py, "seed")?);
    let found: Permuted = enter_pool(py, n_threads, |stop| {
        let (unit, alternative) = (unit.parse()?, alternative.parse()?);
        let options = PermutationOptions { unit, alternative, n_resamples, seed, stop };
        match measure {
            Some(measure) => stats::change(&items, measure.parse()?, &options),
            None => stats::asymmetry(&items, &options),
        }
    })?;
    let Permuted { statistic, p_value, log_p_value, exact, n_clusters, n_informative } = found;
    Ok((statistic, p_value, log_p_value, exact, n_clusters, n_informative))
}

/// Adjusted p values of a family.
#[pyfunction]
pub(crate) fn adjust<'py>(
    py: Python<'py>,
    p_values: PyReadonlyArray1<'py, f64>,
    method: &str,
) -> PyResult<Floats<'py>> {
    let p_values = elements(&p_values, "p_values")?;
    let adjusted = enter_core(py, || stats::adjust(p_values, method.parse()?))?;
    Ok(adjusted.into_pyarray(py))
}

/// Wilson or Clopper-Pearson interval of a proportion, in percent; NaN without trials.
#[pyfunction]
#[pyo3(signature = (hits, n, *, method, confidence_level))]
pub(crate) fn proportion_interval(
    py: Python<'_>,
    hits: f64,
    n: f64,
    method: &str,
    confidence_level: f64,
) -> PyResult<(f64, f64)> {
    enter_core(py, || {
        let ends = stats::proportion_interval(hits, n, method.parse()?, confidence_level)?;
        Ok(ends.unwrap_or((f64::NAN, f64::NAN)))
    })
}

/// The quantile of Student's t; NaN where p is outside 0 to 1 or the degrees are not positive.
#[pyfunction]
pub(crate) fn t_quantile(py: Python<'_>, p: f64, degrees: f64) -> PyResult<f64> {
    enter_core(py, || Ok(stats::t_quantile(p, degrees)))
}

/// Intra-class correlation of hits in trials.
#[pyfunction]
pub(crate) fn intraclass_correlation(
    py: Python<'_>,
    hits: PyReadonlyArray1<'_, u32>,
    trials: PyReadonlyArray1<'_, u32>,
) -> PyResult<f64> {
    let (hits, trials) = (elements(&hits, "hits")?, elements(&trials, "trials")?);
    enter_core(py, || stats::intraclass_correlation(hits, trials))
}

/// Kish's design effect of clusters of these sizes.
#[pyfunction]
pub(crate) fn design_effect(
    py: Python<'_>,
    sizes: PyReadonlyArray1<'_, i64>,
    correlation: f64,
) -> PyResult<f64> {
    let sizes = elements(&sizes, "sizes")?;
    enter_core(py, || stats::design_effect(sizes, correlation))
}

/// Power by formula (no simulations), or the shares of simulated studies that `McNemar`, its mid-p
/// version and the sign-flip test reject.
#[pyfunction]
#[pyo3(signature = (sizes, *, gain, loss, correlation, alpha, alternative, n_simulations, seed, n_threads))]
#[expect(
    clippy::too_many_arguments,
    reason = "scalars cross one by one; Python passes them by name"
)]
pub(crate) fn power<'py>(
    py: Python<'py>,
    sizes: PyReadonlyArray1<'py, u32>,
    gain: f64,
    loss: f64,
    correlation: f64,
    alpha: f64,
    alternative: &str,
    n_simulations: Option<Whole>,
    seed: Whole,
    n_threads: Option<Whole>,
) -> PyResult<Floats<'py>> {
    let sizes = elements(&sizes, "sizes")?.to_vec();
    let n_simulations = n_simulations.map(|n| n.named(py, "n_simulations")).transpose()?;
    let seed = seed.named(py, "seed")?;
    let answer = enter_pool(py, n_threads, |stop| {
        let alternative = alternative.parse()?;
        let design = Design { sizes, gain, loss, correlation, alpha, alternative };
        match n_simulations {
            None => Ok(vec![design.power()?]),
            Some(n) => Ok(design.simulated_power(n, seed, stop)?.to_vec()),
        }
    })?;
    Ok(answer.into_pyarray(py))
}

/// A coefficient of agreement with its interval: (value, low, high, resamples without a value).
#[pyfunction]
#[pyo3(signature = (codes, cluster, *, n_values, method, confidence_level, n_resamples, seed, n_threads))]
#[expect(
    clippy::too_many_arguments,
    reason = "scalars cross one by one; Python passes them by name"
)]
pub(crate) fn agreement(
    py: Python<'_>,
    codes: PyReadonlyArray2<'_, u8>,
    cluster: PyReadonlyArray1<'_, u32>,
    n_values: Whole,
    method: &str,
    confidence_level: f64,
    n_resamples: Whole,
    seed: Whole,
    n_threads: Option<Whole>,
) -> PyResult<(f64, f64, f64, u64)> {
    let n_raters = codes.as_array().ncols();
    let (codes, cluster) = (c_order(&codes, "codes")?, elements(&cluster, "cluster")?);
    let n_values = n_values.named(py, "n_values")? as usize;
    let ratings = Ratings { codes, n_raters, n_values };
    let draws = (confidence_level, n_resamples.named(py, "n_resamples")?);
    let seed = seed.named(py, "seed")?;
    enter_pool(py, n_threads, |stop| {
        let method: Agreement = method.parse()?;
        method.estimate(ratings, cluster, draws, seed, stop)
    })
}

/// Ranks and simultaneous intervals: [series, (value, low, high, rank, best rank, worst rank)].
#[pyfunction]
#[pyo3(signature = (codes, scenario, category, *, measure, unit, stratified, confidence_level, n_threads))]
#[expect(
    clippy::too_many_arguments,
    reason = "scalars cross one by one; Python passes them by name"
)]
pub(crate) fn ranking<'py>(
    py: Python<'py>,
    codes: PyReadonlyArray2<'py, u8>,
    scenario: PyReadonlyArray1<'py, u32>,
    category: PyReadonlyArray1<'py, u32>,
    measure: &str,
    unit: &str,
    stratified: bool,
    confidence_level: f64,
    n_threads: Option<Whole>,
) -> PyResult<Values<'py>> {
    let items = items(&codes, &scenario, &category)?;
    let ranked = enter_pool(py, n_threads, |stop| {
        let (unit, measure) = (unit.parse()?, measure.parse()?);
        stats::ranking(&RankingRequest { items, measure, unit, stratified, confidence_level, stop })
    })?;
    let numbers = ranked.iter().flat_map(|r| {
        [r.value, r.low, r.high, f64::from(r.rank), f64::from(r.rank_low), f64::from(r.rank_high)]
    });
    let reasons = ranked.iter().map(|r| r.reason.map(Undefined::name)).collect();
    Ok((PyArray1::from_iter(py, numbers).reshape([ranked.len(), 6])?, reasons))
}
