//! Matching texts of two sides.
#![expect(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]

use misfired_core::matching::{self, Match, Roles, Text};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::arguments::{Whole, elements};
use crate::errors::{enter_pool, raise};

type Matches<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<bool>>,
    Vec<String>,
);
/// Texts, their groups, and their people: no names at all, or two lists of them.
type Side<'py> = (Vec<String>, PyReadonlyArray1<'py, u32>, Vec<Vec<String>>);

/// `(left places, right places, distances, whether each is an exact swap, what differs)`.
#[pyfunction]
pub(crate) fn match_texts<'py>(
    py: Python<'py>,
    left: Side<'py>,
    right: Side<'py>,
    max_pairs: Whole,
) -> PyResult<Matches<'py>> {
    let left_texts = texts(py, &left)?;
    let right_texts = texts(py, &right)?;
    let left_groups = elements(&left.1, "left_groups")?;
    let right_groups = elements(&right.1, "right_groups")?;
    let max_pairs = max_pairs.named(py, "max_pairs")? as usize;
    let matched = enter_pool(py, None, |_| {
        matching::match_groups((&left_texts, left_groups), (&right_texts, right_groups), max_pairs)
    })?;
    let numbers =
        |of: fn(&Match) -> i64| matched.iter().map(of).collect::<Vec<_>>().into_pyarray(py);
    let exact: Vec<bool> = matched.iter().map(Match::is_exact_swap).collect();
    Ok((
        numbers(|one| one.left as i64),
        numbers(|one| one.right as i64),
        numbers(|one| i64::from(one.distance)),
        exact.into_pyarray(py),
        matched.into_iter().map(|one| one.differing).collect(),
    ))
}

fn texts<'t>(py: Python<'_>, (texts, _, people): &'t Side<'_>) -> PyResult<Vec<Text<'t>>> {
    let text = |text: &'t String, roles| Text { text, roles };
    match people.as_slice() {
        [] => Ok(texts.iter().map(|one| text(one, None)).collect()),
        [targets, others] if targets.len() == texts.len() && others.len() == texts.len() => {
            let people = targets.iter().zip(others);
            let roles = people.map(|(target, other)| Some(Roles { target, other }));
            Ok(texts.iter().zip(roles).map(|(one, roles)| text(one, roles)).collect())
        }
        lists => {
            let message =
                format!("people must be 0 lists, or 2 as long as texts, got {}", lists.len());
            Err(raise(py, "ArgumentError", message))
        }
    }
}
