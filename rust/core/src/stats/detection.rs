//! Signal detection with equal variances (Macmillan and Creelman 2005, chapters 1 and 2): how well
//! yes is told from no (d'), and where the line is drawn (criterion).
//!
//! Tables are (hits, misses, false alarms, correct rejections).

use super::{normal_cdf, normal_quantile};

/// z of a yes rate with the log-linear correction (Hautus 1995): half a yes and half a no are added,
/// so that rates of 0 and 1 stay finite. NaN without any prompt.
pub(super) fn z_rate(yes: f64, no: f64) -> f64 {
    if yes + no == 0.0 {
        return f64::NAN;
    }
    normal_quantile((yes + 0.5) / (yes + no + 1.0))
}

/// The slopes of `z_rate` in its two counts.
pub(super) fn z_slopes(yes: f64, no: f64) -> [f64; 2] {
    let n = yes + no + 1.0;
    let density = density(z_rate(yes, no));
    [(no + 0.5) / (n * n * density), -(yes + 0.5) / (n * n * density)]
}

fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// z of the hit rate that the stereotyped condition would have at the false-alarm rate of the contrast:
/// d'(stereotyped) + z(false-alarm rate of the contrast).
fn z_adjusted([h, m, f, r]: [f64; 4], contrast: [f64; 4]) -> f64 {
    z_rate(h, m) - z_rate(f, r) + z_rate(contrast[2], contrast[3])
}

/// MAR adjusted for the criterion, in percent: of the hits of the contrast condition, the share that
/// the stereotyped condition loses when it draws the line at the contrast's false-alarm rate. 0 for a
/// pure shift of the criterion; NaN if the contrast condition has no hit.
pub(super) fn adjusted_mar([stereotyped, contrast]: [[f64; 4]; 2]) -> f64 {
    if contrast[0] == 0.0 {
        return f64::NAN;
    }
    let hits = normal_cdf(z_rate(contrast[0], contrast[1]));
    100.0 * (1.0 - normal_cdf(z_adjusted(stereotyped, contrast)) / hits)
}

/// The slopes of `adjusted_mar` in all counts.
pub(super) fn adjusted_mar_gradient([stereotyped, contrast]: [[f64; 4]; 2]) -> [[f64; 4]; 2] {
    let z = z_adjusted(stereotyped, contrast);
    let z_hits = z_rate(contrast[0], contrast[1]);
    let hits = normal_cdf(z_hits);
    // In z of the adjusted rate, and in z of the contrast's hit rate.
    let top = -100.0 * density(z) / hits;
    let bottom = 100.0 * normal_cdf(z) / (hits * hits) * density(z_hits);
    let slopes = |[h, m, f, r]: [f64; 4]| (z_slopes(h, m), z_slopes(f, r));
    let (s_hits, s_alarms) = slopes(stereotyped);
    let (k_hits, k_alarms) = slopes(contrast);
    [
        [top * s_hits[0], top * s_hits[1], -top * s_alarms[0], -top * s_alarms[1]],
        [bottom * k_hits[0], bottom * k_hits[1], top * k_alarms[0], top * k_alarms[1]],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_of_the_criterion_alone_is_no_misfire() {
        // d' = 2 in both, criterion 0 and 0.8, rates of 10^6 prompts: hits Phi(d'/2 - c), false
        // alarms Phi(-d'/2 - c).
        let table = |criterion: f64| {
            let rate = |half: f64| 1e6 * normal_cdf(half - criterion);
            [rate(1.0), 1e6 - rate(1.0), rate(-1.0), 1e6 - rate(-1.0)]
        };
        assert!(adjusted_mar([table(0.8), table(0.0)]).abs() < 1e-3);
        assert!(adjusted_mar([table(0.0), table(0.0)]).abs() < 1e-9);
    }

    #[test]
    fn a_loss_of_sensitivity_at_the_same_false_alarm_rate_is_all_misfire() {
        // Hits 600 and 900 of 1,000, false alarms 100 in both: 100 (1 - 600.5 / 900.5).
        let table = |hits: f64| [hits, 1000.0 - hits, 100.0, 900.0];
        let expected = 100.0 * (1.0 - 600.5 / 900.5);
        assert!((adjusted_mar([table(600.0), table(900.0)]) - expected).abs() < 1e-9);
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let tables = [[50.0, 30.0, 20.0, 60.0], [70.0, 10.0, 25.0, 55.0]];
        let gradient = adjusted_mar_gradient(tables);
        for side in 0..2 {
            for cell in 0..4 {
                let moved = |step: f64| {
                    let mut tables = tables;
                    tables[side][cell] += step;
                    adjusted_mar(tables)
                };
                let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                assert!((gradient[side][cell] - slope).abs() < 1e-6, "{side} {cell}");
            }
        }
    }
}
