//! Random draws: one `ChaCha8` stream per (seed, purpose, index), so that the number of threads cannot
//! change a bit.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Use of a stream. Streams of one seed and different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Purpose {
    /// Bootstrap resamples.
    Resample = 1,
    /// Random sign flips.
    Permutation = 2,
    /// Simulated benchmarks.
    Simulation = 3,
}

/// The streams of one seed and purpose.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    base: ChaCha8Rng,
}

impl Streams {
    /// The key of the cipher holds the seed and the purpose as they are.
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        Self { base: ChaCha8Rng::from_seed(key) }
    }

    /// The words of stream `index`, from its beginning.
    #[inline]
    pub(super) fn stream(&self, index: u64) -> Words {
        // Setting the stream of an unused generator generates nothing; of a used one it would.
        let mut rng = self.base.clone();
        rng.set_stream(index);
        Words { rng, buffer: [0; WORDS], next: WORDS }
    }
}

/// 256 bytes: what the generator makes in one refill.
const WORDS: usize = 32;

/// A stream as 64-bit words, fetched a refill at a time.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    rng: ChaCha8Rng,
    buffer: [u64; WORDS],
    next: usize,
}

impl Words {
    /// The next word.
    #[inline]
    pub(crate) fn next_word(&mut self) -> u64 {
        if self.next == WORDS {
            self.refill();
        }
        let word = self.buffer[self.next];
        self.next += 1;
        word
    }

    fn refill(&mut self) {
        let mut bytes = [0; 8 * WORDS];
        self.rng.fill_bytes(&mut bytes);
        for (word, chunk) in self.buffer.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("a chunk of 8 bytes"));
        }
        self.next = 0;
    }
}

impl RngCore for Words {
    fn next_u32(&mut self) -> u32 {
        (self.next_word() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.next_word()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_word().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Most draws that are taken from one word.
const MOST: usize = 8;

/// Uniform integers below a bound, several from each 64-bit word, without bias.
///
/// Brackett-Rozinsky and Lemire 2024, "Batched ranged random integer generation": the word is
/// multiplied by the bound again and again, each high half is a draw, and the whole batch is
/// rejected if what is left of the word falls in the short remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dice {
    sides: u64,
    per_word: usize,
    power: u64,
    threshold: u64,
}

impl Dice {
    /// Dice with the given number of sides, at least 1.
    pub(super) fn new(sides: u32) -> Self {
        // The power stays under 2^56, so that fewer than 1 batch in 256 is rejected.
        let sides = u64::from(sides.max(1));
        let (mut per_word, mut power) = (1, sides);
        while per_word < MOST && power.checked_mul(sides).is_some_and(|next| next < 1 << 56) {
            per_word += 1;
            power *= sides;
        }
        Self { sides, per_word, power, threshold: power.wrapping_neg() % power }
    }

    /// Hand `n` draws to `visit`, in order.
    #[inline]
    pub(super) fn roll(&self, words: &mut Words, n: usize, visit: impl FnMut(u32)) {
        // A constant batch length lets the compiler unroll.
        match self.per_word {
            1 => self.roll_by::<1>(words, n, visit),
            2 => self.roll_by::<2>(words, n, visit),
            3 => self.roll_by::<3>(words, n, visit),
            4 => self.roll_by::<4>(words, n, visit),
            5 => self.roll_by::<5>(words, n, visit),
            6 => self.roll_by::<6>(words, n, visit),
            7 => self.roll_by::<7>(words, n, visit),
            _ => self.roll_by::<MOST>(words, n, visit),
        }
    }

    #[inline]
    fn roll_by<const N: usize>(&self, words: &mut Words, n: usize, mut visit: impl FnMut(u32)) {
        for _ in 0..n / N {
            for draw in self.batch::<N>(words) {
                visit(draw);
            }
        }
        if !n.is_multiple_of(N) {
            self.batch::<N>(words).into_iter().take(n % N).for_each(visit);
        }
    }

    #[inline]
    fn batch<const N: usize>(&self, words: &mut Words) -> [u32; N] {
        loop {
            let mut left = words.next_word();
            let mut batch = [0; N];
            for slot in &mut batch {
                let wide = u128::from(left) * u128::from(self.sides);
                *slot = (wide >> 64) as u32;
                left = wide as u64;
            }
            if left >= self.threshold {
                return batch;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_index_and_repeat() {
        let first = |seed, index| Streams::new(seed, Purpose::Resample).stream(index).next_word();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
    }

    #[test]
    fn words_are_the_chacha8_keystream() {
        let mut words = Streams::new(5, Purpose::Resample).stream(9);
        let mut rng = ChaCha8Rng::from_seed({
            let mut key = [0; 32];
            (key[0], key[8]) = (5, 1);
            key
        });
        rng.set_stream(9);
        for _ in 0..100 {
            assert_eq!(words.next_word(), rng.next_u64());
        }
    }

    #[test]
    fn dice_are_uniform() {
        // Chi-square with 198 degrees of freedom: mean 198, standard deviation 19.9.
        let dice = Dice::new(199);
        let mut words = Streams::new(3, Purpose::Resample).stream(0);
        let mut seen = [0_u32; 199];
        dice.roll(&mut words, 1_990_000, |draw| seen[draw as usize] += 1);
        let chi: f64 = seen.iter().map(|&n| (f64::from(n) - 1e4).powi(2) / 1e4).sum();
        assert!((118.0..298.0).contains(&chi), "{chi}");
    }

    #[test]
    fn one_sided_dice_always_show_the_same() {
        let mut out = Vec::new();
        let mut words = Streams::new(0, Purpose::Resample).stream(0);
        Dice::new(1).roll(&mut words, 40, |draw| out.push(draw));
        assert_eq!(out, [0; 40]);
    }
}
