//! One pass over a row of logits: the two largest, and the sum of exp(x - largest).
//!
//! Eight lanes hold eight partial sums, whatever the instruction set: SSE2, AVX2 and AVX-512 (or the
//! vectors of another machine) only decide how many lanes one instruction treats. The operations of a
//! lane and their order are the same, no multiplication is fused with an addition, and so are the bits.

/// Partial sums; the vector of AVX-512 holds as many.
const LANES: usize = 8;
/// Values that are compared side by side.
const WIDE: usize = 32;

/// Instruction sets that the machine code exists for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What every machine of this kind has: SSE2 on `x86_64`.
    Baseline,
    /// AVX2.
    Avx2,
    /// AVX-512 F and DQ.
    Avx512,
}

impl Level {
    /// All levels, ascending.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// True if this machine has it.
    #[must_use]
    pub fn is_there(self) -> bool {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        return match self {
            Self::Baseline => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")
            }
        };
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        return self == Self::Baseline;
    }

    /// The highest level of this machine.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|level| level.is_there()).unwrap_or(Self::Baseline)
    }
}

/// What a row holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// The place of the largest value, the first on a tie.
    pub top: usize,
    /// The largest value.
    pub first: f32,
    /// The second largest: the same on a tie.
    pub second: f32,
    /// Sum of exp(x - largest); NaN if the row holds a NaN, and then nothing else means anything.
    pub sum: f64,
}

/// Pass over a row. A level that this machine lacks is taken for [`Level::Baseline`].
#[must_use]
pub fn pass(row: &[f32], level: Level) -> Pass {
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: the machine has the instructions.
        Level::Avx2 if level.is_there() => return unsafe { pass_avx2(row) },
        // SAFETY: as above.
        Level::Avx512 if level.is_there() => return unsafe { pass_avx512(row) },
        _ => {}
    }
    let _ = level;
    pass_here(row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn pass_avx2(row: &[f32]) -> Pass {
    pass_here(row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn pass_avx512(row: &[f32]) -> Pass {
    pass_here(row)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for each instruction set")]
fn pass_here(row: &[f32]) -> Pass {
    let (first, second) = two_largest(row);
    Pass { top: place_of(row, first), first, second, sum: sum_exp(row, f64::from(first)) }
}

/// The first place of a value.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see above")]
#[expect(clippy::float_cmp, reason = "a value of the row itself")]
#[expect(clippy::needless_bitwise_bool, reason = "no branch, so that vectors compare")]
fn place_of(row: &[f32], value: f32) -> usize {
    let holds = |chunk: &[f32; WIDE]| chunk.iter().fold(false, |found, &x| found | (x == value));
    let (chunks, _) = row.as_chunks::<WIDE>();
    let start = WIDE * chunks.iter().position(holds).unwrap_or(chunks.len());
    start + row[start..].iter().position(|&x| x == value).unwrap_or(0)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see above")]
fn two_largest(row: &[f32]) -> (f32, f32) {
    let [mut first, mut second] = [[f32::NEG_INFINITY; WIDE]; 2];
    let (chunks, rest) = row.as_chunks::<WIDE>();
    for chunk in chunks {
        for lane in 0..WIDE {
            let (x, best) = (chunk[lane], first[lane]);
            let lower = if x < best { x } else { best };
            second[lane] = if lower > second[lane] { lower } else { second[lane] };
            first[lane] = if x > best { x } else { best };
        }
    }
    let mut two = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &x in first.iter().chain(&second).chain(rest) {
        two = if x > two.0 { (x, two.0) } else { (two.0, if x > two.1 { x } else { two.1 }) };
    }
    two
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see above")]
fn sum_exp(row: &[f32], max: f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        add_exp(&mut sums, chunk, max);
    }
    let mut last = [f32::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    add_exp(&mut sums, &last, max);
    sums.iter().sum()
}

/// Coefficients of r to the power of 0, 1, 2, ...: the Chebyshev series of exp on -ln(2)/2..ln(2)/2, with
/// the Bessel functions `I_k(ln(2)/2)`, up to degree 10. It is off by 2.5e-16.
const EXP: [f64; 11] = [
    1.0,
    1.000_000_000_000_006_7,
    0.500_000_000_000_001_9,
    0.166_666_666_665_543_92,
    0.041_666_666_666_488_08,
    0.008_333_333_385_671_316,
    0.001_388_888_895_231_804_5,
    0.000_198_411_702_665_183_2,
    2.480_148_547_921_643e-5,
    2.764_018_224_736_218_8e-6,
    2.763_264_067_543_023_5e-7,
];

/// ln(2) in two parts; a multiple of the first, up to 2^21 times, is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// Adding it rounds to a whole number, which then stands in the lowest bits.
const ROUND: f64 = 1.5 * (1_u64 << 52) as f64;

/// Below it exp adds nothing to a sum of at least 1, and its power of two is still a normal number.
const LEAST: f64 = -700.0;

/// Add exp(x - max), x - max at most 0, to each lane: exp(k ln 2 + r) = 2^k exp(r), without a branch.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see above")]
fn add_exp(sums: &mut [f64; LANES], chunk: &[f32; LANES], max: f64) {
    for lane in 0..LANES {
        let x = f64::from(chunk[lane]) - max;
        // A NaN stays one.
        let x = if x < LEAST { LEAST } else { x };
        let shifted = x * std::f64::consts::LOG2_E + ROUND;
        let k = shifted - ROUND;
        let r = (x - k * LN_2[0]) - k * LN_2[1];
        let square = r * r;
        let (mut even, mut odd) = (EXP[10] * square + EXP[8], EXP[9]);
        for power in (0..4).rev() {
            even = even * square + EXP[2 * power];
            odd = odd * square + EXP[2 * power + 1];
        }
        let exp = even + odd * r;
        let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
        sums[lane] += exp * scale;
    }
}
