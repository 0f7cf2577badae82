use thiserror::Error;

/// Shorthand for a result that fails with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of an error; each is one Python exception class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An argument is outside its limits (`misfired.ArgumentError`).
    Argument,
    /// The library or the model cannot be used (`misfired.ModelError`).
    Model,
    /// llama.cpp failed while it decoded (`misfired.ScoringError`).
    Scoring,
}

/// An error of this crate. Messages name the argument, the value and the limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The shared library is not in the process.
    #[error("{path}: this libllama is not loaded in the process ({reason})")]
    NotLoaded {
        /// The file asked for.
        path: String,
        /// The loader's message.
        reason: String,
    },
    /// The library lacks a function that this crate calls.
    #[error("{path}: libllama has no symbol {symbol}; see the supported range of llama-cpp-python")]
    MissingSymbol {
        /// The library's file.
        path: String,
        /// The function.
        symbol: String,
    },
    /// The layout of `llama_batch` differs from the one that this crate was compiled for.
    #[error(
        "llama_batch: {field} must be {expected}, got {actual} from the installed llama-cpp-python; see the supported range"
    )]
    Layout {
        /// Size or offset that differs.
        field: &'static str,
        /// Bytes in the installed package.
        actual: usize,
        /// Bytes compiled in.
        expected: usize,
    },
    /// A null address came in.
    #[error("{what} must have an address, got null")]
    NullAddress {
        /// Model or context.
        what: &'static str,
    },
    /// A context and a model that do not belong together.
    #[error("context must belong to the model, got one of another model")]
    ForeignContext,
    /// A model or context that is owned already.
    #[error("{what} must be adopted once, got one that is owned already")]
    AdoptedTwice {
        /// Model or context.
        what: &'static str,
    },
    /// A watcher of two contexts.
    #[error("watcher must serve one context, got that of another")]
    WatcherTaken,
    /// Somebody else has used the cache.
    #[error(
        "context must be used by one scorer, generator or prober at a time, but another has taken its cache since"
    )]
    CacheTaken,
    /// A step without a block.
    #[error("step must follow the start of a block, but none was started or the last step failed")]
    NotStarted,
    /// The work was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// A batch that llama.cpp would not survive.
    #[error("a batch must have 1 to {n_batch} tokens, got {n_tokens}")]
    BatchSize {
        /// Its tokens.
        n_tokens: usize,
        /// The most that the context takes.
        n_batch: usize,
    },
    /// A sequence that cannot be cut, as in a recurrent model.
    #[error("sequence {sequence} of the cache cannot be cut back to {len} tokens")]
    NotCut {
        /// Which sequence.
        sequence: i32,
        /// Tokens to keep.
        len: usize,
    },
    /// A slot that two jobs of a request would use.
    #[error("job {index}: slot {slot} must not be one that another job of the request fills")]
    SlotShared {
        /// The later of the jobs.
        index: usize,
        /// The slot.
        slot: usize,
    },
    /// A panic while llama.cpp called back.
    #[error("the callback panicked at node {node}: {reason}")]
    Panic {
        /// Name of the node.
        node: String,
        /// The panic's message.
        reason: String,
    },
    /// A sequence holds no token.
    #[error("sequence {index} must have at least 1 token, got 0")]
    EmptySequence {
        /// Which sequence.
        index: usize,
    },
    /// A sequence does not fit into the context.
    #[error("sequence {index} must have at most {limit} tokens to fit the context, got {n_tokens}")]
    TooLong {
        /// Which sequence.
        index: usize,
        /// Its length.
        n_tokens: usize,
        /// The longest that fits.
        limit: usize,
    },
    /// A token id outside the vocabulary.
    #[error("sequence {index}: token id must be in 0..{n_vocab}, got {token}")]
    TokenOutOfRange {
        /// Which sequence.
        index: usize,
        /// The id.
        token: i32,
        /// Size of the vocabulary.
        n_vocab: usize,
    },
    /// Offsets that do not describe the flat array.
    #[error("{name}: offsets must start at 0, ascend, and end at {n_values}, the number of values")]
    Offsets {
        /// Which ragged array.
        name: &'static str,
        /// Length of its values.
        n_values: usize,
    },
    /// A packing that does not exist.
    #[error("packing must be one of packed, solo, fresh, got '{word}'")]
    UnknownPacking {
        /// The word given.
        word: String,
    },
    /// A setting below its least value.
    #[error("{name} must be at least {least}, got {value}")]
    TooSmall {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: usize,
        /// Its least value.
        least: usize,
    },
    /// A block that the plan does not have.
    #[error("block must be in 0..{n_blocks}, got {index}")]
    NoSuchBlock {
        /// The one asked for.
        index: usize,
        /// The number of blocks.
        n_blocks: usize,
    },
    /// llama.cpp could not tokenise a text.
    #[error("llama_tokenize failed on a text of {n_bytes} bytes (code {code})")]
    Tokenize {
        /// Length of the text.
        n_bytes: usize,
        /// llama.cpp's return code.
        code: i32,
    },
    /// `llama_decode` failed.
    #[error("llama_decode failed with code {code} on a batch of {n_tokens} tokens: {}", decode_reason(*.code))]
    Decode {
        /// llama.cpp's return code.
        code: i32,
        /// Size of the batch.
        n_tokens: usize,
    },
    /// llama.cpp has no logits where they were asked for.
    #[error(
        "llama_get_logits_ith returned no logits for row {row} of a batch of {n_tokens} tokens"
    )]
    NoLogits {
        /// Index in the batch.
        row: usize,
        /// Size of the batch.
        n_tokens: usize,
    },
    /// The model lacks a node, or the context's parameters do not name the callback.
    #[error(
        "node {node} was not computed: the architecture names it differently, or the context has no callback"
    )]
    NodeMissing {
        /// Name of the node.
        node: String,
    },
    /// A name that two nodes carry.
    #[error("node {node} was computed twice in one batch")]
    NodeTwice {
        /// Name of the node.
        node: String,
    },
    /// A node that holds no plain f32 values.
    #[error("node {node} must be contiguous f32")]
    NodeType {
        /// Name of the node.
        node: String,
    },
    /// A node whose size does not fit the batch.
    #[error(
        "node {node} must hold rows of {width} for {n_tokens} tokens or {n_outputs} outputs, got {n_values} values"
    )]
    NodeShape {
        /// Name of the node.
        node: String,
        /// Number of its values.
        n_values: usize,
        /// Width of a row, or least number of cells.
        width: usize,
        /// Tokens in the batch.
        n_tokens: usize,
        /// Rows marked as outputs.
        n_outputs: usize,
    },
    /// Attention outside the cells of the prompt.
    #[error("node {node}: all attention must lie in the prompt's own cells, got {stray} outside")]
    CellOrder {
        /// Name of the node.
        node: String,
        /// The share outside.
        stray: String,
    },
    /// A number of a probe request outside its range.
    #[error("{what} {index}: {field} must be in {low}..{high}, got {value}")]
    OutOfRange {
        /// Job, edit, read or ablation.
        what: &'static str,
        /// Which one.
        index: usize,
        /// The number's name.
        field: &'static str,
        /// Its value.
        value: i64,
        /// Least value allowed.
        low: i64,
        /// One above the largest allowed.
        high: i64,
    },
    /// A site that does not exist.
    #[error("site must be one of residual, attention, feed_forward, got '{word}'")]
    UnknownSite {
        /// What was asked for.
        word: String,
    },
    /// Arrays of a probe request that do not fit together.
    #[error("{name} must have {expected} entries, got {actual}")]
    Length {
        /// The array.
        name: &'static str,
        /// Its length.
        actual: usize,
        /// The length that fits.
        expected: usize,
    },
    /// A context to be probed that has no callback.
    #[error("context must have a watcher to read or overwrite activations, got none")]
    Unwatched,
}

impl Error {
    /// The kind that decides which exception Python raises.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotLoaded { .. }
            | Self::MissingSymbol { .. }
            | Self::Layout { .. }
            | Self::NodeMissing { .. }
            | Self::NodeTwice { .. }
            | Self::NodeType { .. }
            | Self::NodeShape { .. }
            | Self::CellOrder { .. } => Kind::Model,
            Self::Tokenize { .. }
            | Self::Decode { .. }
            | Self::NoLogits { .. }
            | Self::Interrupted
            | Self::NotCut { .. }
            | Self::BatchSize { .. }
            | Self::Panic { .. } => Kind::Scoring,
            _ => Kind::Argument,
        }
    }
}

fn decode_reason(code: i32) -> &'static str {
    match code {
        1 => "no room in the K/V cache",
        2 => "aborted",
        -1 => "invalid batch",
        _ => "fatal error in the backend",
    }
}
