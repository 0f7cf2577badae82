//! `misfired._core`: a table of contents; every function is in a module of its subject.
#![deny(unsafe_code)]

mod arguments;
mod errors;
mod generate;
mod inference;
mod llama;
mod matching;
mod probe;
mod ragged;
mod run;
mod score;
mod simulate;
mod stats;
mod veto;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::generate::Generator;
    #[pymodule_export]
    use super::inference::{
        adjust, agreement, design_effect, intraclass_correlation, mcnemar, permutation, power,
        proportion_interval, ranking, t_quantile,
    };
    #[pymodule_export]
    use super::llama::{Context, Library, Model, Tokenizer, Watcher};
    #[pymodule_export]
    use super::matching::match_texts;
    #[pymodule_export]
    use super::probe::{ProbeRequest, Prober, embeddings};
    #[pymodule_export]
    use super::run::Run;
    #[pymodule_export]
    use super::score::Scorer;
    #[pymodule_export]
    use super::simulate::coverage;
    #[pymodule_export]
    use super::stats::{measure_values, resample};
    #[pymodule_export]
    use super::veto::{bbq_glitches, bbq_statement, strict_pairs, veto_pairs};
    use super::{Bound, PyModule, PyModuleMethods, PyResult};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("build_profile", if cfg!(debug_assertions) { "debug" } else { "release" })
    }
}
