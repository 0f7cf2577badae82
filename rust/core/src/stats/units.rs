//! The units of resampling: pairs, or scenarios with all their pairs.

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
    pub(crate) fn n_pairs(&self) -> usize {
        self.scenario.len()
    }

    /// Number of series.
    pub(crate) fn n_series(&self) -> usize {
        self.codes.len().checked_div(self.n_pairs()).unwrap_or(0)
    }

    /// Number of categories.
    pub(crate) fn n_categories(&self) -> usize {
        self.category.iter().max().map_or(0, |&last| last as usize + 1)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let expected = self.n_pairs();
        if self.category.len() != expected {
            let actual = self.category.len();
            return Err(Error::LengthMismatch { name: "category", actual, expected });
        }
        if expected > 0 && !self.codes.len().is_multiple_of(expected) {
            let actual = self.codes.len();
            return Err(Error::LengthMismatch { name: "codes", actual, expected });
        }
        Ok(())
    }

    /// The pairs of a slice: all (`None`) or those of one category.
    pub(crate) fn pairs_of(&self, slice: Option<u32>) -> Vec<usize> {
        (0..self.n_pairs())
            .filter(|&pair| slice.is_none_or(|category| self.category[pair] == category))
            .collect()
    }
}

/// A weighted sum of a measure over series: one series with weight 1, or a difference (1, -1), or a
/// difference of differences (1, -1, -1, 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// (series, weight), at most `Question::MOST_TERMS`.
    pub terms: Vec<(usize, f64)>,
    /// True if a pair counts only if all series scored it. Else each series counts the pairs that it
    /// scored, and nothing but the scenarios is common to them.
    pub paired: bool,
}

impl Question {
    /// Most series in a question: a pair's outcomes are one number of 4 bits for each.
    pub(crate) const MOST_TERMS: usize = 16;

    /// True if there are two terms, as a joint measure needs them.
    pub(crate) fn is_couple(&self) -> bool {
        self.terms.len() == 2
    }

    /// A single series, the first.
    pub(crate) fn rate() -> Self {
        Self::paired(vec![(0, 1.0)])
    }

    /// A weighted sum on the pairs that all series scored.
    #[must_use]
    pub fn paired(terms: Vec<(usize, f64)>) -> Self {
        Self { terms, paired: true }
    }
}

/// The counts that each unit of a slice contributes to a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Units {
    /// For each term of the question: (a, b, c, d) of each row.
    pub terms: Vec<Vec<[u32; 4]>>,
    /// Number of units with this row. Scenarios: 1 each; pairs: one row for each pattern of outcomes.
    pub(crate) multiplicity: Vec<u32>,
    /// Rows that are resampled among themselves.
    pub(crate) strata: Vec<Range<usize>>,
    /// Pairs that count: with all terms scored, or with any where the question is not paired.
    pub n_scored: u64,
    /// Pairs that do not.
    pub n_unscored: u64,
}

impl Units {
    /// Collect the units of a slice.
    ///
    /// # Errors
    /// If a resample could hold more pairs than a 32-bit count can.
    pub(crate) fn collect(
        items: &Items<'_>,
        slice: Option<u32>,
        question: &Question,
        unit: Unit,
        stratified: bool,
    ) -> Result<Self> {
        let mut units = Self { terms: vec![vec![]; question.terms.len()], ..Self::default() };
        // By stratum, then scenario or pattern, so that the order in which pairs come cannot matter.
        let mut pairs: Vec<((u32, u64), Option<u64>)> = Vec::new();
        for pair in items.pairs_of(slice) {
            let stratum = if stratified { items.category[pair] } else { 0 };
            let pattern = items.pattern(question, pair);
            units.n_scored += u64::from(pattern.is_some());
            units.n_unscored += u64::from(pattern.is_none());
            match (unit, pattern) {
                (Unit::Scenario, _) => {
                    pairs.push(((stratum, u64::from(items.scenario[pair])), pattern));
                }
                (Unit::Pair, Some(key)) => pairs.push(((stratum, key), pattern)),
                (Unit::Pair, None) => {}
            }
        }
        pairs.sort_unstable_by_key(|&(key, _)| key);
        let mut last = None;
        for (row, group) in pairs.chunk_by(|one, next| one.0 == next.0).enumerate() {
            let stratum = group[0].0.0;
            match units.strata.last_mut() {
                Some(range) if last == Some(stratum) => range.end = row + 1,
                _ => units.strata.push(row..row + 1),
            }
            last = Some(stratum);
            units.add_row(group, unit);
        }
        units.check()?;
        Ok(units)
    }

