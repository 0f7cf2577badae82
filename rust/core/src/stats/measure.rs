//! The 2x2 counts of a set of pairs, and the measures that are functions of them.

use std::str::FromStr;

use super::block::{BLOCK, Column};
use super::detection::{z_rate, z_slopes};
use super::{StatsError, refuse};

/// Why a measure has no value, or no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Undefined {
    /// No pair has both prompts scored: n = 0.
    NoScoredPair = 1,
    /// No contrast prompt was answered correctly: a + c = 0.
    NoContrastCorrect = 2,
    /// No stereotyped prompt was answered correctly: a + b = 0.
    NoStereotypedCorrect = 3,
    /// No scored prompt expects yes.
    NoExpectedYes = 4,
    /// No scored prompt expects no.
    NoExpectedNo = 5,
    /// A value, but no interval: fewer than two units, or a stratum of one.
    OneUnit = 6,
    /// A value, but no interval: every resample has the same value, or the standard error is 0.
    Constant = 7,
    /// A value, but no interval: all resamples lie on one side of it, so `BCa` has no correction.
    OneSided = 8,
    /// A value, but no interval: an end is infinite.
    Unbounded = 9,
    /// A value, but no interval: the method is for rates, and this is a difference.
    NotARate = 10,
}

impl Undefined {
    /// The word that stands in the `reason` column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoScoredPair => "no_scored_pair",
            Self::NoContrastCorrect => "no_contrast_correct",
            Self::NoStereotypedCorrect => "no_stereotyped_correct",
            Self::NoExpectedYes => "no_expected_yes",
            Self::NoExpectedNo => "no_expected_no",
            Self::OneUnit => "one_unit",
            Self::Constant => "constant",
            Self::OneSided => "one_sided",
            Self::Unbounded => "unbounded",
            Self::NotARate => "not_a_rate",
        }
    }
}

/// A measure on four counts. Those on the 2x2 counts of pairs are in percent, each a ratio of two
/// linear forms of (a, b, c, d), so that numerator and denominator are resampled together. The two of
/// signal detection take hits, misses, false alarms and correct rejections for (a, b, c, d).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// 100 c / (a + c)
    Mar,
    /// 100 c / n
    MarJoint,
    /// 100 b / (a + b)
    Br,
    /// 100 b / n
    ReverseJoint,
    /// 100 (a + b) / n
    AccuracyStereotyped,
    /// 100 (a + c) / n
    AccuracyContrast,
    /// 100 (c - b) / n
    Discrepancy,
    /// z(hit rate) - z(false-alarm rate), in standard deviations.
    DPrime,
    /// -(z(hit rate) + z(false-alarm rate)) / 2: positive leans to "no".
    Criterion,
    /// MAR adjusted for the criterion: on the tables of both conditions, stereotyped and contrast
    /// (`Question::value`).
    MarAdjusted,
}

impl Measure {
    /// All measures, in the order in which tables show them.
    pub const ALL: [Self; 10] = [
        Self::Mar,
        Self::MarJoint,
        Self::Br,
        Self::ReverseJoint,
        Self::AccuracyStereotyped,
        Self::AccuracyContrast,
        Self::Discrepancy,
        Self::DPrime,
        Self::Criterion,
        Self::MarAdjusted,
    ];

