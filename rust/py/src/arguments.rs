//! Arguments as the core takes them: whole numbers within 64 bits, arrays without gaps.

use misfired_core::stats::Items;
use numpy::{Element, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::errors::raise;

/// A whole number of Python's, which may be outside of 64 bits.
pub(crate) enum Whole {
    Within(u64),
    /// As Python prints it.
    Outside(String),
}

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(number) => Ok(Self::Within(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                // A number of thousands of digits is not printed, but refused alike.
                let text = object.str().and_then(|text| text.extract());
                Ok(Self::Outside(text.unwrap_or_else(|_| "a longer number".to_owned())))
            }
            Err(error) => Err(error),
        }
    }
}

impl Whole {
    /// The number, or an `ArgumentError` with the argument's name.
    pub(crate) fn named(self, py: Python<'_>, name: &str) -> PyResult<u64> {
        match self {
            Self::Within(number) => Ok(number),
            Self::Outside(text) => {
                let message = format!("{name} must be from 0 to {}, got {text}", u64::MAX);
                Err(raise(py, "ArgumentError", message))
            }
        }
    }
}

/// The number of threads; `None` for as many as there are cores.
pub(crate) fn threads(py: Python<'_>, n_threads: Option<Whole>) -> PyResult<Option<usize>> {
    n_threads.map(|n| n.named(py, "n_threads").map(|n| n as usize)).transpose()
}

/// The elements of a matrix row by row. `as_slice` would also hand out a Fortran-ordered one.
pub(crate) fn c_order<'a, T: Element>(
    matrix: &'a PyReadonlyArray2<'_, T>,
    name: &str,
) -> PyResult<&'a [T]> {
    if !matrix.is_c_contiguous() {
        let message =
            format!("{name} must be a matrix in C order, got one in Fortran order or with gaps");
        return Err(raise(matrix.py(), "ArgumentError", message));
    }
    Ok(matrix.as_slice()?)
}

/// The elements of an array.
pub(crate) fn elements<'a, T: Element>(
    array: &'a PyReadonlyArray1<'_, T>,
    name: &str,
) -> PyResult<&'a [T]> {
    if !array.is_contiguous() {
        let message = format!("{name} must be an array without gaps, got one with gaps");
        return Err(raise(array.py(), "ArgumentError", message));
    }
    Ok(array.as_slice()?)
}

/// Outcomes, with as many pairs in each column.
pub(crate) fn items<'a>(
    codes: &'a PyReadonlyArray2<'_, u8>,
    scenario: &'a PyReadonlyArray1<'_, u32>,
    category: &'a PyReadonlyArray1<'_, u32>,
) -> PyResult<Items<'a>> {
    let n_pairs = codes.shape()[1];
    if scenario.len() != n_pairs {
        let message = format!("scenario must have {n_pairs} values, got {}", scenario.len());
        return Err(raise(codes.py(), "ArgumentError", message));
    }
    Ok(Items {
        codes: c_order(codes, "codes")?,
        scenario: elements(scenario, "scenario")?,
        category: elements(category, "category")?,
    })
}
