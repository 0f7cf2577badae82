//! Settings and results of a resampling pass.

use super::block::{BLOCK, Column, Totals};
use super::detection::{adjusted_mar, adjusted_mar_gradient};
use super::units::{Items, Question};
use super::{Ends, Measure, Method, Observed, StatsError, Undefined, Unit, Units};
use super::{check_level, check_resamples, refuse};
use crate::Result;
use crate::work::Stop;

/// Most resamples that are enumerated: 8^8 is below, 9^9 above.
const MOST_RESAMPLES: u64 = 100_000_000;

/// Most categories, each of which is a slice.
const MOST_CATEGORIES: usize = 1 << 16;

/// Settings of a resampling pass.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The outcomes.
    pub items: Items<'a>,
    /// Series, or weighted sums of series, in the order of the answer.
    pub questions: Vec<Question>,
    /// Measures, in the order of the answer.
    pub measures: Vec<Measure>,
    /// The unit of resampling.
    pub unit: Unit,
    /// True if each category is a slice, beside all pairs together.
    pub by_category: bool,
    /// True if the overall slice keeps the number of units of each category fixed.
    pub stratified: bool,
    /// The interval method; `None` takes the best by coverage (`Request::method_for`).
    pub method: Option<Method>,
    /// Between 0 and 1.
    pub confidence_level: f64,
    /// Number of resamples, at least 1; `None` takes each of the G^G resamples of G scenarios once.
    pub n_resamples: Option<u64>,
    /// Seed; the same seed gives the same bits.
    pub seed: u64,
    /// Read once a block: the call may be told to stop.
    pub stop: &'a Stop,
}

/// A measure of a question in a slice. NaN where there is no number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value at the observed counts.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Standard error over units, linearised.
    pub standard_error: f64,
    /// The interval method.
    pub method: Method,
    /// Units with a pair in the denominator of the measure, under any term.
    pub n_informative: u64,
    /// Why there is no value, or no interval.
    pub reason: Option<Undefined>,
    /// Resamples in which the measure has no value; they are left out of the interval.
    pub n_undefined: u64,
}

/// All estimates of a question in a slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// (a, b, c, d) for each term of the question.
    pub counts: Vec<[f64; 4]>,
    /// Units in the slice.
    pub n_units: u64,
    /// Pairs that count (`Units::n_scored`).
    pub n_scored: u64,
    /// Pairs that do not.
    pub n_unscored: u64,
    /// One for each measure.
    pub estimates: Vec<Estimate>,
}

impl Request<'_> {
    pub(crate) fn check(&self) -> Result<()> {
        self.items.check()?;
        check_level(self.confidence_level)?;
        check_resamples(self.n_resamples.unwrap_or(1))?;
        if self.n_resamples.is_none() && self.unit == Unit::Pair {
            return refuse("n_resamples", f64::NAN, "be a number if the unit is the pair");
        }
        let n_measures = self.measures.len();
        if n_measures == 0 || n_measures > Measure::ALL.len() {
            return refuse("measures", n_measures as f64, "be from 1 to 10");
        }
        if self.by_category && self.items.n_categories() > MOST_CATEGORIES {
            let last = (self.items.n_categories() - 1) as f64;
            return refuse("category", last, "be numbered from 0 to 65535");
        }
        self.check_questions()
    }

    fn check_questions(&self) -> Result<()> {
        let n_series = self.items.n_series();
        let known = |question: &Question| question.terms.iter().all(|&(at, _)| at < n_series);
        if self.questions.is_empty() {
            return refuse("weights", 0.0, "have at least 1 row");
        }
        if self.questions.iter().any(|question| question.terms.is_empty()) {
            return refuse("weights", 0.0, "have one that is not 0 in each row");
        }
        let mut weights = self.questions.iter().flat_map(|question| &question.terms);
        if let Some(&(_, weight)) =
            weights.find(|&&(_, weight)| weight.abs().is_nan() || weight.abs() > 1e6)
        {
            return refuse("weights", weight, "be from -1000000 to 1000000");
        }
        if self.items.n_pairs() > 0 && !self.questions.iter().all(known) {
            return refuse("questions", n_series as f64, "name existing series only");
        }
        let longest = self.questions.iter().map(|question| question.terms.len()).max().unwrap_or(0);
        if longest > Question::MOST_TERMS {
            return refuse("weights", longest as f64, "weigh at most 16 series");
        }
        if self.measures.iter().any(|measure| measure.is_joint())
            && !self.questions.iter().all(Question::is_couple)
        {
            return refuse(
                "weights",
                longest as f64,
                "name 2 series for mar_adjusted: stereotyped, contrast",
            );
        }
        if self.unit == Unit::Pair && self.questions.iter().any(|question| !question.paired) {
            return refuse("paired", 0.0, "be 1 if the unit is the pair");
        }
        Ok(())
    }

    /// The number of resamples of a slice.
    pub(crate) fn n_resamples_of(&self, units: &Units) -> Result<u64> {
        if let Some(n) = self.n_resamples {
            return Ok(n);
        }
        let all = units.strata.iter().try_fold(1_u64, |all, stratum| {
            let n = stratum.len() as u64;
            all.checked_mul(n.checked_pow(stratum.len() as u32)?)
        });
        all.filter(|&all| all <= MOST_RESAMPLES).ok_or_else(|| {
            let rule = "be a number for more than 8 scenarios";
            let value = units.n_rows() as f64;
            StatsError::OutOfRange { name: "n_resamples", value, rule }.into()
        })
    }

    /// The method of a measure of a question: the one asked for, else the one of best coverage in
    /// simulations of clustered benchmarks, also with few scenarios: `ClopperPearson` for rates,
    /// `Mover` for weighted sums of rates, and `Studentised` for what is no rate.
    pub(crate) fn method_for(&self, measure: Measure, question: &Question) -> Method {
        self.method.unwrap_or(match (question.is_rate(measure), measure.is_rate()) {
            (true, _) => Method::ClopperPearson,
            (_, true) => Method::Mover,
            _ => Method::Studentised,
        })
    }

    /// True if `Bca` stands in for this interval: the default's, where an end is infinite.
    pub(crate) fn falls_back(&self, ends: Ends) -> bool {
        self.method.is_none() && ends == Err(Undefined::Unbounded)
    }

    pub(crate) fn observe(&self, measure: Measure, question: &Question, units: &Units) -> Observed {
        Observed::of(measure, question, units, self.unit)
    }
}

