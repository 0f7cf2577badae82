//! Corrections of p values for a family of tests.

use std::str::FromStr;

use super::{StatsError, refuse};
use crate::Result;

/// A correction for a family of p values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Benjamini and Hochberg 1995: false discovery rate, independent or positively dependent tests.
    BenjaminiHochberg,
    /// Benjamini and Yekutieli 2001: false discovery rate under any dependence.
    BenjaminiYekutieli,
    /// Holm 1979: family-wise error rate.
    Holm,
}

impl FromStr for Adjustment {
    type Err = StatsError;

    fn from_str(word: &str) -> std::result::Result<Self, StatsError> {
        match word {
            "bh" => Ok(Self::BenjaminiHochberg),
            "by" => Ok(Self::BenjaminiYekutieli),
            "holm" => Ok(Self::Holm),
            _ => Err(StatsError::UnknownName {
                name: "method",
                value: word.to_owned(),
                known: "bh, by, holm".to_owned(),
            }),
        }
    }
}

/// Adjusted p values in the order given. NaN (a test that could not be made) stays NaN and does not
/// count towards the size of the family.
///
/// # Errors
/// If a p value is outside 0 to 1.
pub fn adjust(p_values: &[f64], adjustment: Adjustment) -> Result<Vec<f64>> {
    if let Some(&p) = p_values.iter().find(|p| !p.is_nan() && !(0.0..=1.0).contains(*p)) {
        return refuse("p_values", p, "be from 0 to 1");
    }
    let mut order: Vec<usize> = (0..p_values.len()).filter(|&i| !p_values[i].is_nan()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let n = order.len() as f64;
    let harmonic: f64 = (1..=order.len()).map(|rank| 1.0 / rank as f64).sum();
    let mut adjusted = vec![f64::NAN; p_values.len()];
    if adjustment == Adjustment::Holm {
        let mut floor = 0.0_f64;
        for (place, &index) in order.iter().enumerate() {
            floor = floor.max((n - place as f64) * p_values[index]).min(1.0);
            adjusted[index] = floor;
        }
        return Ok(adjusted);
    }
    let factor = if adjustment == Adjustment::BenjaminiHochberg { n } else { n * harmonic };
    let mut ceiling = 1.0_f64;
    for (place, &index) in order.iter().enumerate().rev() {
        ceiling = ceiling.min(factor * p_values[index] / (place + 1) as f64);
        adjusted[index] = ceiling;
    }
    Ok(adjusted)
}
