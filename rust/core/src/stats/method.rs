//! Interval methods.

use std::str::FromStr;

use super::order::{Keys, Position, quantile_pair};
use super::{Spread, StatsError, Undefined, Unit, normal_cdf, normal_quantile};
use super::{beta_quantile, refuse, t_quantile};

/// Most trials whose exact interval takes no noticeable time.
const MOST_TRIALS: f64 = 1e9;

/// An interval method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The quantiles of the resampled values.
    Percentile,
    /// The quantiles reflected about the value.
    Basic,
    /// Bias-corrected and accelerated (Efron 1987), with mid-ranks for ties.
    Bca,
    /// Quantiles of (resampled value - value) / its standard error: the bootstrap-t.
    Studentised,
    /// Value +- z standard errors.
    Normal,
    /// Value +- t standard errors, with one degree of freedom less than units.
    T,
    /// The t interval on the logit scale; rates only. At 0 and 1, where the logit has no standard
    /// error, Clopper and Pearson's interval with each scenario counted as one pair.
    Logit,
    /// Wilson's score interval; rates only. Over scenarios, on the effective number of pairs and
    /// with t for z.
    Wilson,
    /// Clopper and Pearson's exact interval; rates only. Over scenarios, on the effective number of
    /// pairs (Korn and Graubard 1998).
    ClopperPearson,
    /// Weighted sums of rates, from the intervals of the rates and their correlation; of a single
    /// rate, that of `ClopperPearson`.
    Mover,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 10] = [
        Self::Percentile,
        Self::Basic,
        Self::Bca,
        Self::Studentised,
        Self::Normal,
        Self::T,
        Self::Logit,
        Self::Wilson,
        Self::ClopperPearson,
        Self::Mover,
    ];

    /// The word that stands in the `method` column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Percentile => "percentile",
            Self::Basic => "basic",
            Self::Bca => "bca",
            Self::Studentised => "studentised",
            Self::Normal => "normal",
            Self::T => "t",
            Self::Logit => "logit",
            Self::Wilson => "wilson",
            Self::ClopperPearson => "clopper_pearson",
            Self::Mover => "mover",
        }
    }

    /// True if the method needs resampled values.
    pub(crate) fn resamples(self) -> bool {
        matches!(self, Self::Percentile | Self::Basic | Self::Bca | Self::Studentised)
    }

    /// True if the method is for a single rate between 0 and 100 only.
    pub(crate) fn rates_only(self) -> bool {
        matches!(self, Self::Logit | Self::Wilson | Self::ClopperPearson)
    }
}

impl FromStr for Method {
    type Err = StatsError;

    fn from_str(word: &str) -> Result<Self, StatsError> {
        Self::ALL.into_iter().find(|method| method.name() == word).ok_or_else(|| {
            StatsError::UnknownName {
                name: "method",
                value: word.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            }
        })
    }
}

/// The two ends, or the reason for their absence.
pub(super) type Ends = Result<(f64, f64), Undefined>;

/// A value, and the facts that its interval is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observed {
    /// The value.
    pub value: f64,
    /// Its spread over the units.
    pub(crate) spread: Spread,
    /// The effective number of pairs, where the value is a rate.
    pub(crate) effective_size: Option<f64>,
    /// Units with a pair in the denominator.
    pub(crate) n_bases: f64,
    /// The largest and smallest value that there can be.
    pub range: (f64, f64),
}

impl Method {
    /// The two probabilities at which the resampled values are read off.
    ///
    /// # Errors
    /// If nothing varies, or for `BCa` if all resamples lie on one side of the value.
    pub(crate) fn probabilities(self, observed: &Observed, at: Position, level: f64) -> Ends {
        let tail = (1.0 - level) / 2.0;
        let no_error = self == Self::Studentised && observed.spread.standard_error == 0.0;
        if at.n_defined == 0 || at.n_equal == at.n_defined || no_error {
            return Err(Undefined::Constant);
        }
        if self != Self::Bca {
            return Ok((tail, 1.0 - tail));
        }
        let rank = at.n_below as f64 + at.n_equal as f64 / 2.0;
        let bias = normal_quantile(rank / at.n_defined as f64);
        let slope = observed.spread.acceleration;
        if !bias.is_finite() || !slope.is_finite() {
            return Err(Undefined::OneSided);
        }
        let point = |z: f64| {
            let (z, stretch) = (bias + z, 1.0 - slope * (bias + z));
            // The point runs to an end of the distribution where the stretch reaches 0. Past it the
            // formula comes back from the other end.
            if stretch <= 0.0 {
                f64::from(u8::from(z > 0.0))
            } else {
                normal_cdf(bias + z / stretch)
            }
        };
        Ok((point(normal_quantile(tail)), point(normal_quantile(1.0 - tail))))
    }

