//! Simulations: how often intervals cover a truth that is known.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use misfired_core::stats::{self, Coverage, CoverageRequest, Method, Population};
use numpy::{PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::arguments::{Whole, elements};
use crate::errors::enter_pool;

/// Coverage of intervals: [method, (MAR, change), (covered, below, above, undefined, width)].
#[pyfunction]
#[pyo3(signature = (sizes, *, mar, primed, accuracy_contrast, correlation, methods, unit, confidence_level,
    n_simulations, n_resamples, seed, n_threads))]
#[expect(
    clippy::too_many_arguments,
    reason = "scalars cross one by one; Python passes them by name"
)]
pub(crate) fn coverage<'py>(
    py: Python<'py>,
    sizes: PyReadonlyArray1<'py, u32>,
    mar: f64,
    primed: f64,
    accuracy_contrast: f64,
    correlation: f64,
    methods: Vec<String>,
    unit: &str,
    confidence_level: f64,
    n_simulations: Whole,
    n_resamples: Whole,
    seed: Whole,
    n_threads: Option<Whole>,
) -> PyResult<Bound<'py, PyArray3<f64>>> {
    let sizes = elements(&sizes, "sizes")?.to_vec();
    let n_simulations = n_simulations.named(py, "n_simulations")?;
    let (n_resamples, seed) = (n_resamples.named(py, "n_resamples")?, seed.named(py, "seed")?);
    let rows = enter_pool(py, n_threads, |stop| {
        let methods =
            methods.iter().map(|word| word.parse()).collect::<Result<Vec<Method>, _>>()?;
        stats::coverage(&CoverageRequest {
            population: Population { sizes, mar, primed, accuracy_contrast, correlation },
            methods,
            unit: unit.parse()?,
            confidence_level,
            n_simulations,
            n_resamples,
            seed,
            stop,
        })
    })?;
    PyArray1::from_iter(py, rows.iter().flatten().flat_map(numbers)).reshape([rows.len(), 2, 5])
}

fn numbers(row: &Coverage) -> [f64; 5] {
    let counts = [row.n_covered, row.n_below, row.n_above, row.n_undefined].map(|n| n as f64);
    [counts[0], counts[1], counts[2], counts[3], row.width]
}
