//! Which tokens are decoded in which batch, and which cache cells they may see.
//!
//! Sequences are sorted; two neighbours share their longest common prefix, so that walking the sorted
//! list walks the trie of all sequences depth first. Every distinct prefix inside a block is decoded
//! once. [`Packing::Packed`] fills every batch: a token that several sequences share is tagged with all
//! of their ids, and a prefix that is in the cache already is handed on with `llama_memory_seq_cp`.
//! [`Packing::Stable`] does the same with batches of one shape, and draws by a seed which sequences meet.
//! [`Packing::Solo`] gives each sequence batches of its own and rolls the cache back to the shared
//! prefix. Nothing here calls llama.cpp; `design/scoring.md` says why it is done this way.

mod order;
mod packed;
mod solo;
mod step;

use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::handle::Capacity;
use order::Order;
use packed::Packed;
pub(crate) use solo::{GROUP, LEAST};
use solo::{Solo, chunk_end};
pub(crate) use step::{Copy, Step, Token};

/// The cache sequence that keeps the prefix common to all sequences.
pub(crate) const HEADER: i32 = 0;

/// The way in which sequences share batches and cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Full batches of many sequences.
    Packed,
    /// The same, each batch filled up to one shape, in an order drawn by seed.
    Stable,
    /// One sequence at a time, its prefix kept from the one before.
    Solo,
    /// One sequence at a time from an empty cache: for recurrent models, which cannot roll back.
    Fresh,
}

impl FromStr for Packing {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "packed" => Ok(Self::Packed),
            "stable" => Ok(Self::Stable),
            "solo" => Ok(Self::Solo),
            "fresh" => Ok(Self::Fresh),
            _ => Err(Error::UnknownPacking { word: word.to_owned() }),
        }
    }
}

/// Limits of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Tokens a batch.
    pub n_batch: usize,
    /// Cache sequences, the header's included; at least 3.
    pub n_seq_max: usize,
    /// Longest sequence that the context can hold beside one batch.
    pub n_longest: usize,
    /// Size of the vocabulary.
    pub n_vocab: usize,
    /// The way in which sequences share batches and cache.
    pub packing: Packing,
    /// A block is closed at the best boundary after this many decoded tokens.
    pub n_block: usize,
    /// Draws the order of [`Packing::Stable`].
    pub seed: u64,
}

impl Limits {
    /// Those of a context, for sequences of at most `n_longest` tokens.
    pub(crate) fn new(
        Capacity { n_batch, n_seq_max, n_vocab, .. }: Capacity,
        n_longest: usize,
        packing: Packing,
        n_block: usize,
        seed: u64,
    ) -> Self {
        Self { n_batch, n_seq_max, n_longest, n_vocab, packing, n_block, seed }
    }
}

/// Ragged rows in one flat array.
#[derive(Debug, Clone)]
pub struct Ragged {
    values: Vec<i32>,
    offsets: Vec<usize>,
}