    /// The word that stands in the `measure` column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mar => "mar",
            Self::MarJoint => "mar_joint",
            Self::Br => "br",
            Self::ReverseJoint => "reverse_joint",
            Self::AccuracyStereotyped => "accuracy_stereotyped",
            Self::AccuracyContrast => "accuracy_contrast",
            Self::Discrepancy => "discrepancy",
            Self::DPrime => "d_prime",
            Self::Criterion => "criterion",
            Self::MarAdjusted => "mar_adjusted",
        }
    }

    /// Coefficients of (a, b, c, d) in the numerator and in the denominator of a ratio.
    pub(crate) fn forms(self) -> ([f64; 4], [f64; 4]) {
        const N: [f64; 4] = [1.0; 4];
        match self {
            Self::Mar => ([0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]),
            Self::MarJoint => ([0.0, 0.0, 1.0, 0.0], N),
            Self::Br => ([0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]),
            Self::ReverseJoint => ([0.0, 1.0, 0.0, 0.0], N),
            Self::AccuracyStereotyped => ([1.0, 1.0, 0.0, 0.0], N),
            Self::AccuracyContrast => ([1.0, 0.0, 1.0, 0.0], N),
            Self::Discrepancy => ([0.0, -1.0, 1.0, 0.0], N),
            // No ratio: the denominator says which counts the measure stands on.
            Self::DPrime | Self::Criterion | Self::MarAdjusted => ([0.0; 4], N),
        }
    }

    /// The value in percent at the given (a, b, c, d); NaN where the denominator is zero, and for a
    /// measure of two tables.
    #[inline]
    #[must_use]
    pub fn value(self, [a, b, c, d]: [f64; 4]) -> f64 {
        match self {
            Self::Mar => 100.0 * c / (a + c),
            Self::MarJoint => 100.0 * c / (a + b + c + d),
            Self::Br => 100.0 * b / (a + b),
            Self::ReverseJoint => 100.0 * b / (a + b + c + d),
            Self::AccuracyStereotyped => 100.0 * (a + b) / (a + b + c + d),
            Self::AccuracyContrast => 100.0 * (a + c) / (a + b + c + d),
            Self::Discrepancy => 100.0 * (c - b) / (a + b + c + d),
            Self::DPrime => z_rate(a, b) - z_rate(c, d),
            Self::Criterion => -0.5 * (z_rate(a, b) + z_rate(c, d)),
            Self::MarAdjusted => f64::NAN,
        }
    }

    /// Add `weight` times the value at each of the counts, given as columns of a, b, c and d.
    pub(crate) fn add_to(self, weight: f64, counts: [&[f64]; 4], values: &mut [f64]) {
        // A loop for each measure, since with the choice inside the loop none is vectorised.
        match self {
            Self::Mar => add_each(weight, counts, values, |x| Self::Mar.value(x)),
            Self::MarJoint => add_each(weight, counts, values, |x| Self::MarJoint.value(x)),
            Self::Br => add_each(weight, counts, values, |x| Self::Br.value(x)),
            Self::ReverseJoint => add_each(weight, counts, values, |x| Self::ReverseJoint.value(x)),
            Self::AccuracyStereotyped => {
                add_each(weight, counts, values, |x| Self::AccuracyStereotyped.value(x));
            }
            Self::AccuracyContrast => {
                add_each(weight, counts, values, |x| Self::AccuracyContrast.value(x));
            }
            Self::Discrepancy => add_each(weight, counts, values, |x| Self::Discrepancy.value(x)),
            Self::DPrime | Self::Criterion | Self::MarAdjusted => {
                add_each(weight, counts, values, |x| self.value(x));
            }
        }
    }

    /// The slope of the value of a measure of one table in each of (a, b, c, d).
    pub(crate) fn gradient(self, counts: [f64; 4]) -> [f64; 4] {
        if matches!(self, Self::DPrime | Self::Criterion) {
            let (hits, alarms) = (z_slopes(counts[0], counts[1]), z_slopes(counts[2], counts[3]));
            let (x, y) = if self == Self::DPrime { (1.0, -1.0) } else { (-0.5, -0.5) };
            return [x * hits[0], x * hits[1], y * alarms[0], y * alarms[1]];
        }
        let (numerator, denominator) = self.forms();
        let dot = |form: [f64; 4]| form.iter().zip(counts).map(|(x, y)| x * y).sum::<f64>();
        let (top, bottom) = (dot(numerator), dot(denominator));
        std::array::from_fn(|cell| {
            100.0 * (numerator[cell] - top / bottom * denominator[cell]) / bottom
        })
    }

    /// `weight` times the slopes of a ratio of two linear forms, at counts given as columns.
    pub(crate) fn gradients_into(
        self,
        weight: f64,
        counts: &[Column; 4],
        slopes: &mut [Column; 4],
    ) {
        let (numerator, denominator) = self.forms();
        let dot = |form: [f64; 4]| {
            let mut sums = [0.0; BLOCK];
            for (x, column) in form.iter().zip(counts) {
                sums.iter_mut().zip(column).for_each(|(sum, y)| *sum += x * y);
            }
            sums
        };
        let (top, bottom) = (dot(numerator), dot(denominator));
        for ((slopes, x), y) in slopes.iter_mut().zip(numerator).zip(denominator) {
            for slot in 0..BLOCK {
                let slope = 100.0 * (x - top[slot] / bottom[slot] * y) / bottom[slot];
                slopes[slot] = weight * slope;
            }
        }
    }

    /// True if the measure stands on the tables of two conditions, not on one.
    pub(crate) fn is_joint(self) -> bool {
        self == Self::MarAdjusted
    }

    /// # Errors
    /// If the measure is joint, where a measure of one table is wanted.
    pub(crate) fn of_one_table(self) -> Result<(), StatsError> {
        if !self.is_joint() {
            return Ok(());
        }
        let value = self.name().to_owned();
        let known = Self::ALL[..9].iter().map(|measure| measure.name()).collect::<Vec<_>>();
        Err(StatsError::UnknownName { name: "measure", value, known: known.join(", ") })
    }

    /// True if the value is a ratio of two linear forms of the counts.
    pub(crate) fn is_linear(self) -> bool {
        !matches!(self, Self::DPrime | Self::Criterion | Self::MarAdjusted)
    }

    /// True if the value lies between 0 and 100 and is a share of its denominator.
    pub(crate) fn is_rate(self) -> bool {
        self.is_linear() && self != Self::Discrepancy
    }

    /// The least and the largest value that there can be.
    #[must_use]
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::DPrime | Self::Criterion => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Discrepancy => (-100.0, 100.0),
            Self::MarAdjusted => (f64::NEG_INFINITY, 100.0),
            _ => (0.0, 100.0),
        }
    }

    /// Why the value at these counts is NaN; `None` where it is not.
    #[must_use]
    pub fn undefined(self, [a, b, c, d]: [f64; 4]) -> Option<Undefined> {
        if a + b + c + d == 0.0 {
            return Some(Undefined::NoScoredPair);
        }
        match self {
            Self::Mar if a + c == 0.0 => Some(Undefined::NoContrastCorrect),
            Self::Br if a + b == 0.0 => Some(Undefined::NoStereotypedCorrect),
            _ if self.is_linear() => None,
            _ if a + b == 0.0 => Some(Undefined::NoExpectedYes),
            _ if c + d == 0.0 => Some(Undefined::NoExpectedNo),
            _ => None,
        }
    }
}

