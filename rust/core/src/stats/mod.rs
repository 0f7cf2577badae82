//! Counts, measures, resampling and intervals.

mod adjust;
mod agreement;
mod detection;
mod draw;
mod error;
mod joint;
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
pub use error::StatsError;
pub use mcnemar::{Alternative, mcnemar};
pub use measure::{Measure, Undefined};
pub use method::{Method, proportion_interval};
pub use normal::t_quantile;
pub use permutation::{PermutationOptions, Permuted, asymmetry, change};
pub use planning::{Design, design_effect, intraclass_correlation};
pub use ranking::{Ranked, ranking};
pub use request::{Estimate, Request, Summary};
pub use resample::resample;
pub use simulate::{Coverage, CoverageRequest, Population, coverage};
pub use units::{Items, Question, Unit};

use draw::{Dice, Purpose, Streams, Words};
use joint::Joint;
use method::{Ends, Observed};
use normal::{beta_quantile, normal_cdf, normal_quantile};
use order::{Keys, Position, quantile_pair};
use permutation::sign_flip_exact;
use spread::Spread;
use units::Units;
