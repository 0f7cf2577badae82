//! The 2x2 counts of a set of pairs, and the measures that are functions of them.

use std::str::FromStr;

use super::StatsError;

/// How often each of the four outcomes of a pair occurred among pairs with both prompts scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Both right.
    pub a: u64,
    /// Stereotyped right, contrast wrong.
    pub b: u64,
    /// Stereotyped wrong, contrast right: the misfire.
    pub c: u64,
    /// Both wrong.
    pub d: u64,
}

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
}

impl Undefined {
    /// The word that stands in the `reason` column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoScoredPair => "no_scored_pair",
            Self::NoContrastCorrect => "no_contrast_correct",
            Self::NoStereotypedCorrect => "no_stereotyped_correct",
        }
    }
}

/// A measure on the 2x2 counts, in percent. Each is a ratio of two linear forms of (a, b, c, d), so
/// that numerator and denominator are resampled together.
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
}

impl Measure {
    /// All measures, in the order in which tables show them.
    pub const ALL: [Self; 7] = [
        Self::Mar,
        Self::MarJoint,
        Self::Br,
        Self::ReverseJoint,
        Self::AccuracyStereotyped,
        Self::AccuracyContrast,
        Self::Discrepancy,
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
        }
    }

    /// Coefficients of (a, b, c, d) in the numerator and in the denominator.
    #[must_use]
    pub fn forms(self) -> ([f64; 4], [f64; 4]) {
        const N: [f64; 4] = [1.0; 4];
        match self {
            Self::Mar => ([0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]),
            Self::MarJoint => ([0.0, 0.0, 1.0, 0.0], N),
            Self::Br => ([0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]),
            Self::ReverseJoint => ([0.0, 1.0, 0.0, 0.0], N),
            Self::AccuracyStereotyped => ([1.0, 1.0, 0.0, 0.0], N),
            Self::AccuracyContrast => ([1.0, 0.0, 1.0, 0.0], N),
            Self::Discrepancy => ([0.0, -1.0, 1.0, 0.0], N),
        }
    }

    /// The value in percent at the given (a, b, c, d); NaN where the denominator is zero.
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
            _ => None,
        }
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
        for measure in Measure::ALL {
            let (numerator, denominator) = measure.forms();
            let expected = 100.0 * dot(numerator) / dot(denominator);
            assert!((measure.value(counts) - expected).abs() < 1e-12, "{}", measure.name());
            assert_eq!(measure.name().parse::<Measure>(), Ok(measure));
        }
    }

    #[test]
    fn a_value_is_nan_exactly_where_a_reason_is_given() {
        for bits in 0..16_u8 {
            let counts = [0, 1, 2, 3].map(|shift| f64::from(bits >> shift & 1));
            for measure in Measure::ALL {
                assert_eq!(measure.value(counts).is_nan(), measure.undefined(counts).is_some());
            }
        }
    }
}
