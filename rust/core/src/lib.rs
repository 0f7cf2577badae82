//! The arithmetic of `misfired`: pairs, measures, resampling. Knows nothing of Python or llama.cpp.
#![forbid(unsafe_code)]

mod bbq;
mod error;
pub mod matching;
pub mod stats;
pub mod veto;
pub mod work;

pub use bbq::BbqError;
pub use error::{Error, Kind, Result};
