//! The resamples of one slice, evaluated a block at a time.

use std::borrow::Cow;
use std::ops::Range;

use super::block::{BLOCK, Column, Totals};
use super::multinomial::multinomial;
use super::products::Products;
use super::units::{Question, Units};
use super::{Dice, Joint, Measure, Method, Observed, Purpose, Request, Streams, Unit};
use crate::Result;

/// The largest count that a packed sum can hold.
const MOST_PACKED: u32 = 0xffff;

/// A slice, ready to be resampled for several questions and measures by one method.
pub(crate) struct Sample<'a> {
    request: &'a Request<'a>,
    /// The method of the intervals.
    pub(crate) method: Method,
    measures: Vec<Measure>,
    questions: Vec<&'a Question>,
    units: Vec<Cow<'a, Units>>,
    /// The pairs, where several questions share the draws of pairs.
    joint: Option<&'a Joint>,
    /// Observed values and spreads of the measures, question by question.
    pub(crate) observed: Vec<Observed>,
    /// Sums of products of counts for each row, if values are studentised.
    products: Vec<Products>,
    /// The rows, where one series is all that is drawn for.
    packed: Option<Vec<u64>>,
    streams: Streams,
    dice: Vec<(Range<usize>, Dice)>,
    /// Resamples in all.
    pub(crate) n_resamples: u64,
}

