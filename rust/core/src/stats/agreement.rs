//! Agreement between raters on nominal ratings, with intervals over clusters of items.

use std::str::FromStr;

use rayon::prelude::*;

use super::{Dice, Keys, Purpose, StatsError, Streams, quantile_pair};
use super::{check_length, check_level, check_resamples, refuse};
use crate::Result;
use crate::work::Stop;

/// Most resamples, whose values are held: 1 GiB of them.
const MOST_VALUES: u64 = 1 << 27;

/// A coefficient of agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Cohen 1960; two raters.
    Cohen,
    /// Fleiss 1971; items with as many ratings as the first.
    Fleiss,
    /// Krippendorff's alpha for nominal data; missing ratings allowed.
    Krippendorff,
}

impl FromStr for Agreement {
    type Err = StatsError;

    fn from_str(word: &str) -> std::result::Result<Self, StatsError> {
        match word {
            "cohen" => Ok(Self::Cohen),
            "fleiss" => Ok(Self::Fleiss),
            "krippendorff" => Ok(Self::Krippendorff),
            _ => Err(StatsError::UnknownName {
                name: "method",
                value: word.to_owned(),
                known: "cohen, fleiss, krippendorff".to_owned(),
            }),
        }
    }
}

/// Ratings of items by raters, item by item.
#[derive(Debug, Clone, Copy)]
pub struct Ratings<'a> {
    /// Codes below `n_values`; anything else is missing.
    pub codes: &'a [u8],
    /// Number of raters.
    pub n_raters: usize,
    /// Number of different ratings.
    pub n_values: usize,
}

impl Agreement {
    /// Contribution of an item to the sums behind the coefficient.
    fn row(self, item: &[u8], n_values: usize) -> Vec<f64> {
        let mut counts = vec![0.0; n_values];
        item.iter()
            .filter(|&&x| usize::from(x) < n_values)
            .for_each(|&x| counts[usize::from(x)] += 1.0);
        let n: f64 = counts.iter().sum();
        let agreeing: f64 = counts.iter().map(|x| x * (x - 1.0)).sum();
        match self {
            // Agreements, then items, then the ratings of each rater.
            Self::Cohen => {
                let mut row = vec![0.0; 2 + 2 * n_values];
                if n >= 2.0 {
                    (row[0], row[1]) = (f64::from(u8::from(item[0] == item[1])), 1.0);
                    row[2 + usize::from(item[0])] += 1.0;
                    row[2 + n_values + usize::from(item[1])] += 1.0;
                }
                row
            }
            // Agreement among the ratings of the item, then items, then the ratings.
            Self::Fleiss | Self::Krippendorff => {
                if n < 2.0 {
                    return vec![0.0; 2 + n_values];
                }
                let weight = if self == Self::Fleiss { n * (n - 1.0) } else { n - 1.0 };
                [vec![agreeing / weight, 1.0], counts].concat()
            }
        }
    }

    /// The coefficient from summed rows; NaN if chance agreement is perfect or there is no item.
    fn value(self, sums: &[f64], n_values: usize) -> f64 {
        let (agreeing, n_items, ratings) = (sums[0], sums[1], &sums[2..]);
        let total: f64 = ratings.iter().sum();
        let (observed, expected) = match self {
            Self::Cohen => {
                let (first, second) = ratings.split_at(n_values);
                let product: f64 = first.iter().zip(second).map(|(x, y)| x * y).sum();
                (agreeing / n_items, product / (n_items * n_items))
            }
            Self::Fleiss => (agreeing / n_items, ratings.iter().map(|x| (x / total).powi(2)).sum()),
            Self::Krippendorff => {
                let same: f64 = ratings.iter().map(|x| x * (x - 1.0)).sum();
                (agreeing / total, same / (total * (total - 1.0)))
            }
        };
        if expected < 1.0 { (observed - expected) / (1.0 - expected) } else { f64::NAN }
    }

    /// The coefficient and its percentile interval, resampling clusters of items: (value, low, high),
    /// and how many resamples have no value. An end is NaN if no resample has one, or all the same.
    ///
    /// # Errors
    /// If an argument is out of range, or the call was told to stop.
    pub fn estimate(
        self,
        ratings: Ratings<'_>,
        cluster: &[u32],
        (level, n_resamples): (f64, u64),
        seed: u64,
        stop: &Stop,
    ) -> Result<(f64, f64, f64, u64)> {
        self.check(ratings, cluster)?;
        check_level(level)?;
        check_resamples(n_resamples)?;
        if n_resamples > MOST_VALUES {
            return refuse("n_resamples", n_resamples as f64, "be at most 134217728");
        }
        let rows = self.cluster_rows(ratings, cluster);
        let width = rows.first().map_or(2 + ratings.n_values, Vec::len);
        let sum = |indices: &mut dyn Iterator<Item = usize>| {
            let mut sums = vec![0.0; width];
            for index in indices {
                sums.iter_mut().zip(&rows[index]).for_each(|(sum, x)| *sum += x);
            }
            self.value(&sums, ratings.n_values)
        };
        let value = sum(&mut (0..rows.len()));
        let streams = Streams::new(seed, Purpose::Resample);
        let dice = Dice::new(rows.len() as u32);
        let draw = |resample: u64| {
            let mut indices = Vec::with_capacity(rows.len());
            let mut words = streams.stream(resample);
            dice.roll(&mut words, rows.len(), |index| indices.push(index as usize));
            let found = sum(&mut indices.into_iter());
            // Sums of fractions in another order: what differs by rounding alone is a tie.
            stop.check().map(|()| if (found - value).abs() <= 1e-12 { value } else { found })
        };
        let values: Vec<f64> = (0..n_resamples).into_par_iter().map(draw).collect::<Result<_>>()?;
        let mut keys = Keys::default();
        keys.extend(&values);
        let at = keys.position(value);
        if value.is_nan() || at.n_equal == at.n_defined {
            return Ok((value, f64::NAN, f64::NAN, keys.n_nan));
        }
        let tail = (1.0 - level) / 2.0;
        let (low, high) = quantile_pair(&mut keys, tail, 1.0 - tail);
        Ok((value, low, high, keys.n_nan))
    }

    fn check(self, ratings: Ratings<'_>, cluster: &[u32]) -> Result<()> {
        let Ratings { codes, n_raters, n_values } = ratings;
        if n_raters == 0 || self == Self::Cohen && n_raters != 2 {
            return refuse("codes", n_raters as f64, "be of at least 1 rater, of 2 for cohen");
        }
        if n_values > 255 {
            return refuse("n_values", n_values as f64, "be at most 255");
        }
        check_length("cluster", cluster.len(), codes.len() / n_raters)
    }

    fn cluster_rows(self, ratings: Ratings<'_>, cluster: &[u32]) -> Vec<Vec<f64>> {
        let mut rows = std::collections::BTreeMap::<u32, Vec<f64>>::new();
        for (item, &cluster) in ratings.codes.chunks_exact(ratings.n_raters).zip(cluster) {
            let row = self.row(item, ratings.n_values);
            let sums = rows.entry(cluster).or_insert_with(|| vec![0.0; row.len()]);
            sums.iter_mut().zip(&row).for_each(|(sum, x)| *sum += x);
        }
        rows.into_values().collect()
    }
}
