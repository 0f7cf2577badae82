use thiserror::Error;

use crate::{Error, Kind, Result};

/// An error of the statistics. Messages name the argument, the value and the limit.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum StatsError {
    /// A word that an argument does not take.
    #[error("{name} must be one of {known}, got '{value}'")]
    UnknownName {
        /// The argument.
        name: &'static str,
        /// The value given.
        value: String,
        /// The words it takes.
        known: String,
    },
    /// A number outside its limits.
    #[error("{name} must {rule}, got {value}")]
    OutOfRange {
        /// The argument.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The verb phrase after "must".
        rule: &'static str,
    },
    /// A resample could hold more pairs than a 32-bit count can.
    #[error(
        "pairs of a resample must be at most 4294967295, got {n_units} units of up to {largest} pairs"
    )]
    TooManyPairs {
        /// Units in a resample.
        n_units: u64,
        /// Pairs in the largest unit.
        largest: u32,
    },
}

impl StatsError {
    /// The kind that decides which exception Python raises.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnknownName { .. } | Self::OutOfRange { .. } => Kind::Argument,
            Self::TooManyPairs { .. } => Kind::Data,
        }
    }
}

/// An error, as the answer of a check.
pub(crate) fn refuse<T>(name: &'static str, value: f64, rule: &'static str) -> Result<T> {
    Err(StatsError::OutOfRange { name, value, rule }.into())
}

/// Refuse what is not between 0 and 1, NaN too.
pub(crate) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    refuse("confidence_level", level, "be above 0 and below 1")
}

/// Most resamples, and most simulations: no count of them can overflow.
const MOST_RESAMPLES: u64 = 1_000_000_000_000;

/// Refuse no resamples, and more than can be counted.
pub(crate) fn check_resamples(n: u64) -> Result<()> {
    if (1..=MOST_RESAMPLES).contains(&n) {
        return Ok(());
    }
    refuse("n_resamples", n as f64, "be from 1 to 1000000000000")
}

/// Refuse no simulations, and more than can be counted.
pub(crate) fn check_simulations(n: u64) -> Result<()> {
    if (1..=MOST_RESAMPLES).contains(&n) {
        return Ok(());
    }
    refuse("n_simulations", n as f64, "be from 1 to 1000000000000")
}

/// Refuse a column that is not as long as those it belongs to.
pub(crate) fn check_length(name: &'static str, actual: usize, expected: usize) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(Error::LengthMismatch { name, actual, expected })
}
