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

enum Table {
    /// Indices are drawn and no sum can pass 32 bits: half the memory traffic.
    Narrow(Vec<u32>),
    /// Indices are drawn.
    Wide(Vec<f64>),
    /// Multiplicities are drawn.
    Multiplied(Vec<f64>),
}

impl Products {
    pub(crate) fn new(units: &Units, unit: Unit) -> Self {
        let n_cells = 4 * units.terms.len();
        let stride = n_cells + n_cells * (n_cells + 1) / 2;
        let mut table = Vec::with_capacity(stride * units.n_rows());
        for row in 0..units.n_rows() {
            let cells = units.terms.iter().flat_map(|rows| rows[row].map(f64::from));
            let cells: Vec<f64> = cells.collect();
            table.extend(&cells);
            for i in 0..n_cells {
                table.extend(cells[i..].iter().map(|x| x * cells[i]));
            }
        }
        let largest = table.iter().copied().fold(0.0, f64::max) * units.n_rows() as f64;
        let table = match unit {
            Unit::Pair => Table::Multiplied(table),
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

    /// Sums over the drawn units of each stratum.
    pub(crate) fn sums(&self, units: &Units, drawn: &[u32]) -> Vec<f64> {
        let mut sums = Vec::with_capacity(units.strata.len() * self.stride);
        for stratum in &units.strata {
            match &self.table {
                Table::Narrow(table) => {
                    sums.extend(self.sum_drawn(table, &drawn[stratum.clone()]).map(f64::from));
                }
                Table::Wide(table) => sums.extend(self.sum_drawn(table, &drawn[stratum.clone()])),
                Table::Multiplied(table) => {
                    let mut sum = vec![0.0; self.stride];
                    for row in stratum.clone() {
                        let times = f64::from(drawn[row]);
                        let row = &table[row * self.stride..(row + 1) * self.stride];
                        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += times * x);
                    }
                    sums.extend(sum);
                }
            }
        }
        sums
    }

    fn sum_drawn<T: Copy + Default + AddAssign>(
        &self,
        table: &[T],
        drawn: &[u32],
    ) -> impl Iterator<Item = T> + use<T> {
        // Constant lengths keep the sums in registers: one term, two, four.
        let sum = match self.stride {
            14 => sum_rows::<T, 14>(table, drawn),
            44 => sum_rows::<T, 44>(table, drawn),
            152 => sum_rows::<T, 152>(table, drawn),
            stride => {
                let mut sum = vec![T::default(); stride];
                for &index in drawn {
                    let row = &table[index as usize * stride..(index as usize + 1) * stride];
                    sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
                }
                sum
            }
        };
        sum.into_iter()
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

fn sum_rows<T: Copy + Default + AddAssign, const N: usize>(table: &[T], drawn: &[u32]) -> Vec<T> {
    let mut sum = [T::default(); N];
    for &index in drawn {
        let row = &table[index as usize * N..][..N];
        for (sum, &x) in sum.iter_mut().zip(row) {
            *sum += x;
        }
    }
    sum.to_vec()
}