/// Refuse counts that no pairs can have.
///
/// # Errors
/// If a count is negative or not finite.
pub fn check_table(rows: &[[f64; 4]]) -> crate::Result<()> {
    match rows.iter().flatten().find(|count| !(0.0..f64::INFINITY).contains(*count)) {
        Some(&count) => refuse("counts", count, "be at least 0 and finite"),
        None => Ok(()),
    }
}

#[inline]
fn add_each(
    weight: f64,
    [a, b, c, d]: [&[f64]; 4],
    values: &mut [f64],
    value: impl Fn([f64; 4]) -> f64,
) {
    let counts = a.iter().zip(b).zip(c).zip(d);
    for (sum, (((&a, &b), &c), &d)) in values.iter_mut().zip(counts) {
        *sum += weight * value([a, b, c, d]);
    }
}

impl FromStr for Measure {
    type Err = StatsError;

    fn from_str(word: &str) -> Result<Self, StatsError> {
        Self::ALL.into_iter().find(|measure| measure.name() == word).ok_or_else(|| {
            StatsError::UnknownName {
                name: "measure",
                value: word.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_equals_the_ratio_of_its_forms() {
        let counts = [7.0, 5.0, 3.0, 2.0];
        let dot = |form: [f64; 4]| form.iter().zip(counts).map(|(x, y)| x * y).sum::<f64>();
        for measure in &Measure::ALL[..7] {
            let (numerator, denominator) = measure.forms();
            let expected = 100.0 * dot(numerator) / dot(denominator);
            assert!((measure.value(counts) - expected).abs() < 1e-12, "{}", measure.name());
            assert_eq!(measure.name().parse::<Measure>(), Ok(*measure));
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        let counts = [70.0, 50.0, 30.0, 20.0];
        for measure in Measure::ALL.into_iter().filter(|measure| !measure.is_joint()) {
            let gradient = measure.gradient(counts);
            for cell in 0..4 {
                let moved = |step: f64| {
                    let mut counts = counts;
                    counts[cell] += step;
                    measure.value(counts)
                };
                let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                assert!((gradient[cell] - slope).abs() < 1e-6, "{} {cell}", measure.name());
            }
        }
    }

    #[test]
    fn a_value_is_nan_exactly_where_a_reason_is_given() {
        for bits in 0..16_u8 {
            let counts = [0, 1, 2, 3].map(|shift| f64::from(bits >> shift & 1));
            for measure in Measure::ALL.into_iter().filter(|measure| !measure.is_joint()) {
                assert_eq!(measure.value(counts).is_nan(), measure.undefined(counts).is_some());
            }
        }
    }
}
