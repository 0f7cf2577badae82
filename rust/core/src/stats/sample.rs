//! The resamples of one slice, evaluated a block at a time.

use std::ops::Range;

use rand_distr::{Binomial, Distribution};

use super::products::Products;
use super::units::{Question, Units};
use super::{Dice, Measure, Method, Observed, Purpose, Request, Streams, Unit, Words};
use crate::Result;

/// Resamples that are drawn together, small enough for their indices to stay in cache.
pub(crate) const BLOCK: usize = 64;

/// A slice, ready to be resampled for several questions and measures by one method.
pub(crate) struct Sample<'a> {
    request: &'a Request<'a>,
    /// The method of the intervals.
    pub(crate) method: Method,
    measures: Vec<Measure>,
    questions: Vec<&'a Question>,
    units: Vec<&'a Units>,
    /// What is known of each question's measures before resampling, question by question.
    pub(crate) observed: Vec<Observed>,
    /// Sums of products of counts for each row, if values are studentised.
    products: Vec<Products>,
    streams: Streams,
    dice: Vec<(Range<usize>, Dice)>,
    /// Resamples in all.
    pub(crate) n_resamples: u64,
}

impl<'a> Sample<'a> {
    pub(crate) fn new(
        request: &'a Request<'a>,
        method: Method,
        measures: Vec<Measure>,
        questions: Vec<&'a Question>,
        units: Vec<&'a Units>,
    ) -> Result<Self> {
        let n_resamples = request.n_resamples_of(units[0])?;
        let observed = questions.iter().zip(&units).flat_map(|(question, units)| {
            let one = |&measure: &Measure| request.observe(measure, question, units);
            measures.iter().map(one).collect::<Vec<_>>()
        });
        let dice = |range: &Range<usize>| (range.clone(), Dice::new(range.len() as u32));
        let dice = units[0].strata.iter().map(dice).collect();
        let studentised = method == Method::Studentised;
        let products = if studentised {
            units.iter().map(|&units| Products::new(units, request.unit)).collect()
        } else {
            vec![]
        };
        Ok(Self {
            request,
            method,
            observed: observed.collect(),
            products,
            streams: Streams::new(request.seed, Purpose::Resample),
            dice,
            measures,
            questions,
            units,
            n_resamples,
        })
    }

    /// Values in a block: for each question and measure `BLOCK` resamples.
    pub(crate) fn block_len(&self) -> usize {
        self.observed.len() * BLOCK
    }

    /// The resamples of a block.
    pub(crate) fn resamples(&self, block: usize) -> Range<u64> {
        let first = (block * BLOCK) as u64;
        first..(first + BLOCK as u64).min(self.n_resamples)
    }

    /// Number of blocks.
    pub(crate) fn n_blocks(&self) -> usize {
        self.n_resamples.div_ceil(BLOCK as u64) as usize
    }

    /// Fill `values`, laid out as `[question][measure][resample of the block]`: the resampled value,
    /// or its distance from the observed one in standard errors if studentised.
    pub(crate) fn evaluate(&self, block: usize, values: &mut [f64]) {
        let resamples = self.resamples(block);
        let n = (resamples.end - resamples.start) as usize;
        let measures = &self.measures;
        let shared = match self.request.unit {
            Unit::Scenario => self.draw_scenarios(resamples.clone()),
            Unit::Pair => Vec::new(),
        };
        let mut totals = Vec::new();
        for (index, values) in values.chunks_exact_mut(measures.len() * BLOCK).enumerate() {
            let units = self.units[index];
            let own = match self.request.unit {
                Unit::Scenario => Vec::new(),
                Unit::Pair => self.draw_patterns(resamples.clone(), units),
            };
            let drawn = if own.is_empty() { &shared } else { &own };
            totals.clear();
            totals.extend(units.terms.iter().map(|rows| self.sums(rows, drawn, n)));
            for (&measure, values) in measures.iter().zip(values.chunks_exact_mut(BLOCK)) {
                weighted_values(measure, self.questions[index], &totals, &mut values[..n]);
            }
            if !self.products.is_empty() {
                self.studentise(index, drawn, &totals, values);
            }
        }
    }

    /// Indices of the drawn scenarios, resample by resample.
    fn draw_scenarios(&self, resamples: Range<u64>) -> Vec<u32> {
        let n_draws = self.units[0].n_rows();
        let mut indices = vec![0; n_draws * (resamples.end - resamples.start) as usize];
        for (resample, indices) in resamples.zip(indices.chunks_exact_mut(n_draws.max(1))) {
            if self.request.n_resamples.is_none() {
                self.enumerate(resample, indices);
                continue;
            }
            let mut words = self.streams.stream(resample);
            for (range, dice) in &self.dice {
                dice.roll_into(&mut words, range.start as u32, &mut indices[range.clone()]);
            }
        }
        indices
    }

