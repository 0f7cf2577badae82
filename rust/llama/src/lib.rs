//! Scoring through a `libllama` that is already loaded in the process.
//!
//! [`plan`] decides, without calling llama.cpp, which tokens are decoded in which batch. A [`Run`] carries
//! a plan out: a [`Scorer`] scores, a [`Generator`] continues prompts. [`Tokenizer`] turns text into
//! tokens. [`probe`] reads and overwrites activations. All `unsafe` of the workspace is here.

mod api;
mod error;
#[cfg(test)]
mod fake;
mod generate;
mod handle;
pub mod logprob;
mod plan;
pub mod probe;
mod run;
mod scorer;
#[cfg(test)]
mod sharing;
mod tokenizer;
mod turn;

pub use api::{Api, BatchLayout};
pub use error::{Error, Kind, Result};
pub use generate::{Generated, Generation, Generator, Rules};
pub use handle::{Context, Interrupted, Model};
pub use logprob::Position;
pub use plan::{Limits, Packing, Plan, Ragged};
pub use run::{Run, Work};
pub use scorer::{Scored, Scorer, Scoring};
pub use tokenizer::{SpecialToken, Tokenizer};
pub use turn::{Lease, Turn};