impl Observed {
    /// What is observed of a measure of a question.
    pub(crate) fn of(measure: Measure, question: &Question, units: &Units, unit: Unit) -> Self {
        let value = question.value(measure, &units.totals());
        let spread = units.spread(question, measure);
        let error = spread.standard_error;
        let is_rate = question.is_rate(measure);
        let size = || units.effective_size(measure, unit, value / 100.0, error);
        Self {
            value,
            spread,
            effective_size: is_rate.then(size),
            n_bases: units.base(measure).0,
            range: question.range(measure),
        }
    }
}

impl Question {
    /// The weighted sum of a measure at the given (a, b, c, d) of each term; a joint measure takes
    /// the two terms as they are.
    #[must_use]
    pub fn value(&self, measure: Measure, totals: &[[f64; 4]]) -> f64 {
        if let (true, &[first, second]) = (measure.is_joint(), totals) {
            return adjusted_mar([first, second]);
        }
        self.terms.iter().zip(totals).map(|(&(_, w), &counts)| w * measure.value(counts)).sum()
    }

    /// The slopes of the value in each term's (a, b, c, d).
    pub(crate) fn gradient_into(
        &self,
        measure: Measure,
        totals: &[[f64; 4]],
        slopes: &mut [[f64; 4]],
    ) {
        if let (true, &[first, second]) = (measure.is_joint(), totals) {
            slopes.copy_from_slice(&adjusted_mar_gradient([first, second]));
            return;
        }
        for ((slopes, &counts), &(_, weight)) in slopes.iter_mut().zip(totals).zip(&self.terms) {
            *slopes = measure.gradient(counts).map(|slope| weight * slope);
        }
    }

    /// The slopes of the value in each term's (a, b, c, d), for each resample of a block.
    pub(crate) fn gradients_into(
        &self,
        measure: Measure,
        totals: &[Totals],
        slopes: &mut [[Column; 4]],
    ) {
        if measure.is_linear() {
            for ((slopes, totals), &(_, weight)) in slopes.iter_mut().zip(totals).zip(&self.terms) {
                measure.gradients_into(weight, totals.whole(), slopes);
            }
            return;
        }
        let mut at = vec![[0.0; 4]; totals.len()];
        let mut gradient = at.clone();
        for slot in 0..BLOCK {
            at.iter_mut().zip(totals).for_each(|(at, totals)| *at = totals.at(slot));
            self.gradient_into(measure, &at, &mut gradient);
            for (slopes, gradient) in
                slopes.as_flattened_mut().iter_mut().zip(gradient.as_flattened())
            {
                slopes[slot] = *gradient;
            }
        }
    }

    /// Two values no further apart than this differ by rounding alone: 1e-12 of the measure's scale.
    pub(crate) fn slack(&self, measure: Measure) -> f64 {
        let scale =
            if matches!(measure, Measure::DPrime | Measure::Criterion) { 1.0 } else { 100.0 };
        1e-12 * scale * self.terms.iter().map(|&(_, weight)| weight.abs()).sum::<f64>()
    }

    /// Set resampled values that tie with the observed one to its very bits, so that they count as
    /// ties. A single term needs none of it, since equal quotients round alike; their sums do not.
    pub(crate) fn snap(&self, measure: Measure, observed: f64, values: &mut [f64]) {
        if self.terms.len() > 1 {
            let slack = self.slack(measure);
            for value in values {
                *value = if (*value - observed).abs() <= slack { observed } else { *value };
            }
        }
    }

    /// Why there is no value.
    #[must_use]
    pub fn undefined(&self, measure: Measure, totals: &[[f64; 4]]) -> Option<Undefined> {
        let no_hit = measure.is_joint() && totals.last().is_some_and(|contrast| contrast[0] == 0.0);
        let reason = totals.iter().find_map(|&counts| measure.undefined(counts));
        reason.or(no_hit.then_some(Undefined::NoContrastCorrect))
    }

    /// True if the value is a single rate between 0 and 100.
    pub(crate) fn is_rate(&self, measure: Measure) -> bool {
        measure.is_rate() && self.terms.len() == 1 && (self.terms[0].1 - 1.0).abs() < f64::EPSILON
    }

    /// The least and the largest value that there can be.
    #[must_use]
    pub fn range(&self, measure: Measure) -> (f64, f64) {
        let (least, most) = measure.range();
        let ends = |w: f64| if w < 0.0 { (w * most, w * least) } else { (w * least, w * most) };
        self.terms.iter().fold((0.0, 0.0), |sum, &(_, weight)| {
            let ends = ends(weight);
            (sum.0 + ends.0, sum.1 + ends.1)
        })
    }
}
