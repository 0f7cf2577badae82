//! What is resampled: pairs, or scenarios with all their pairs.

use std::collections::BTreeMap;
use std::ops::Range;

use super::StatsError;
use crate::{Error, Result};

/// The unit of resampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Each pair on its own.
    Pair,
    /// All pairs of a scenario together: they share a template and are not independent.
    Scenario,
}

impl std::str::FromStr for Unit {
    type Err = StatsError;

    fn from_str(word: &str) -> std::result::Result<Self, StatsError> {
        match word {
            "pair" => Ok(Self::Pair),
            "scenario" => Ok(Self::Scenario),
            _ => Err(StatsError::UnknownName {
                name: "unit",
                value: word.to_owned(),
                known: "pair, scenario".to_owned(),
            }),
        }
    }
}

/// Outcomes of one or several series (a model under a priming, say) on the same pairs.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// One row of `n_pairs` codes per series: 0 = a, 1 = b, 2 = c, 3 = d, anything else unscored.
    pub codes: &'a [u8],
    /// Scenario of each pair. Units are resampled in the order of these numbers.
    pub scenario: &'a [u32],
    /// Category of each pair, from 0.
    pub category: &'a [u32],
}

impl Items<'_> {
    /// Number of pairs.
    #[must_use]
    pub fn n_pairs(&self) -> usize {
        self.scenario.len()
    }

    /// Number of series.
    #[must_use]
    pub fn n_series(&self) -> usize {
        self.codes.len().checked_div(self.n_pairs()).unwrap_or(0)
    }

    /// Number of categories.
    #[must_use]
    pub fn n_categories(&self) -> usize {
        self.category.iter().max().map_or(0, |&last| last as usize + 1)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let expected = self.n_pairs();
        if self.category.len() != expected {
            let actual = self.category.len();
            return Err(Error::LengthMismatch { name: "category", actual, expected });
        }
        if expected > 0 && self.codes.len() % expected != 0 {
            let actual = self.codes.len();
            return Err(Error::LengthMismatch { name: "codes", actual, expected });
        }
        Ok(())
    }

    /// The pairs of a slice: all (`None`) or those of one category.
    fn pairs_of(&self, slice: Option<u32>) -> Vec<usize> {
        (0..self.n_pairs())
            .filter(|&pair| slice.is_none_or(|category| self.category[pair] == category))
            .collect()
    }
}

/// A weighted sum of a measure over series, on the pairs that all of them scored: one series with
/// weight 1, or a difference (1, -1), or a difference of differences (1, -1, -1, 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// (series, weight)
    pub terms: Vec<(usize, f64)>,
}

/// The counts that each unit of a slice contributes to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    /// For each term of the question: (a, b, c, d) of each row.
    pub terms: Vec<Vec<[u32; 4]>>,
    /// How many units have this row. Scenarios: 1 each; pairs: one row for each pattern of outcomes.
    pub multiplicity: Vec<u32>,
    /// Rows that are resampled among themselves.
    pub strata: Vec<Range<usize>>,
    /// Pairs with all terms scored.
    pub n_scored: u64,
    /// Pairs with any term unscored.
    pub n_unscored: u64,
}

/// Rows under construction, keyed by stratum, then scenario or pattern: ordered, so that the order
/// in which pairs come cannot matter.
type Cells = BTreeMap<(u32, u32), Cell>;

#[derive(Default)]
struct Cell {
    n_pairs: u32,
    terms: Vec<[u32; 4]>,
}

impl Units {
    /// Collect the units of a slice.
    ///
    /// # Errors
    /// If a resample could hold more pairs than a 32-bit count can.
    pub fn collect(
        items: &Items<'_>,
        slice: Option<u32>,
        question: &Question,
        unit: Unit,
        stratified: bool,
    ) -> Result<Self> {
        let mut n_unscored = 0;
        let mut cells = Cells::new();
        for pair in items.pairs_of(slice) {
            let stratum = if stratified { items.category[pair] } else { 0 };
            let pattern = items.pattern(question, pair);
            n_unscored += u64::from(pattern.is_none());
            let key = match (unit, pattern) {
                (Unit::Scenario, _) => items.scenario[pair],
                (Unit::Pair, Some(pattern)) => pattern,
                (Unit::Pair, None) => continue,
            };
            let cell = cells.entry((stratum, key)).or_default();
            cell.terms.resize(question.terms.len(), [0; 4]);
            if let Some(pattern) = pattern.filter(|_| unit == Unit::Scenario || cell.n_pairs == 0) {
                for (term, counts) in cell.terms.iter_mut().enumerate() {
                    counts[(pattern >> (2 * term) & 3) as usize] += 1;
                }
            }
            cell.n_pairs += 1;
        }
        let units = Self::from_cells(&cells, question.terms.len(), unit, n_unscored);
        units.check()?;
        Ok(units)
    }

