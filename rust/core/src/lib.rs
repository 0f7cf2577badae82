//! The arithmetic of `misfired`: pairs, measures, resampling. Knows nothing of Python or llama.cpp.
#![forbid(unsafe_code)]

mod error;
pub mod stats;

pub use error::{Error, Kind, Result};
