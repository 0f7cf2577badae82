//! Scoring through a `libllama` that is already loaded in the process.
