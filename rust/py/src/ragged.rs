//! Rows of unequal length, which cross the border as two arrays.

use misfired_llama::{Ragged, Result};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

/// All rows' numbers, and the offsets where rows begin and the last one ends.
#[derive(FromPyObject)]
pub(crate) struct Rows<'py>(PyReadonlyArray1<'py, i32>, PyReadonlyArray1<'py, i64>);

impl Rows<'_> {
    /// The same in Rust, or what is wrong with the offsets, to be raised like any other error.
    pub(crate) fn ragged(&self, name: &'static str) -> PyResult<Result<Ragged>> {
        let offset = |&offset: &i64| usize::try_from(offset).unwrap_or(usize::MAX);
        let offsets = self.1.as_slice()?.iter().map(offset).collect();
        Ok(Ragged::new(name, self.0.as_slice()?.to_vec(), offsets))
    }
}
