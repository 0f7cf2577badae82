//! Order statistics of many values without sorting them.

/// Values as integers that order like them, for fast selection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    keys: Vec<u64>,
    /// Values that were NaN, and are left out.
    pub(crate) n_nan: u64,
}

/// The resampled values counted against the observed one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "counts are named n_* everywhere")]
pub(crate) struct Position {
    /// Resamples with a value below the observed one.
    pub(crate) n_below: u64,
    /// Resamples with the same value.
    pub(crate) n_equal: u64,
    /// Resamples with any value.
    pub(crate) n_defined: u64,
}

const SIGN: u64 = 1 << 63;

fn encode(value: f64) -> u64 {
    // Adding 0.0 makes -0.0 equal to 0.0.
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn decode(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

impl Keys {
    /// Keys with room for `n` values.
    pub(crate) fn with_capacity(n: usize) -> Self {
        Self { keys: Vec::with_capacity(n), n_nan: 0 }
    }

    /// Take in values; NaN is counted and left out.
    pub(crate) fn extend(&mut self, values: &[f64]) {
        let before = self.keys.len();
        self.keys.extend(values.iter().filter(|value| !value.is_nan()).map(|&value| encode(value)));
        self.n_nan += (values.len() + before - self.keys.len()) as u64;
    }

    /// Take in one value, which is not NaN.
    pub(crate) fn push(&mut self, value: f64) {
        self.keys.push(encode(value));
    }

    /// Take in the values of another.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.keys.append(&mut other.keys);
        self.n_nan += other.n_nan;
    }

    /// Put the values in order.
    pub(crate) fn sort(&mut self) {
        self.keys.sort_unstable();
    }

    /// The value at a place.
    pub(crate) fn get(&self, index: usize) -> f64 {
        decode(self.keys[index])
    }

    /// The values counted against a centre.
    pub(crate) fn position(&self, centre: f64) -> Position {
        let centre = encode(centre);
        let n_below = self.keys.iter().filter(|&&key| key < centre).count() as u64;
        let n_equal = self.keys.iter().filter(|&&key| key == centre).count() as u64;
        Position { n_below, n_equal, n_defined: self.keys.len() as u64 }
    }
}

/// Two quantiles, `low` <= `high`, linearly interpolated between order statistics
/// (Hyndman and Fan 1996, type 7: the default of numpy and R). NaN if there is no value.
pub(super) fn quantile_pair(keys: &mut Keys, low: f64, high: f64) -> (f64, f64) {
    let keys = &mut keys.keys[..];
    if keys.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let last = (keys.len() - 1) as f64;
    let (low, high) = (low.clamp(0.0, 1.0) * last, high.clamp(0.0, 1.0) * last);
    let split = low.floor() as usize;
    let low_value = at(keys, low, 0);
    // Everything from `split` on is now at or above that order statistic.
    let high_value = at(keys, high.max(low), split);
    (low_value, high_value)
}

/// The value at a fractional rank; keys before `from` are known to be the lowest ones.
fn at(keys: &mut [u64], rank: f64, from: usize) -> f64 {
    let below = rank.floor() as usize;
    let (_, &mut key, above) = keys[from..].select_nth_unstable(below - from);
    let floor = decode(key);
    let fraction = rank - rank.floor();
    match above.iter().min() {
        Some(&next) if fraction > 0.0 => interpolate(floor, decode(next), fraction),
        _ => floor,
    }
}

/// numpy's `_lerp`, so that the two agree to the last bit; an infinity stays what it is.
pub(crate) fn interpolate(floor: f64, next: f64, fraction: f64) -> f64 {
    let step = next - floor;
    if !step.is_finite() {
        return if floor.is_infinite() { floor } else { next };
    }
    if fraction < 0.5 { floor + step * fraction } else { next - step * (1.0 - fraction) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_value_has_no_quantile() {
        let (low, high) = quantile_pair(&mut Keys::default(), 0.1, 0.9);
        assert!(low.is_nan() && high.is_nan());
    }

    proptest! {
        #[test]
        fn selection_equals_sorting(
            values in prop::collection::vec(-5_i8..5, 1..60), p in 0.0..1.0_f64, q in 0.0..1.0_f64
        ) {
            let (p, q) = (p.min(q), p.max(q));
            let mut sorted: Vec<f64> = values.iter().map(|&value| f64::from(value) / 3.0).collect();
            let mut keys = Keys::default();
            keys.extend(&sorted);
            sorted.sort_by(f64::total_cmp);
            let expected = |p: f64| {
                let rank = p * (sorted.len() - 1) as f64;
                let next = sorted[(rank.floor() as usize + 1).min(sorted.len() - 1)];
                interpolate(sorted[rank.floor() as usize], next, rank.fract())
            };
            prop_assert_eq!(quantile_pair(&mut keys, p, q), (expected(p), expected(q)));
        }
    }
}