impl Ragged {
    /// Rows `values[offsets[i]..offsets[i + 1]]`.
    ///
    /// # Errors
    /// [`Error::Offsets`] if the offsets do not describe the values.
    pub fn new(name: &'static str, values: Vec<i32>, offsets: Vec<usize>) -> Result<Self> {
        let ascend = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if offsets.first() != Some(&0) || offsets.last() != Some(&values.len()) || !ascend {
            return Err(Error::Offsets { name, n_values: values.len() });
        }
        Ok(Self { values, offsets })
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The same rows with each value changed.
    fn mapped(&self, change: impl Fn(i32) -> i32) -> Self {
        let values = self.values.iter().map(|&value| change(value)).collect();
        Self { values, offsets: self.offsets.clone() }
    }

    /// One row.
    pub(crate) fn row(&self, index: usize) -> &[i32] {
        &self.values[self.offsets[index]..self.offsets[index + 1]]
    }
}

/// The order in which distinct sequences are decoded, cut into blocks.
///
/// A block starts from a cache that holds the header only, so that it gives the same bits whether or
/// not other blocks ran before it: a run that was cut short repeats whole blocks.
#[derive(Debug)]
pub struct Plan {
    sequences: Ragged,
    limits: Limits,
    /// Indices of all sequences, sorted by their tokens.
    order: Vec<usize>,
    /// Ranges of `order` that hold equal sequences.
    leaves: Vec<Range<usize>>,
    /// Length of the prefix shared with the leaf before.
    shared: Vec<usize>,
    header: usize,
    blocks: Vec<Range<usize>>,
}

impl Plan {
    /// Sort, find what is shared, cut into blocks.
    ///
    /// # Errors
    /// [`Error::EmptySequence`], [`Error::TooLong`], [`Error::TokenOutOfRange`] or [`Error::TooSmall`].
    pub fn new(sequences: Ragged, limits: Limits) -> Result<Self> {
        check(&sequences, &limits)?;
        let Order { indices: order, shared: common } = if limits.packing == Packing::Stable {
            check_all_ids(&sequences, limits.n_vocab)?;
            // Still depth first through the trie, with the children of each node in a drawn order.
            Order::new(&sequences.mapped(|id| drawn(limits.seed, id)))
        } else {
            Order::new(&sequences)
        };
        let leaves = equal_runs(&sequences, &order, &common);
        let is_valid = |leaf: &Range<usize>| {
            let new = &sequences.row(order[leaf.start])[common[leaf.start]..];
            check_ids(0, new, limits.n_vocab).is_ok()
        };
        if !leaves.iter().all(is_valid) {
            // The first row with such an id is named, in the order in which the rows were given.
            check_all_ids(&sequences, limits.n_vocab)?;
        }
        let mut shared: Vec<usize> = leaves.iter().skip(1).map(|leaf| common[leaf.start]).collect();
        // A header shorter than every sequence leaves each its own last token to be read.
        let shortest = leaves.iter().map(|leaf| sequences.row(order[leaf.start]).len()).min();
        let header = shared.iter().copied().min().unwrap_or(0).min(shortest.unwrap_or(1) - 1);
        let share = limits.packing != Packing::Fresh;
        let is_worth_it = leaves.len() > 1 && header >= LEAST;
        let header = if share && is_worth_it { header } else { 0 };
        shared.insert(0, header);
        if !share {
            shared.fill(0);
        }
        let mut plan = Self { sequences, limits, order, leaves, shared, header, blocks: vec![] };
        plan.blocks = plan.cut();
        Ok(plan)
    }

    /// Number of blocks.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Indices of the sequences that a block scores.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`].
    pub fn block_sequences(&self, block: usize) -> Result<&[usize]> {
        let leaves = self.block(block)?;
        if leaves.is_empty() {
            return Ok(&[]);
        }
        Ok(&self.order[self.leaves[leaves.start].start..self.leaves[leaves.end - 1].end])
    }

    /// Number of distinct sequences.
    #[cfg(test)]
    pub(crate) fn n_leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Tokens in distinct prefixes: what must be decoded at least.
    #[must_use]
    pub fn n_distinct_tokens(&self) -> usize {
        self.header + (0..self.leaves.len()).map(|leaf| self.n_new(leaf)).sum::<usize>()
    }

    /// The prefix common to all sequences.
    pub(crate) fn header(&self) -> &[i32] {
        if self.leaves.is_empty() { &[] } else { &self.tokens(0)[..self.header] }
    }

    /// The header in batches that fit.
    pub(crate) fn header_batches(&self) -> impl Iterator<Item = Vec<Token>> {
        let (ids, n_batch) = (self.header(), self.limits.n_batch);
        let mut end = 0;
        std::iter::from_fn(move || {
            let start = end;
            end = chunk_end(start, ids.len(), n_batch);
            let token = |pos: usize| Token { id: ids[pos], pos, sequences: vec![HEADER] };
            (start < end).then(|| (start..end).map(token).collect())
        })
    }

    /// Indices of the sequences that hold a leaf's tokens, equal ones together.
    pub(crate) fn leaf_sequences(&self, leaf: usize) -> &[usize] {
        &self.order[self.leaves[leaf].clone()]
    }

    /// Walk one block.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`].
    pub(crate) fn walk(&self, block: usize) -> Result<Walk> {
        let leaves = self.block(block)?;
        Ok(match self.limits.packing {
            Packing::Packed | Packing::Stable => Walk::Packed(Packed::new(self, leaves)),
            Packing::Solo | Packing::Fresh => Walk::Solo(Solo::new(self, leaves)),
        })
    }

    /// Leaves of a block.
    pub(crate) fn block(&self, index: usize) -> Result<Range<usize>> {
        let n_blocks = self.blocks.len();
        self.blocks.get(index).cloned().ok_or(Error::NoSuchBlock { index, n_blocks })
    }

    /// Tokens of a leaf.
    pub(crate) fn tokens(&self, leaf: usize) -> &[i32] {
        self.sequences.row(self.order[self.leaves[leaf].start])
    }

    fn n_new(&self, leaf: usize) -> usize {
        self.tokens(leaf).len() - self.shared[leaf]
    }

