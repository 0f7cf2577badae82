//! One call of `llama_decode` and the changes to the cache before it.

/// `llama_memory_seq_cp(from, to, 0, len)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Sequence that holds the prefix.
    pub from: i32,
    /// Sequence that takes it.
    pub to: i32,
    /// Its length.
    pub len: usize,
}

/// One token of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// Token id.
    pub id: i32,
    /// Position in its sequences.
    pub pos: usize,
    /// Cache sequences that it belongs to.
    pub sequences: Vec<i32>,
}

/// One call of `llama_decode`: cut back, remove, copy, decode, then read the outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Length to which the header's sequence is cut back first.
    pub(crate) truncate: Option<usize>,
    /// Sequences to empty next.
    pub(crate) removes: Vec<i32>,
    /// Prefixes to hand on, in this order.
    pub(crate) copies: Vec<Copy>,
    /// The batch.
    pub tokens: Vec<Token>,
    /// (index in the batch, leaf of the plan) of the positions to read.
    pub(crate) outputs: Vec<(usize, usize)>,
    /// Further positions whose logits are made and not read, for a shape that does not vary.
    pub(crate) idle: Vec<usize>,
}
