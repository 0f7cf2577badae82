//! A block of resamples, kept as columns, so that one instruction works on several of them.

/// Resamples that are drawn from one stream. It is part of what a seed means: with another number, the
/// same seed gives other draws.
pub(crate) const BLOCK: usize = 64;

/// One number for each resample of a block.
pub(crate) type Column = [f64; BLOCK];

/// (a, b, c, d) of the resamples of a block.
#[derive(Clone)]
pub(crate) struct Totals([Column; 4]);

impl Totals {
    /// Zeros.
    pub(crate) fn new() -> Self {
        Self([[0.0; BLOCK]; 4])
    }

    /// Add sums of counts, a column for each of (a, b, c, d).
    pub(crate) fn add(&mut self, sums: &[Column]) {
        for (total, sums) in self.0.iter_mut().zip(sums) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }

    /// Set the counts of one resample.
    pub(crate) fn set(&mut self, slot: usize, counts: [u32; 4]) {
        for (column, n) in self.0.iter_mut().zip(counts) {
            column[slot] = f64::from(n);
        }
    }

    /// The counts of one resample.
    pub(crate) fn at(&self, slot: usize) -> [f64; 4] {
        self.0.each_ref().map(|column| column[slot])
    }

    /// The columns of all resamples.
    pub(crate) fn whole(&self) -> &[Column; 4] {
        &self.0
    }

    /// The columns of the first `n` resamples.
    pub(crate) fn columns(&self, n: usize) -> [&[f64]; 4] {
        self.0.each_ref().map(|column| &column[..n])
    }
}
