//! Pairs from BBQ files.

use misfired_core::veto::{self, File, Pair, TextColumn, strict};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::{enter_core, enter_pool};

type TextColumns<'py> = Vec<(&'static str, Bound<'py, PyList>)>;
type Ids<'py> = Bound<'py, PyArray1<i64>>;

/// `(text columns, stereotyped example ids, contrast example ids)` of the pairs of
/// `(name, category, content)` BBQ files.
#[pyfunction]
pub(crate) fn veto_pairs(
    py: Python<'_>,
    files: Vec<(String, String, String)>,
) -> PyResult<(TextColumns<'_>, Ids<'_>, Ids<'_>)> {
    let files = files_of(files);
    let pairs = enter_pool(py, None, |_| veto::build(&files))?;
    let ids = |of: fn(&Pair) -> i64| pairs.iter().map(of).collect::<Vec<_>>().into_pyarray(py);
    Ok((
        text_columns(py, &Pair::TEXT_COLUMNS, &pairs)?,
        ids(|pair| pair.stereotyped_example_id),
        ids(|pair| pair.contrast_example_id),
    ))
}

/// `(text columns, stereotyped example ids, contrast example ids, distances, exact swaps)` of the
/// strict pairs of `(path, category)` BBQ files.
#[pyfunction]
pub(crate) fn strict_pairs(
    py: Python<'_>,
    files: Vec<(String, String, String)>,
) -> PyResult<(TextColumns<'_>, [Ids<'_>; 3], Bound<'_, PyArray1<bool>>)> {
    let files = files_of(files);
    let pairs = enter_pool(py, None, |_| strict::build(&files))?;
    let numbers =
        |of: fn(&strict::Pair) -> i64| pairs.iter().map(of).collect::<Vec<_>>().into_pyarray(py);
    let swaps: Vec<bool> = pairs.iter().map(|pair| pair.exact_swap).collect();
    Ok((
        text_columns(py, &strict::Pair::TEXT_COLUMNS, &pairs)?,
        [
            numbers(|pair| pair.stereotyped.example_id),
            numbers(|pair| pair.contrast.example_id),
            numbers(|pair| i64::from(pair.distance)),
        ],
        swaps.into_pyarray(py),
    ))
}

fn files_of(files: Vec<(String, String, String)>) -> Vec<File> {
    files.into_iter().map(|(name, category, content)| File { name, category, content }).collect()
}

fn text_columns<'py, P>(
    py: Python<'py>,
    columns: &[TextColumn<P>],
    pairs: &[P],
) -> PyResult<TextColumns<'py>> {
    columns
        .iter()
        .map(|(name, cell)| Ok((*name, PyList::new(py, pairs.iter().map(cell))?)))
        .collect()
}

/// The statement that a BBQ question asks to verify of an answer, or nothing.
#[pyfunction]
pub(crate) fn bbq_statement(
    py: Python<'_>,
    question: &str,
    answer: &str,
) -> PyResult<Option<String>> {
    enter_core(py, || Ok(strict::statement(question, answer)))
}

/// Misprints of BBQ and what was meant.
#[pyfunction]
pub(crate) fn bbq_glitches() -> Vec<(&'static str, &'static str)> {
    strict::GLITCHES.to_vec()
}
