//! Second moments of the drawn units, from which the variance of any measure follows.

use std::ops::AddAssign;

use super::Unit;
use super::block::{BLOCK, Column, Totals};
use super::units::Units;

/// For each row its counts and the upper triangle of their products: sums of rows give the variance
/// over the drawn units of any linear form of the counts.
pub(crate) struct Products {
    n_cells: usize,
    /// Counts, then products.
    stride: usize,
    /// Units in each stratum.
    sizes: Vec<f64>,
    table: Table,
}

/// Rows of counts and products, padded with zeros so that each begins at a whole vector.
enum Table {
    /// Indices are drawn and no sum can pass 16 bits: a quarter of the memory traffic of floats.
    Small(Vec<u16>),
    /// Indices are drawn and no sum can pass 32 bits.
    Narrow(Vec<u32>),
    /// Indices are drawn.
    Wide(Vec<f64>),
    /// Multiplicities are drawn.
    Multiplied(Vec<f64>),
}

/// Elements to which rows are padded: 16 bytes of the smallest.
const LANES: usize = 8;

impl Products {
    pub(crate) fn new(units: &Units, unit: Unit) -> Self {
        let n_cells = 4 * units.terms.len();
        let stride = n_cells + n_cells * (n_cells + 1) / 2;
        let padded = stride.next_multiple_of(LANES);
        let mut table = Vec::with_capacity(padded * units.n_rows());
        for row in 0..units.n_rows() {
            let cells = units.terms.iter().flat_map(|rows| rows[row].map(f64::from));
            let cells: Vec<f64> = cells.collect();
            table.extend(&cells);
            for i in 0..n_cells {
                table.extend(cells[i..].iter().map(|x| x * cells[i]));
            }
            table.resize((row + 1) * padded, 0.0);
        }
        let largest = table.iter().copied().fold(0.0, f64::max) * units.n_rows() as f64;
        let table = match unit {
            Unit::Pair => Table::Multiplied(table),
            Unit::Scenario if largest <= f64::from(u16::MAX) => {
                Table::Small(table.iter().map(|&x| x as u16).collect())
            }
            Unit::Scenario if largest < f64::from(u32::MAX) => {
                Table::Narrow(table.iter().map(|&x| x as u32).collect())
            }
            Unit::Scenario => Table::Wide(table),
        };
        let size = |stratum: &std::ops::Range<usize>| {
            units.multiplicity[stratum.clone()].iter().map(|&n| f64::from(n)).sum()
        };
        Self { n_cells, stride, sizes: units.strata.iter().map(size).collect(), table }
    }

    /// Zeros, one column for each stratum's counts and products.
    pub(crate) fn no_sums(&self) -> Vec<Column> {
        vec![[0.0; BLOCK]; self.sizes.len() * self.stride]
    }

    /// Set the sums over the drawn units of each stratum, for one resample of a block.
    pub(crate) fn sum_into(&self, units: &Units, drawn: &[u32], slot: usize, sums: &mut [Column]) {
        for (stratum, sums) in units.strata.iter().zip(sums.chunks_exact_mut(self.stride)) {
            let drawn = &drawn[stratum.clone()];
            match &self.table {
                Table::Small(table) => sum_drawn(table, drawn, slot, sums),
                Table::Narrow(table) => sum_drawn(table, drawn, slot, sums),
                Table::Wide(table) => sum_drawn(table, drawn, slot, sums),
                Table::Multiplied(table) => {
                    let padded = self.stride.next_multiple_of(LANES);
                    let mut sum = vec![0.0; padded];
                    let rows = table[stratum.start * padded..].chunks_exact(padded);
                    for (&times, row) in drawn.iter().zip(rows) {
                        let times = f64::from(times);
                        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += times * x);
                    }
                    put(sum, slot, sums);
                }
            }
        }
    }

    /// (a, b, c, d) of a term from what `sum_into` wrote.
    pub(crate) fn totals(&self, sums: &[Column], term: usize) -> Totals {
        let mut totals = Totals::new();
        for sums in sums.chunks_exact(self.stride) {
            totals.add(&sums[4 * term..4 * term + 4]);
        }
        totals
    }

    /// The variance of the sum of a linear form over units drawn within strata, for each resample. The
    /// form has one column for each count.
    pub(crate) fn variances(&self, sums: &[Column], form: &[Column]) -> Column {
        let used: Vec<usize> =
            (0..self.n_cells).filter(|&cell| form[cell].iter().any(|&x| x != 0.0)).collect();
        let mut variance = [0.0; BLOCK];
        for (&n, sums) in self.sizes.iter().zip(sums.chunks_exact(self.stride)) {
            let (firsts, seconds) = sums.split_at(self.n_cells);
            let (mut mean, mut squares, mut scale) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
            for (k, &i) in used.iter().enumerate() {
                // The line of the upper triangle that begins with the square of count `i`.
                let line = &seconds[i * self.n_cells - i * i.saturating_sub(1) / 2..];
                let mut cross = [0.0; BLOCK];
                for &j in &used[k + 1..] {
                    let (second, other) = (&line[j - i], &form[j]);
                    for slot in 0..BLOCK {
                        cross[slot] += second[slot] * other[slot];
                    }
                }
                let (x, square, first) = (&form[i], &line[0], &firsts[i]);
                for slot in 0..BLOCK {
                    mean[slot] += first[slot] * x[slot];
                    squares[slot] += x[slot] * (x[slot] * square[slot] + 2.0 * cross[slot]);
                    scale[slot] += x[slot] * x[slot] * square[slot];
                }
            }
            for slot in 0..BLOCK {
                let spread = squares[slot] - mean[slot] * mean[slot] / n;
                // Units that are all alike leave nothing but rounding.
                let is_spread = spread > 1e-12 * scale[slot];
                variance[slot] += if is_spread { spread * n / (n - 1.0) } else { 0.0 };
            }
        }
        variance
    }
}

fn sum_drawn<T: Copy + Default + AddAssign + Into<f64>>(
    table: &[T],
    drawn: &[u32],
    slot: usize,
    sums: &mut [Column],
) {
    // Constant lengths keep the sums in registers: one term, two, four.
    match sums.len().next_multiple_of(LANES) {
        16 => put(sum_rows::<T, 16>(table, drawn), slot, sums),
        48 => put(sum_rows::<T, 48>(table, drawn), slot, sums),
        152 => put(sum_rows::<T, 152>(table, drawn), slot, sums),
        padded => {
            let mut sum = vec![T::default(); padded];
            for &index in drawn {
                let row = &table[index as usize * padded..][..padded];
                sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
            }
            put(sum, slot, sums);
        }
    }
}

fn sum_rows<T: Copy + Default + AddAssign, const N: usize>(table: &[T], drawn: &[u32]) -> [T; N] {
    let (rows, _) = table.as_chunks::<N>();
    let mut sum = [T::default(); N];
    for &index in drawn {
        for (sum, &x) in sum.iter_mut().zip(&rows[index as usize]) {
            *sum += x;
        }
    }
    sum
}

fn put<T: Into<f64>>(sum: impl IntoIterator<Item = T>, slot: usize, sums: &mut [Column]) {
    sums.iter_mut().zip(sum).for_each(|(column, sum)| column[slot] = sum.into());
}
