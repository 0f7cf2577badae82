//! Scoring through a `libllama` that is already loaded in the process.
//!
//! [`plan`] decides, without touching llama.cpp, which tokens are decoded in which batch; [`Scorer`]
//! carries a plan out; [`Tokenizer`] turns text into tokens; [`probe`] reads and overwrites what a model
//! computes. All `unsafe` of the workspace is here.

mod api;
mod decoder;
mod error;
mod generate;
mod handle;
mod logprob;
pub mod plan;
pub mod probe;
mod scorer;
mod tokenizer;

pub use api::{Api, BatchLayout};
pub use error::{Error, Kind, Result};
pub use generate::{Generated, Generator, Rules, Stop};
pub use handle::{Context, Model};
pub use logprob::{Position, position};
pub use scorer::{Scored, Scorer};
pub use tokenizer::{SpecialToken, Tokenizer};
