//! The arithmetic of `misfired`: pairs, measures, resampling. Knows nothing of Python or llama.cpp.
#![forbid(unsafe_code)]

pub mod bbq;
mod error;
pub mod matching;
pub mod stats;
pub mod veto;

pub use error::{Error, Kind, Result};