    /// Close a block where that costs little: among the boundaries after `n_block` to twice `n_block`
    /// decoded tokens, the first with the fewest tokens to decode again, and to fill a stable batch up.
    fn cut(&self) -> Vec<Range<usize>> {
        let mut blocks = vec![];
        let mut start = 0;
        while start < self.leaves.len() {
            // The first leaf of a block finds the header only.
            let mut n_tokens = self.shared[start] - self.header;
            let n_most = n_tokens + 2 * self.limits.n_block;
            let n_least = n_tokens + self.limits.n_block;
            let mut best: Option<(usize, usize)> = None;
            let mut end = start;
            while end < self.leaves.len() && n_tokens < n_most {
                n_tokens += self.n_new(end);
                end += 1;
                let cost = self.shared.get(end).copied().unwrap_or(0) + self.n_filled_up(n_tokens);
                if n_tokens >= n_least && best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, end));
                }
            }
            let best = best.filter(|_| end < self.leaves.len());
            let stop = best.map_or(end, |(_, stop)| stop);
            blocks.push(start..stop);
            start = stop;
        }
        blocks
    }

    /// Tokens that fill the last batch of a block up.
    fn n_filled_up(&self, n_tokens: usize) -> usize {
        let n_batch = if self.limits.packing == Packing::Stable { self.limits.n_batch } else { 1 };
        n_tokens.next_multiple_of(n_batch) - n_tokens
    }
}

/// Refuse ids outside the vocabulary; `index` is the number of their row.
pub(crate) fn check_ids(index: usize, ids: &[i32], n_vocab: usize) -> Result<()> {
    let is_outside = |id: i32| u64::from(id as u32) >= n_vocab as u64;
    // Without an early end the whole row is compared by vectors.
    if ids.iter().fold(false, |found, &id| found | is_outside(id)) {
        let token = ids.iter().copied().find(|&id| is_outside(id)).unwrap_or(-1);
        return Err(Error::TokenOutOfRange { index, token, n_vocab });
    }
    Ok(())
}

fn check(sequences: &Ragged, limits: &Limits) -> Result<()> {
    // A stable batch is filled up in a sequence of its own.
    let n_sequences = if limits.packing == Packing::Stable { 4 } else { 3 };
    for (name, value, least) in [
        ("n_batch", limits.n_batch, 1),
        ("n_seq_max", limits.n_seq_max, n_sequences),
        ("n_block", limits.n_block, 1),
    ] {
        if value < least {
            return Err(Error::TooSmall { name, value, least });
        }
    }
    for index in 0..sequences.len() {
        let row = sequences.row(index);
        if row.is_empty() {
            return Err(Error::EmptySequence { index });
        }
        if row.len() > limits.n_longest {
            return Err(Error::TooLong { index, n_tokens: row.len(), limit: limits.n_longest });
        }
    }
    Ok(())
}

fn check_all_ids(sequences: &Ragged, n_vocab: usize) -> Result<()> {
    (0..sequences.len()).try_for_each(|index| check_ids(index, sequences.row(index), n_vocab))
}

/// A number for a token, in an order that the seed draws; no two tokens have the same.
///
/// Each step is one to one on 31 bits, since [`Order`] takes no negative numbers. Source: the last step of
/// `MurmurHash3` (Appleby, public domain), cut to those bits, twice.
fn drawn(seed: u64, id: i32) -> i32 {
    const BITS: u32 = 0x7fff_ffff;
    let scrambled = |h: u32| {
        let h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b) & BITS;
        let h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35) & BITS;
        h ^ (h >> 16)
    };
    let [low, high] = [seed as u32 & BITS, (seed >> 31) as u32 & BITS];
    let inner = scrambled(id as u32 ^ scrambled(low));
    scrambled(inner.wrapping_add(scrambled(high)) & BITS) as i32
}

/// Runs of equal sequences: those that share all of their tokens.
fn equal_runs(sequences: &Ragged, order: &[usize], shared: &[usize]) -> Vec<Range<usize>> {
    let len = |place: usize| sequences.row(order[place]).len();
    let mut runs: Vec<Range<usize>> = vec![];
    for (place, &common) in shared.iter().enumerate().take(order.len()) {
        match runs.last_mut() {
            Some(run) if common == len(place) && common == len(place - 1) => {
                run.end += 1;
            }
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

/// The steps of one block, made one at a time.
#[derive(Debug)]
pub(crate) enum Walk {
    /// See [`Packing::Packed`].
    Packed(Packed),
    /// See [`Packing::Solo`].
    Solo(Solo),
}

impl Walk {
    /// The next batch, or none at the end of the block.
    pub(crate) fn step(&mut self, plan: &Plan) -> Option<Step> {
        match self {
            Self::Packed(walk) => walk.step(plan),
            Self::Solo(walk) => walk.step(plan),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