    fn from_cells(cells: &Cells, n_terms: usize, unit: Unit, n_unscored: u64) -> Self {
        let mut strata: Vec<Range<usize>> = Vec::new();
        let mut last = None;
        for (index, &(stratum, _)) in cells.keys().enumerate() {
            match strata.last_mut() {
                Some(range) if last == Some(stratum) => range.end = index + 1,
                _ => strata.push(index..index + 1),
            }
            last = Some(stratum);
        }
        let term = |term: usize| cells.values().map(|cell| cell.terms[term]).collect();
        let terms: Vec<Vec<[u32; 4]>> = (0..n_terms).map(term).collect();
        let multiplicity = match unit {
            Unit::Scenario => vec![1; cells.len()],
            Unit::Pair => cells.values().map(|cell| cell.n_pairs).collect(),
        };
        let mut units = Self { terms, multiplicity, strata, n_scored: 0, n_unscored };
        units.n_scored = units.totals()[0].iter().sum::<f64>() as u64;
        units
    }

    fn check(&self) -> Result<()> {
        let n_units = self.n_units();
        let largest = self.terms[0].iter().map(|row| row.iter().sum()).max().unwrap_or(0);
        if n_units * u64::from(largest) > u64::from(u32::MAX) {
            return Err(StatsError::TooManyPairs { n_units, largest }.into());
        }
        Ok(())
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.multiplicity.len()
    }

    /// Number of units: rows counted with their multiplicity.
    #[must_use]
    pub fn n_units(&self) -> u64 {
        self.multiplicity.iter().map(|&n| u64::from(n)).sum()
    }

    /// (a, b, c, d) of all units together for each term, exact in f64.
    #[must_use]
    pub fn totals(&self) -> Vec<[f64; 4]> {
        let total = |rows: &Vec<[u32; 4]>| {
            let mut sum = [0.0; 4];
            for (row, &n) in rows.iter().zip(&self.multiplicity) {
                for (cell, &count) in sum.iter_mut().zip(row) {
                    *cell += f64::from(n) * f64::from(count);
                }
            }
            sum
        };
        self.terms.iter().map(total).collect()
    }
}

impl Items<'_> {
    /// The outcomes of a pair under all terms, two bits each; `None` if any is unscored.
    fn pattern(&self, question: &Question, pair: usize) -> Option<u32> {
        let n_pairs = self.n_pairs();
        question.terms.iter().enumerate().try_fold(0, |pattern, (term, &(series, _))| {
            let code = u32::from(self.codes[series * n_pairs + pair]);
            (code < 4).then_some(pattern | code << (2 * term))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [u8; 12] = [0, 2, 2, 3, 9, 1, 0, 0, 2, 3, 0, 1];
    const ITEMS: Items<'static> =
        Items { codes: &CODES, scenario: &[1, 0, 1, 2, 2, 3], category: &[0, 0, 0, 1, 1, 1] };

    fn collect(slice: Option<u32>, terms: &[(usize, f64)], unit: Unit) -> Units {
        let question = Question { terms: terms.to_vec() };
        Units::collect(&ITEMS, slice, &question, unit, false).unwrap()
    }

    #[test]
    fn scenarios_keep_their_order_and_their_pairs() {
        let units = collect(None, &[(0, 1.0)], Unit::Scenario);
        assert_eq!(units.terms, [[[0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]]);
        assert_eq!((units.n_scored, units.n_unscored, units.n_units()), (5, 1, 4));
        assert_eq!(units.strata, [Range { start: 0, end: 4 }]);
    }

    #[test]
    fn pairs_become_patterns_with_multiplicity() {
        let units = collect(None, &[(0, 1.0), (1, -1.0)], Unit::Pair);
        assert_eq!(units.n_units(), 5);
        assert_eq!(units.multiplicity.iter().sum::<u32>(), 5);
        assert_eq!(units.totals(), [[1.0, 1.0, 2.0, 1.0], [2.0, 1.0, 1.0, 1.0]]);
    }

    #[test]
    fn a_slice_holds_its_category_alone() {
        let units = collect(Some(1), &[(0, 1.0)], Unit::Scenario);
        assert_eq!(units.terms, [[[0, 0, 0, 1], [0, 1, 0, 0]]]);
    }

    #[test]
    fn strata_follow_categories() {
        let question = Question { terms: vec![(0, 1.0)] };
        let units = Units::collect(&ITEMS, None, &question, Unit::Scenario, true).unwrap();
        assert_eq!(units.strata, [0..2, 2..4]);
    }
}
