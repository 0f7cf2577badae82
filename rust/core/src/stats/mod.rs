//! Counts, measures, resampling and intervals.

mod adjust;
mod agreement;
mod detection;
mod draw;
mod error;
mod mcnemar;
mod measure;
mod method;
mod multinomial;
mod normal;
mod order;
mod permutation;
mod planning;
mod products;
mod ranking;
mod request;
mod resample;
mod sample;
mod simulate;
mod spread;
mod stream;
mod units;

pub use adjust::{Adjustment, adjust};
pub use agreement::{Agreement, Ratings};
pub use draw::{Dice, Purpose, Streams, Words};
pub use error::StatsError;
pub use mcnemar::{Alternative, mcnemar};
pub use measure::{Counts, Measure, Undefined};
pub use method::{Ends, Method, Observed, proportion_interval};
pub use normal::{beta_quantile, normal_cdf, normal_quantile, t_cdf, t_quantile};
pub use order::{Keys, Position, quantile_pair};
pub use permutation::{
    PermutationOptions, Permuted, asymmetry, change, sign_flip_exact, swap_test,
};
pub use planning::{Design, design_effect, intraclass_correlation};
pub use ranking::{Ranked, ranking};
pub use request::{Estimate, Request, Summary};
pub use resample::resample;
pub use simulate::{Benchmark, Coverage, CoverageRequest, Population, coverage};
pub use spread::Spread;
pub use units::{Items, Question, Unit, Units};
