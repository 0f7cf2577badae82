use thiserror::Error;

use crate::Kind;

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