    /// Add a scenario with its pairs, or a pattern that stands for its pairs.
    fn add_row(&mut self, group: &[((u32, u64), Option<u64>)], unit: Unit) {
        let (counted, n) = match unit {
            Unit::Scenario => (group, 1),
            Unit::Pair => (&group[..1], group.len() as u32),
        };
        for (term, rows) in self.terms.iter_mut().enumerate() {
            let mut counts = [0; 4];
            for pattern in counted.iter().filter_map(|&(_, pattern)| pattern) {
                if let Some(count) = counts.get_mut((pattern >> (4 * term) & 15) as usize) {
                    *count += 1;
                }
            }
            rows.push(counts);
        }
        self.multiplicity.push(n);
    }

    fn check(&self) -> Result<()> {
        let n_units = self.n_units();
        let rows = self.terms.iter().flatten();
        let largest = rows.map(|row| row.iter().sum()).max().unwrap_or(0);
        if n_units * u64::from(largest) > u64::from(u32::MAX) {
            return Err(StatsError::TooManyPairs { n_units, largest }.into());
        }
        Ok(())
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.multiplicity.len()
    }

    /// Number of units: rows counted with their multiplicity.
    pub(crate) fn n_units(&self) -> u64 {
        self.multiplicity.iter().map(|&n| u64::from(n)).sum()
    }

    /// True if a stratum holds fewer than two units.
    pub(crate) fn is_alone(&self) -> bool {
        let size = |rows: &Range<usize>| self.multiplicity[rows.clone()].iter().sum::<u32>();
        self.strata.iter().any(|rows| size(rows) < 2)
    }

    /// (a, b, c, d) of all units together for each term, exact in f64.
    pub(crate) fn totals(&self) -> Vec<[f64; 4]> {
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
    /// The outcomes of a pair under all terms, four bits each, 4 for one that is not scored; `None` if
    /// the pair does not count.
    pub(crate) fn pattern(&self, question: &Question, pair: usize) -> Option<u64> {
        let n_pairs = self.n_pairs();
        let (mut pattern, mut n_scored) = (0, 0);
        for (term, &(series, _)) in question.terms.iter().enumerate() {
            let code = u64::from(self.codes[series * n_pairs + pair].min(4));
            n_scored += usize::from(code < 4);
            pattern |= code << (4 * term);
        }
        let wanted = if question.paired { question.terms.len() } else { 1 };
        (n_scored >= wanted).then_some(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [u8; 12] = [0, 2, 2, 3, 9, 1, 0, 0, 2, 3, 0, 1];
    const ITEMS: Items<'static> =
        Items { codes: &CODES, scenario: &[1, 0, 1, 2, 2, 3], category: &[0, 0, 0, 1, 1, 1] };

    fn collect(slice: Option<u32>, terms: &[(usize, f64)], unit: Unit) -> Units {
        let question = Question::paired(terms.to_vec());
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
    fn series_that_are_not_paired_count_their_own_pairs() {
        let question = Question { terms: vec![(0, 1.0), (1, -1.0)], paired: false };
        let codes = [0, 2, 9, 9, 9, 9, 9, 9, 3, 9, 0, 1];
        let items = Items { codes: &codes, ..ITEMS };
        let units = Units::collect(&items, None, &question, Unit::Scenario, false).unwrap();
        assert_eq!(units.totals(), [[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]]);
        assert_eq!((units.n_scored, units.n_unscored, units.n_units()), (5, 1, 4));
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
        let question = Question::paired(vec![(0, 1.0)]);
        let units = Units::collect(&ITEMS, None, &question, Unit::Scenario, true).unwrap();
        assert_eq!(units.strata, [0..2, 2..4]);
    }
}
