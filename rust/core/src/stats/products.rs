//! Second moments of the drawn units, from which the variance of any measure follows.

use std::ops::AddAssign;

use super::Unit;
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

    /// Numbers that `sum_into` writes.
    pub(crate) fn n_sums(&self) -> usize {
        self.sizes.len() * self.stride
    }

    /// Sums over the drawn units of each stratum.
    pub(crate) fn sum_into(&self, units: &Units, drawn: &[u32], sums: &mut [f64]) {
        for (stratum, sums) in units.strata.iter().zip(sums.chunks_exact_mut(self.stride)) {
            match &self.table {
                Table::Small(table) => sum_drawn(table, &drawn[stratum.clone()], sums),
                Table::Narrow(table) => sum_drawn(table, &drawn[stratum.clone()], sums),
                Table::Wide(table) => sum_drawn(table, &drawn[stratum.clone()], sums),
                Table::Multiplied(table) => {
                    sums.fill(0.0);
                    let padded = self.stride.next_multiple_of(LANES);
                    for row in stratum.clone() {
                        let times = f64::from(drawn[row]);
                        let row = &table[row * padded..(row + 1) * padded];
                        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += times * x);
                    }
                }
            }
        }
    }

    /// (a, b, c, d) of a term from what `sum_into` wrote.
    pub(crate) fn totals(&self, sums: &[f64], term: usize) -> [f64; 4] {
        let cell = |cell: usize| {
            sums.chunks_exact(self.stride).map(|sums| sums[4 * term + cell]).sum::<f64>()
        };
        std::array::from_fn(cell)
    }

    /// The variance of the sum of a linear form over units drawn within strata.
    pub(crate) fn variance(&self, sums: &[f64], form: &[f64]) -> f64 {
        let mut variance = 0.0;
        for (&n, sums) in self.sizes.iter().zip(sums.chunks_exact(self.stride)) {
            let (firsts, mut seconds) = sums.split_at(self.n_cells);
            let mean: f64 = firsts.iter().zip(form).map(|(x, y)| x * y).sum();
            let (mut squares, mut scale) = (0.0, 0.0);
            for (i, x) in form.iter().enumerate() {
                let (line, rest) = seconds.split_at(self.n_cells - i);
                let cross: f64 = line[1..].iter().zip(&form[i + 1..]).map(|(s, y)| s * y).sum();
                squares += x * (x * line[0] + 2.0 * cross);
                scale += x * x * line[0];
                seconds = rest;
            }
            let spread = squares - mean * mean / n;
            // Units that are all alike leave nothing but rounding.
            variance += if spread > 1e-12 * scale { spread * n / (n - 1.0) } else { 0.0 };
        }
        variance
    }
}

fn sum_drawn<T: Copy + Default + AddAssign + Into<f64>>(
    table: &[T],
    drawn: &[u32],
    sums: &mut [f64],
) {
    // Constant lengths keep the sums in registers: one term, two, four.
    match sums.len().next_multiple_of(LANES) {
        16 => sum_rows::<T, 16>(table, drawn, sums),
        48 => sum_rows::<T, 48>(table, drawn, sums),
        152 => sum_rows::<T, 152>(table, drawn, sums),
        padded => {
            let mut sum = vec![T::default(); padded];
            for &index in drawn {
                let row = &table[index as usize * padded..][..padded];
                sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
            }
            sums.iter_mut().zip(sum).for_each(|(out, sum)| *out = sum.into());
        }
    }
}

fn sum_rows<T: Copy + Default + AddAssign + Into<f64>, const N: usize>(
    table: &[T],
    drawn: &[u32],
    sums: &mut [f64],
) {
    let (rows, _) = table.as_chunks::<N>();
    let mut sum = [T::default(); N];
    for &index in drawn {
        for (sum, &x) in sum.iter_mut().zip(&rows[index as usize]) {
            *sum += x;
        }
    }
    sums.iter_mut().zip(sum).for_each(|(out, sum)| *out = sum.into());
}