    /// The digits of a number, each in the base of its stratum: over all numbers, all resamples.
    fn enumerate(&self, mut number: u64, indices: &mut [u32]) {
        for (range, _) in &self.dice {
            let base = range.len() as u64;
            for index in &mut indices[range.clone()] {
                *index = range.start as u32 + (number % base) as u32;
                number /= base;
            }
        }
    }

    /// How often each outcome pattern is drawn, resample by resample.
    fn draw_patterns(&self, resamples: Range<u64>, units: &Units) -> Vec<u32> {
        let mut drawn = Vec::with_capacity(units.n_rows() * BLOCK);
        for resample in resamples {
            let mut words = self.streams.stream(resample);
            for stratum in &units.strata {
                multinomial(&mut words, &units.multiplicity[stratum.clone()], &mut drawn);
            }
        }
        drawn
    }

    /// (a, b, c, d) of each resample.
    fn sums(&self, rows: &[[u32; 4]], drawn: &[u32], n: usize) -> Vec<[u32; 4]> {
        if rows.is_empty() {
            return vec![[0; 4]; n];
        }
        let sum = match self.request.unit {
            Unit::Scenario => sum_drawn,
            Unit::Pair => sum_multiplied,
        };
        drawn.chunks_exact(rows.len()).map(|drawn| sum(rows, drawn)).collect()
    }

    /// Turn values into distances from the observed one in the resample's own standard errors.
    /// A gap of exactly 0 is a distance of 0 even where the standard error is 0 too.
    fn studentise(
        &self,
        index: usize,
        drawn: &[u32],
        totals: &[Vec<[u32; 4]>],
        values: &mut [f64],
    ) {
        let (question, products) = (self.questions[index], &self.products[index]);
        let units = self.units[index];
        let mut at = vec![[0.0; 4]; totals.len()];
        let mut gradient = at.clone();
        for (slot, drawn) in drawn.chunks_exact(units.n_rows().max(1)).enumerate() {
            for (at, totals) in at.iter_mut().zip(totals) {
                *at = totals[slot].map(f64::from);
            }
            let sums = products.sums(units, drawn);
            for (k, &measure) in self.measures.iter().enumerate() {
                question.gradient_into(measure, &at, &mut gradient);
                let error = products.variance(&sums, gradient.as_flattened()).sqrt();
                let value = &mut values[k * BLOCK + slot];
                let distance = *value - self.observed[index * self.measures.len() + k].value;
                *value = if distance == 0.0 { 0.0 } else { distance / error };
            }
        }
    }
}

#[inline]
fn sum_drawn(rows: &[[u32; 4]], drawn: &[u32]) -> [u32; 4] {
    let mut sum = [0; 4];
    for &index in drawn {
        let row = rows[index as usize];
        for (cell, count) in sum.iter_mut().zip(row) {
            *cell += count;
        }
    }
    sum
}

fn sum_multiplied(rows: &[[u32; 4]], drawn: &[u32]) -> [u32; 4] {
    let mut sum = [0; 4];
    for (row, &times) in rows.iter().zip(drawn) {
        for (cell, count) in sum.iter_mut().zip(row) {
            *cell += times * count;
        }
    }
    sum
}

/// A multinomial draw by conditional binomials: as many draws as there are units.
fn multinomial(words: &mut Words, multiplicity: &[u32], drawn: &mut Vec<u32>) {
    let mut open: u64 = multiplicity.iter().map(|&n| u64::from(n)).sum();
    let mut left = open;
    for &n in multiplicity {
        let n = u64::from(n);
        let times = if n == open {
            left
        } else {
            let share = n as f64 / open as f64;
            Binomial::new(left, share).expect("a share between 0 and 1").sample(words)
        };
        (open, left) = (open - n, left - times);
        drawn.push(times as u32);
    }
}

fn weighted_values(
    measure: Measure,
    question: &Question,
    totals: &[Vec<[u32; 4]>],
    values: &mut [f64],
) {
    if let (true, [first, second]) = (measure.is_joint(), totals) {
        for ((value, first), second) in values.iter_mut().zip(first).zip(second) {
            *value = question.value(measure, &[first.map(f64::from), second.map(f64::from)]);
        }
        return;
    }
    values.fill(0.0);
    for (&(_, weight), totals) in question.terms.iter().zip(totals) {
        measure.add_to(weight, totals, values);
    }
}
