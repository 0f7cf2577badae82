use thiserror::Error;

use crate::bbq::BbqError;
use crate::stats::StatsError;

/// Shorthand for a result that fails with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error; each is one Python exception class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An argument is outside its limits (`misfired.ArgumentError`).
    Argument,
    /// A file or table does not hold what it should (`misfired.DataError`).
    Data,
    /// The call was told to stop; the exception is that of whoever told it.
    Interrupted,
}

/// An error of this crate. Messages name the argument, the value and the limit.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Two columns that belong together differ in length.
    #[error("{name} must have {expected} values, as many as the other columns, got {actual}")]
    LengthMismatch {
        /// The shorter or longer column.
        name: &'static str,
        /// Its length.
        actual: usize,
        /// The length of the others.
        expected: usize,
    },
    /// The call was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// The statistics refuse their arguments.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// A BBQ file does not hold what pairs are made of.
    #[error(transparent)]
    Bbq(#[from] BbqError),
}

impl Error {
    /// The kind that decides which exception Python raises.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::LengthMismatch { .. } => Kind::Argument,
            Self::Interrupted => Kind::Interrupted,
            Self::Stats(error) => error.kind(),
            Self::Bbq(_) => Kind::Data,
        }
    }
}
