//! Counts, measures, resampling and intervals.

mod draw;
mod error;
mod measure;
mod order;
mod resample;
mod units;

pub use draw::{Dice, Purpose, Streams, Words};
pub use error::StatsError;
pub use measure::{Counts, Measure, Undefined};
pub use order::{Keys, quantile_pair};
pub use resample::{Estimate, Method, Request, Summary, resample};
pub use units::{Items, Question, Unit, Units};