    /// The interval from the two quantiles of the resampled values (of t values if studentised).
    ///
    /// # Errors
    /// If an end is infinite.
    pub(crate) fn at_quantiles(self, observed: &Observed, (low, high): (f64, f64)) -> Ends {
        let (value, error) = (observed.value, observed.spread.standard_error);
        let ends = match self {
            Self::Basic => (2.0 * value - high, 2.0 * value - low),
            Self::Studentised => (value - error * high, value - error * low),
            _ => (low, high),
        };
        clip(ends, observed.range)
    }

    /// The interval of a method that needs no resamples.
    ///
    /// # Errors
    /// If the value is no rate and the method is for rates, or nothing varies and the method needs
    /// a standard error.
    pub(crate) fn by_formula(self, observed: &Observed, level: f64, unit: Unit) -> Ends {
        let upper = f64::midpoint(1.0, level);
        let Observed { value, spread, .. } = *observed;
        let error = spread.standard_error;
        if self.rates_only() {
            let (low, high) = self.of_rate(observed, level, unit)?;
            // A first misfire cannot tell less than none: neither end is nearer to the middle than
            // where nothing varies.
            let none = Observed { value: 0.0, effective_size: Some(observed.n_bases), ..*observed };
            let (_, floor) = match unit {
                Unit::Scenario => self.of_rate(&none, level, unit)?,
                Unit::Pair => (0.0, 0.0),
            };
            return Ok((low.min(100.0 - floor), high.max(floor)));
        }
        let (z, t) = (normal_quantile(upper), t_quantile(upper, spread.degrees));
        if error == 0.0 {
            return Err(Undefined::Constant);
        }
        let step = error * if self == Self::Normal { z } else { t };
        clip((value - step, value + step), observed.range)
    }

    /// The interval of a rate by a method for rates, as it is before the floor under its ends.
    ///
    /// # Errors
    /// If the value is no rate.
    fn of_rate(self, observed: &Observed, level: f64, unit: Unit) -> Ends {
        let upper = f64::midpoint(1.0, level);
        let size = observed.effective_size.ok_or(Undefined::NotARate)?;
        let (share, spread) = (observed.value / 100.0, observed.spread);
        let at_end = share <= 0.0 || share >= 1.0;
        let z = normal_quantile(upper);
        let t = |degrees| if unit == Unit::Pair { z } else { t_quantile(upper, degrees) };
        match self {
            Self::Wilson => Ok(wilson(share, size, t(spread.degrees))),
            Self::ClopperPearson => {
                let degrees = if at_end { spread.degrees } else { spread.effective_degrees };
                Ok(clopper_pearson(share, size * (z / t(degrees)).powi(2), 1.0 - upper))
            }
            _ if at_end => Ok(clopper_pearson(share, size, 1.0 - upper)),
            _ => logit(share, spread.standard_error / 100.0, t(spread.degrees)),
        }
    }

    /// The interval from stored resampled values, consumed by the selection.
    ///
    /// # Errors
    /// As `probabilities` and `at_quantiles`.
    pub(crate) fn of_keys(self, observed: &Observed, keys: &mut Keys, level: f64) -> Ends {
        let centre = if self == Self::Studentised { 0.0 } else { observed.value };
        let (low, high) = self.probabilities(observed, keys.position(centre), level)?;
        self.at_quantiles(observed, quantile_pair(keys, low, high))
    }
}

impl Observed {
    /// Clopper and Pearson's interval of a rate without a floor under its ends.
    ///
    /// # Errors
    /// If the value is no rate.
    pub(crate) fn exact(&self, level: f64, unit: Unit) -> Ends {
        Method::ClopperPearson.of_rate(self, level, unit)
    }
}

