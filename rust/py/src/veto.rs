//! Pairs from BBQ files.

use std::path::PathBuf;

use misfired_core::veto::{self, File, Pair};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::enter;

type TextColumns<'py> = Vec<(&'static str, Bound<'py, PyList>)>;
type Ids<'py> = Bound<'py, PyArray1<i64>>;

/// `(text columns, stereotyped example ids, contrast example ids)` of the pairs of
/// `(path, category)` BBQ files.
#[pyfunction]
pub(crate) fn veto_pairs(
    py: Python<'_>,
    files: Vec<(PathBuf, String)>,
) -> PyResult<(TextColumns<'_>, Ids<'_>, Ids<'_>)> {
    let files: Vec<File> =
        files.into_iter().map(|(path, category)| File { path, category }).collect();
    let pairs = enter(py, || veto::build(&files))?;
    let ids = |of: fn(&Pair) -> i64| pairs.iter().map(of).collect::<Vec<_>>().into_pyarray(py);
    let texts = Pair::TEXT_COLUMNS
        .iter()
        .map(|(name, cell)| PyList::new(py, pairs.iter().map(cell)).map(|column| (*name, column)));
    Ok((
        texts.collect::<PyResult<_>>()?,
        ids(|pair| pair.stereotyped_example_id),
        ids(|pair| pair.contrast_example_id),
    ))
}
