//! Reads and overwrites activations while a model runs, many interventions in one batch.
//!
//! A prompt is decoded once into a slot of the cache. An intervention at one of its positions is a
//! [`Job`] that continues the slot's cells up to that position on a sequence of its own, so that one
//! batch carries as many interventions as there are free sequences, and each costs the tokens from the
//! first overwritten position on. llama.cpp shows each node that is asked for to an eval callback,
//! which reads and overwrites the rows of the jobs.

mod attention;
mod batch;
pub(crate) mod callback;
mod embeddings;
mod ggml;
mod lens;
mod pack;
mod prober;
mod request;
mod sequences;

pub(crate) use callback::Ablation;
pub use callback::Watcher;
pub use embeddings::embeddings;
pub(crate) use ggml::Ggml;
pub use prober::{Answer, Prober};
pub(crate) use request::within;
pub use request::{Job, Request, Row, Shape, Site};
