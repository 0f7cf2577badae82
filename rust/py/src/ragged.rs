//! Rows of unequal length, which cross the border as two arrays.

use misfired_llama::{Ragged, Result};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

/// All rows' numbers, and the offsets where rows begin and the last one ends.
#[derive(FromPyObject)]
pub(crate) struct Rows<'py>(PyReadonlyArray1<'py, i32>, PyReadonlyArray1<'py, i64>);

impl Rows<'_> {
    /// The same as slices, which may be read without the GIL.
    pub(crate) fn slices(&self) -> PyResult<Slices<'_>> {
        Ok(Slices { values: self.0.as_slice()?, offsets: self.1.as_slice()? })
    }
}

/// Numbers and offsets of rows.
#[derive(Clone, Copy)]
pub(crate) struct Slices<'a> {
    values: &'a [i32],
    offsets: &'a [i64],
}

impl Slices<'_> {
    /// Copy the rows, of which there may be gigabytes.
    pub(crate) fn ragged(self, name: &'static str) -> Result<Ragged> {
        let offset = |&offset: &i64| usize::try_from(offset).unwrap_or(usize::MAX);
        Ragged::new(name, self.values.to_vec(), self.offsets.iter().map(offset).collect())
    }
}