fn clip((low, high): (f64, f64), (least, most): (f64, f64)) -> Ends {
    if low.is_nan() || high.is_nan() {
        return Err(Undefined::Constant);
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(Undefined::Unbounded);
    }
    Ok((low.max(least), high.min(most)))
}

/// Wilson 1927: the shares that a score test on `size` pairs does not reject.
fn wilson(share: f64, size: f64, z: f64) -> (f64, f64) {
    let shrink = 1.0 + z * z / size;
    let centre = (share + z * z / (2.0 * size)) / shrink;
    let half = z / shrink * (share * (1.0 - share) / size + z * z / (4.0 * size * size)).sqrt();
    // At the ends the formula is exact up to rounding.
    let low = if share <= 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if share >= 1.0 { 1.0 } else { (centre + half).min(1.0) };
    (100.0 * low, 100.0 * high)
}

/// The Wilson or Clopper-Pearson interval of `hits` in `n` independent trials, in percent.
///
/// A negative level has tails beyond a half, as a one-sided bound at less than 50 % wants.
///
/// # Errors
/// If the hits are not from 0 to n, the level is outside -1 to 1, or the method is another.
pub fn proportion_interval(
    hits: f64,
    n: f64,
    method: Method,
    level: f64,
) -> crate::Result<Option<(f64, f64)>> {
    if !(0.0..=MOST_TRIALS).contains(&n) {
        return refuse("n", n, "be from 0 to 1000000000");
    }
    if !(0.0..=n).contains(&hits) {
        return refuse("hits", hits, "be from 0 to n");
    }
    if !(level > -1.0 && level < 1.0) {
        return refuse("confidence_level", level, "be above -1 and below 1");
    }
    let upper = f64::midpoint(1.0, level);
    match method {
        Method::Wilson | Method::ClopperPearson if n <= 0.0 => Ok(None),
        Method::Wilson => Ok(Some(wilson(hits / n, n, normal_quantile(upper)))),
        Method::ClopperPearson => Ok(Some(clopper_pearson(hits / n, n, 1.0 - upper))),
        _ => Err(StatsError::UnknownName {
            name: "method",
            value: method.name().to_owned(),
            known: "wilson, clopper_pearson".to_owned(),
        }
        .into()),
    }
}

fn clopper_pearson(share: f64, size: f64, tail: f64) -> (f64, f64) {
    let (hits, misses) = (share * size, (1.0 - share) * size);
    let low = beta_quantile(tail, hits, misses + 1.0);
    let high = beta_quantile(1.0 - tail, hits + 1.0, misses);
    (100.0 * low, 100.0 * high)
}

fn logit(share: f64, error: f64, quantile: f64) -> Ends {
    if error == 0.0 {
        return Err(Undefined::Constant);
    }
    let centre = (share / (1.0 - share)).ln();
    let step = quantile * error / (share * (1.0 - share));
    let back = |x: f64| 100.0 / (1.0 + (-x).exp());
    Ok((back(centre - step), back(centre + step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bca_does_not_come_back_from_beyond_its_pole() {
        // Bias 3 and z 3.29: 1 - 0.16 * 6.29 is below 0, where the formula gives the lowest resample
        // for the upper end.
        let spread = Spread {
            standard_error: 1.0,
            degrees: 9.0,
            effective_degrees: 9.0,
            acceleration: 0.16,
        };
        let range = (0.0, 100.0);
        let observed = Observed { value: 50.0, spread, effective_size: None, n_bases: 10.0, range };
        let n_below = (normal_cdf(3.0) * 1e9) as u64;
        let at = Position { n_below, n_equal: 0, n_defined: 1_000_000_000 };
        let (low, high) = Method::Bca.probabilities(&observed, at, 0.999).unwrap();
        assert!(0.0 < low && low < high, "{low} {high}");
        assert_eq!(high.to_bits(), 1.0_f64.to_bits());
        let mirrored = Position { n_below: at.n_defined - n_below, ..at };
        let spread = Spread { acceleration: -0.16, ..spread };
        let observed = Observed { spread, ..observed };
        let (low, high) = Method::Bca.probabilities(&observed, mirrored, 0.999).unwrap();
        assert_eq!(low.to_bits(), 0.0_f64.to_bits());
        assert!(high < 1.0);
    }
}
