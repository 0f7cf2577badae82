//! Tests, planning, agreement and ranking.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use misfired_core::stats::{
    self, Agreement, Alternative, Design, Items, PermutationOptions, Permuted, RankingRequest,
    Ratings, Undefined,
};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::errors;
use crate::stats::{Values, c_order};

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
    let (b, c) = (b.as_slice()?, c.as_slice()?);
    let log_p: Vec<f64> = errors::enter_core(py, || {
        let alternative: Alternative = alternative.parse()?;
        let one = |(&b, &c)| stats::mcnemar(b, c, alternative, mid_p).unwrap_or(f64::NAN);
        Ok(b.iter().zip(c).map(one).collect())
    })?;
    Ok(log_p.into_pyarray(py))
}

/// Cluster permutation test: asymmetry of one series, or change of a measure between two.
/// (statistic, p value, exact, clusters, clusters that a flip changes)
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
    n_resamples: u64,
    seed: u64,
    n_threads: Option<usize>,
) -> PyResult<(f64, f64, bool, u64, u64)> {
    let (codes, scenario) = (c_order(&codes, "codes")?, scenario.as_slice()?);
    let items = Items { codes, scenario, category: scenario };
    let found: Permuted = errors::enter_core(py, || {
        let (unit, alternative) = (unit.parse()?, alternative.parse()?);
        let options = PermutationOptions { unit, alternative, n_resamples, seed, n_threads };
        match measure {
            Some(measure) => stats::change(&items, measure.parse()?, &options),
            None => stats::asymmetry(&items, &options),
        }
    })?;
    let Permuted { statistic, p_value, exact, n_clusters, n_informative } = found;
    Ok((statistic, p_value, exact, n_clusters, n_informative))
}

/// Adjusted p values of a family.
#[pyfunction]
pub(crate) fn adjust<'py>(
    py: Python<'py>,
    p_values: PyReadonlyArray1<'py, f64>,
    method: &str,
) -> PyResult<Floats<'py>> {
    let p_values = p_values.as_slice()?;
    let adjusted = errors::enter_core(py, || Ok(stats::adjust(p_values, method.parse()?)))?;
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
    errors::enter_core(py, || {
        let ends = stats::proportion_interval(hits, n, method.parse()?, confidence_level);
        Ok(ends.unwrap_or((f64::NAN, f64::NAN)))
    })
}

/// The quantile of Student's t.
#[pyfunction]
pub(crate) fn t_quantile(p: f64, degrees: f64) -> f64 {
    stats::t_quantile(p, degrees)
}

/// Intra-class correlation of hits in trials.
#[pyfunction]
pub(crate) fn intraclass_correlation(
    py: Python<'_>,
    hits: PyReadonlyArray1<'_, u32>,
    trials: PyReadonlyArray1<'_, u32>,
) -> PyResult<f64> {
    let (hits, trials) = (hits.as_slice()?, trials.as_slice()?);
    errors::enter_core(py, || Ok(stats::intraclass_correlation(hits, trials)))
}

/// Kish's design effect of clusters of these sizes.
#[pyfunction]
pub(crate) fn design_effect(sizes: PyReadonlyArray1<'_, i64>, correlation: f64) -> PyResult<f64> {
    Ok(stats::design_effect(sizes.as_slice()?, correlation))
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
    n_simulations: Option<u64>,
    seed: u64,
    n_threads: Option<usize>,
) -> PyResult<Floats<'py>> {
    let sizes = sizes.as_slice()?.to_vec();
    let answer = errors::enter_core(py, || {
        let alternative = alternative.parse()?;
        let design = Design { sizes, gain, loss, correlation, alpha, alternative };
        match n_simulations {
            None => Ok(vec![design.power()?]),
            Some(n) => Ok(design.simulated_power(n, seed, n_threads)?.to_vec()),
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
    n_values: usize,
    method: &str,
    confidence_level: f64,
    n_resamples: u64,
    seed: u64,
    n_threads: Option<usize>,
) -> PyResult<(f64, f64, f64, u64)> {
    let n_raters = codes.as_array().ncols();
    let (codes, cluster) = (c_order(&codes, "codes")?, cluster.as_slice()?);
    let ratings = Ratings { codes, n_raters, n_values };
    let draws = (confidence_level, n_resamples);
    errors::enter_core(py, || {
        let method: Agreement = method.parse()?;
        Ok(method.estimate(ratings, cluster, draws, seed, n_threads))
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
    n_threads: Option<usize>,
) -> PyResult<Values<'py>> {
    let codes = c_order(&codes, "codes")?;
    let items = Items { codes, scenario: scenario.as_slice()?, category: category.as_slice()? };
    let ranked = errors::enter_core(py, || {
        let (unit, measure) = (unit.parse()?, measure.parse()?);
        stats::ranking(&RankingRequest {
            items,
            measure,
            unit,
            stratified,
            confidence_level,
            n_threads,
        })
    })?;
    let numbers = ranked.iter().flat_map(|r| {
        [r.value, r.low, r.high, f64::from(r.rank), f64::from(r.rank_low), f64::from(r.rank_high)]
    });
    let reasons = ranked.iter().map(|r| r.reason.map(Undefined::name)).collect();
    Ok((PyArray1::from_iter(py, numbers).reshape([ranked.len(), 6])?, reasons))
}
