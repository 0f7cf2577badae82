//! Resampling: arrays in, arrays out.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use misfired_core::stats::{self, Measure, Question, Request, Summary, Undefined};
use numpy::ndarray::{Array, ArrayView1, ArrayView2, IntoDimension};
use numpy::{
    IntoPyArray, PyArray2, PyArray3, PyArray4, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::arguments::{Whole, c_order, items};
use crate::errors::{enter_core, enter_pool, raise};

type Estimates<'py> = (
    Bound<'py, PyArray4<f64>>,
    Vec<Option<&'static str>>,
    Vec<&'static str>,
    Bound<'py, PyArray3<u64>>,
    Bound<'py, PyArray4<f64>>,
    Bound<'py, PyArray3<u64>>,
    Bound<'py, PyArray3<u64>>,
);

pub(crate) type Values<'py> = (Bound<'py, PyArray2<f64>>, Vec<Option<&'static str>>);

/// Resample once for all slices, questions and measures.
#[pyfunction]
#[pyo3(signature = (codes, scenario, category, weights, *, paired, measures, unit, by_category, stratified,
    method, confidence_level, n_resamples, seed, n_threads))]
#[expect(
    clippy::too_many_arguments,
    reason = "scalars cross one by one; Python passes them by name"
)]
pub(crate) fn resample<'py>(
    py: Python<'py>,
    codes: PyReadonlyArray2<'py, u8>,
    scenario: PyReadonlyArray1<'py, u32>,
    category: PyReadonlyArray1<'py, u32>,
    weights: PyReadonlyArray2<'py, f64>,
    paired: bool,
    measures: Vec<String>,
    unit: &str,
    by_category: bool,
    stratified: bool,
    method: Option<&str>,
    confidence_level: f64,
    n_resamples: Option<Whole>,
    seed: Whole,
    n_threads: Option<Whole>,
) -> PyResult<Estimates<'py>> {
    let items = items(&codes, &scenario, &category)?;
    let (n_series, n_weights) = (codes.shape()[0], weights.shape()[1]);
    if n_weights != n_series {
        let message = format!("weights must have {n_series} columns, got {n_weights}");
        return Err(raise(py, "ArgumentError", message));
    }
    let questions = questions(weights.as_array(), paired);
    let n_resamples = n_resamples.map(|n| n.named(py, "n_resamples")).transpose()?;
    let seed = seed.named(py, "seed")?;
    let summaries = enter_pool(py, n_threads, |stop| {
        let measures =
            measures.iter().map(|word| word.parse()).collect::<Result<Vec<Measure>, _>>()?;
        let (unit, method) = (unit.parse()?, method.map(str::parse).transpose()?);
        let request = Request {
            items,
            questions,
            measures,
            unit,
            by_category,
            stratified,
            method,
            confidence_level,
            n_resamples,
            seed,
            stop,
        };
        stats::resample(&request)
    })?;
    Ok(wrap(py, &summaries, measures.len()))
}

/// Values of measures, and why there is none, for each row of (a, b, c, d).
#[pyfunction]
pub(crate) fn measure_values<'py>(
    py: Python<'py>,
    counts: PyReadonlyArray2<'py, f64>,
    measures: Vec<String>,
) -> PyResult<Values<'py>> {
    let n_columns = counts.shape()[1];
    if n_columns != 4 {
        let message = format!("counts must have 4 columns, got {n_columns}");
        return Err(raise(py, "ArgumentError", message));
    }
    let rows: Vec<[f64; 4]> = c_order(&counts, "counts")?
        .chunks_exact(4)
        .map(|row| [row[0], row[1], row[2], row[3]])
        .collect();
    let shape = [rows.len(), measures.len()];
    let (values, reasons): (Vec<f64>, Vec<_>) = enter_core(py, || {
        let measures =
            measures.iter().map(|word| word.parse()).collect::<Result<Vec<Measure>, _>>()?;
        stats::check_table(&rows)?;
        let cells = rows.iter().flat_map(|&row| measures.iter().map(move |m| (m, row)));
        let values = cells.map(|(m, row)| (m.value(row), m.undefined(row).map(Undefined::name)));
        Ok(values.unzip())
    })?;
    Ok((array(shape, values.into_iter()).into_pyarray(py), reasons))
}

/// One question for each row of weights; a series with weight 0 takes no part.
fn questions(weights: ArrayView2<'_, f64>, paired: bool) -> Vec<Question> {
    let question = |row: ArrayView1<'_, f64>| Question {
        terms: row.iter().copied().enumerate().filter(|&(_, weight)| weight != 0.0).collect(),
        paired,
    };
    weights.rows().into_iter().map(question).collect()
}

fn wrap<'py>(py: Python<'py>, slices: &[Vec<Summary>], n_measures: usize) -> Estimates<'py> {
    let shape = [slices.len(), slices[0].len()];
    let summaries = || slices.iter().flatten();
    let estimates = || summaries().flat_map(|summary| &summary.estimates);
    let n_terms = summaries().map(|summary| summary.counts.len()).max().unwrap_or(0);
    let numbers = estimates().flat_map(|e| [e.value, e.low, e.high, e.standard_error]);
    let counts = summaries().flat_map(|summary| {
        let absent = std::iter::repeat_n([f64::NAN; 4], n_terms - summary.counts.len());
        summary.counts.iter().copied().chain(absent).flatten()
    });
    let sizes = summaries().flat_map(|s| [s.n_units, s.n_scored, s.n_unscored]);
    (
        array([shape[0], shape[1], n_measures, 4], numbers).into_pyarray(py),
        estimates().map(|e| e.reason.map(Undefined::name)).collect(),
        estimates().map(|e| e.method.name()).collect(),
        array([shape[0], shape[1], n_measures], estimates().map(|e| e.n_undefined))
            .into_pyarray(py),
        array([shape[0], shape[1], n_terms, 4], counts).into_pyarray(py),
        array([shape[0], shape[1], 3], sizes).into_pyarray(py),
        array([shape[0], shape[1], n_measures], estimates().map(|e| e.n_informative))
            .into_pyarray(py),
    )
}

fn array<T, S: IntoDimension>(shape: S, values: impl Iterator<Item = T>) -> Array<T, S::Dim> {
    Array::from_shape_vec(shape.into_dimension(), values.collect())
        .expect("as many values as the shape holds")
}