impl<'a> Sample<'a> {
    /// A sample of questions with their units, and what is observed of their measures.
    pub(crate) fn new(
        request: &'a Request<'a>,
        method: Method,
        measures: Vec<Measure>,
        (questions, units): (Vec<&'a Question>, Vec<&'a Units>),
        joint: Option<&'a Joint>,
        observed: Vec<Observed>,
    ) -> Result<Self> {
        let n_resamples = request.n_resamples_of(units[0])?;
        let rows = |(question, units): (&&Question, &'a Units)| match joint {
            Some(joint) => Cow::Owned(joint.units(&request.items, question)),
            None => Cow::Borrowed(units),
        };
        let units: Vec<Cow<'a, Units>> = questions.iter().zip(units).map(rows).collect();
        let dice = |range: &Range<usize>| (range.clone(), Dice::new(range.len() as u32));
        let members = joint.map_or(&units[0].strata, |joint| &joint.members);
        let dice = members.iter().map(dice).collect();
        let studentised = method == Method::Studentised;
        let products =
            |units: &Cow<'_, Units>| studentised.then(|| Products::new(units, request.unit));
        let products = units.iter().filter_map(products).collect();
        let plain = request.unit == Unit::Scenario && request.n_resamples.is_some() && !studentised;
        Ok(Self {
            request,
            method,
            observed,
            products,
            packed: if plain && units.len() == 1 { pack(&units[0]) } else { None },
            streams: Streams::new(request.seed, Purpose::Resample),
            dice,
            measures,
            questions,
            units,
            joint,
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
    ///
    /// # Errors
    /// If the call was told to stop.
    pub(crate) fn evaluate(&self, block: usize, values: &mut [f64]) -> Result<()> {
        self.request.stop.check()?;
        if let Some(rows) = &self.packed {
            self.fill(0, block, &[self.draw_sums(rows, block)], values);
            return Ok(());
        }
        let mut sums = self.no_sums();
        match (self.request.unit, self.joint) {
            (Unit::Scenario, _) => self.draw_scenarios(block, &mut sums),
            (Unit::Pair, Some(joint)) => self.draw_pairs(block, joint, &mut sums),
            (Unit::Pair, None) => self.draw_patterns(block, &mut sums),
        }
        let width = self.measures.len() * BLOCK;
        for (index, values) in values.chunks_exact_mut(width).enumerate() {
            match &sums[index] {
                Sums::Counts(totals) => self.fill(index, block, totals, values),
                Sums::Products(sums) => {
                    let products = &self.products[index];
                    let n_terms = self.units[index].terms.len();
                    let totals: Vec<_> =
                        (0..n_terms).map(|term| products.totals(sums, term)).collect();
                    self.fill(index, block, &totals, values);
                    self.studentise(index, sums, &totals, values);
                }
            }
        }
        Ok(())
    }

    fn no_sums(&self) -> Vec<Sums> {
        let sums = |(index, units): (usize, &Cow<'_, Units>)| match self.products.get(index) {
            Some(products) => Sums::Products(products.no_sums()),
            None => Sums::Counts(vec![Totals::new(); units.terms.len()]),
        };
        self.units.iter().enumerate().map(sums).collect()
    }

    /// Sum what one resample of one question has drawn.
    fn add(&self, index: usize, drawn: &[u32], slot: usize, sums: &mut Sums) {
        let units = &*self.units[index];
        match sums {
            Sums::Products(sums) => self.products[index].sum_into(units, drawn, slot, sums),
            Sums::Counts(totals) => {
                let sum = match self.request.unit {
                    Unit::Scenario => sum_drawn,
                    Unit::Pair => sum_multiplied,
                };
                for (totals, rows) in totals.iter_mut().zip(&units.terms) {
                    totals.set(slot, sum(rows, drawn));
                }
            }
        }
    }

    fn add_to_all(&self, drawn: &[u32], slot: usize, sums: &mut [Sums]) {
        sums.iter_mut().enumerate().for_each(|(index, sums)| self.add(index, drawn, slot, sums));
    }

    /// The values of all measures of a question.
    fn fill(&self, index: usize, block: usize, totals: &[Totals], values: &mut [f64]) {
        let n = self.resamples(block).count();
        let observed = self.observed[index * self.measures.len()..].iter();
        let measures = self.measures.iter().zip(observed);
        for ((&measure, observed), values) in measures.zip(values.chunks_exact_mut(BLOCK)) {
            weighted_values(measure, self.questions[index], totals, &mut values[..n]);
            self.questions[index].snap(measure, observed.value, &mut values[..n]);
        }
    }

    /// (a, b, c, d) of each resample of a block, summed as they are drawn.
    fn draw_sums(&self, rows: &[u64], block: usize) -> Totals {
        let mut words = self.streams.stream(block as u64);
        let mut totals = Totals::new();
        for slot in 0..self.resamples(block).count() {
            let mut sum = 0;
            for (range, dice) in &self.dice {
                let rows = &rows[range.clone()];
                dice.roll(&mut words, rows.len(), |draw| sum += rows[draw as usize]);
            }
            totals.set(slot, [0, 16, 32, 48].map(|shift| (sum >> shift) as u32 & MOST_PACKED));
        }
        totals
    }

    /// Draw indices of scenarios, the same for all questions.
    fn draw_scenarios(&self, block: usize, sums: &mut [Sums]) {
        let mut words = self.streams.stream(block as u64);
        let mut drawn = Vec::with_capacity(self.units[0].n_rows());
        for (slot, resample) in self.resamples(block).enumerate() {
            drawn.clear();
            if self.request.n_resamples.is_none() {
                self.enumerate(resample, &mut drawn);
            } else {
                for (range, dice) in &self.dice {
                    let first = range.start as u32;
                    dice.roll(&mut words, range.len(), |draw| drawn.push(first + draw));
                }
            }
            self.add_to_all(&drawn, slot, sums);
        }
    }

    /// The digits of a number, each in the base of its stratum: over all numbers, all resamples.
    fn enumerate(&self, mut number: u64, indices: &mut Vec<u32>) {
        for (range, _) in &self.dice {
            let base = range.len() as u64;
            for _ in range.clone() {
                indices.push(range.start as u32 + (number % base) as u32);
                number /= base;
            }
        }
    }

    /// Draw pairs, the same for all questions, and count each pattern under all series.
    fn draw_pairs(&self, block: usize, joint: &Joint, sums: &mut [Sums]) {
        let mut words = self.streams.stream(block as u64);
        let mut drawn = vec![0; self.units[0].n_rows()];
        for slot in 0..self.resamples(block).count() {
            drawn.fill(0);
            for (range, dice) in &self.dice {
                let rows = &joint.rows[range.clone()];
                dice.roll(&mut words, rows.len(), |draw| drawn[rows[draw as usize] as usize] += 1);
            }
            self.add_to_all(&drawn, slot, sums);
        }
    }

    /// Draw how often each pattern of outcomes comes, from the same stream for each question.
    fn draw_patterns(&self, block: usize, sums: &mut [Sums]) {
        let mut drawn = Vec::new();
        for (index, sums) in sums.iter_mut().enumerate() {
            let mut words = self.streams.stream(block as u64);
            let units = &*self.units[index];
            for slot in 0..self.resamples(block).count() {
                drawn.clear();
                for stratum in &units.strata {
                    multinomial(&mut words, &units.multiplicity[stratum.clone()], &mut drawn);
                }
                self.add(index, &drawn, slot, sums);
            }
        }
    }

    /// Turn values into distances from the observed one in the resample's own standard errors.
    /// A gap of exactly 0 is a distance of 0 even where the standard error is 0 too.
    fn studentise(&self, index: usize, sums: &[Column], totals: &[Totals], values: &mut [f64]) {
        let observed = &self.observed[index * self.measures.len()..];
        let mut slopes = vec![[[0.0; BLOCK]; 4]; totals.len()];
        let measures = self.measures.iter().zip(observed);
        for ((&measure, observed), values) in measures.zip(values.chunks_exact_mut(BLOCK)) {
            self.questions[index].gradients_into(measure, totals, &mut slopes);
            let variances = self.products[index].variances(sums, slopes.as_flattened());
            for (value, variance) in values.iter_mut().zip(variances) {
                let distance = *value - observed.value;
                *value = if distance == 0.0 { 0.0 } else { distance / variance.sqrt() };
            }
        }
    }
}

/// What a block has drawn for one question.
enum Sums {
    /// (a, b, c, d) of each term.
    Counts(Vec<Totals>),
    /// Counts and their products.
    Products(Vec<Column>),
}

/// The four counts of each row of the only term in one word, 16 bits each, if no resample can overflow.
fn pack(units: &Units) -> Option<Vec<u64>> {
    let [rows] = &units.terms[..] else { return None };
    let largest = rows.iter().flatten().copied().max().unwrap_or(0);
    if u64::from(largest) * rows.len() as u64 > u64::from(MOST_PACKED) {
        return None;
    }
    let pack = |row: &[u32; 4]| row.iter().rev().fold(0, |word, &n| word << 16 | u64::from(n));
    Some(rows.iter().map(pack).collect())
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

fn weighted_values(measure: Measure, question: &Question, totals: &[Totals], values: &mut [f64]) {
    if let (true, [first, second]) = (measure.is_joint(), totals) {
        for (slot, value) in values.iter_mut().enumerate() {
            *value = question.value(measure, &[first.at(slot), second.at(slot)]);
        }
        return;
    }
    values.fill(0.0);
    for (&(_, weight), totals) in question.terms.iter().zip(totals) {
        measure.add_to(weight, totals.columns(values.len()), values);
    }
}
