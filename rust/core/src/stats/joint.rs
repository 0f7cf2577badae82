//! Pairs that several questions draw together.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::units::{Items, Question, Unit, Units};
use super::{Request, StatsError};
use crate::Result;

/// The pairs of a slice in the order in which they are drawn, with their outcomes under all series.
///
/// They are ordered by stratum, scenario and outcomes. So the order in which pairs come cannot matter,
/// and where each pair is its own scenario, the draws are those of scenarios.
pub(crate) struct Joint {
    /// For each pattern of outcomes that occurs in a stratum, a pair that has it.
    examples: Vec<usize>,
    /// Number of pairs with each pattern.
    multiplicity: Vec<u32>,
    /// The patterns of each stratum.
    strata: Vec<Range<usize>>,
    /// The pairs of each stratum.
    pub(crate) members: Vec<Range<usize>>,
    /// The pattern of each pair.
    pub(crate) rows: Vec<u32>,
}

impl Joint {
    /// The pairs of a slice, where pairs are drawn and several questions share the draws.
    ///
    /// # Errors
    /// If there are more pairs than a 32-bit count holds.
    pub(crate) fn of(request: &Request<'_>, slice: Option<u32>) -> Result<Option<Self>> {
        if request.unit == Unit::Scenario || request.questions.len() < 2 {
            return Ok(None);
        }
        let stratified = request.stratified && slice.is_none();
        let joint = Self::collect(&request.items, slice, stratified);
        if joint.rows.len() > u32::MAX as usize {
            let n_units = joint.rows.len() as u64;
            return Err(StatsError::TooManyPairs { n_units, largest: 1 }.into());
        }
        Ok(Some(joint))
    }

    fn collect(items: &Items<'_>, slice: Option<u32>, stratified: bool) -> Self {
        let outcomes = |pair: usize| -> Vec<u8> {
            items
                .codes
                .iter()
                .skip(pair)
                .step_by(items.n_pairs())
                .map(|&code| code.min(4))
                .collect()
        };
        let stratum = |pair: usize| if stratified { items.category[pair] } else { 0 };
        let mut pairs: Vec<_> = items
            .pairs_of(slice)
            .into_iter()
            .map(|pair| (stratum(pair), items.scenario[pair], outcomes(pair), pair))
            .collect();
        pairs.sort_unstable();
        let mut joint = Self {
            examples: vec![],
            multiplicity: vec![],
            strata: vec![],
            members: vec![],
            rows: Vec::with_capacity(pairs.len()),
        };
        for members in pairs.chunk_by(|one, next| one.0 == next.0) {
            let first = (joint.examples.len(), joint.rows.len());
            let mut known = FxHashMap::default();
            for (_, _, outcomes, pair) in members {
                let row = *known.entry(outcomes).or_insert_with(|| {
                    joint.examples.push(*pair);
                    joint.multiplicity.push(0);
                    joint.examples.len() - 1
                });
                joint.multiplicity[row] += 1;
                joint.rows.push(row as u32);
            }
            joint.strata.push(first.0..joint.examples.len());
            joint.members.push(first.1..joint.rows.len());
        }
        joint
    }

    /// The patterns as rows of a question: no count where the question does not count the pair.
    pub(crate) fn units(&self, items: &Items<'_>, question: &Question) -> Units {
        let row = |term: usize, pair: usize| -> [u32; 4] {
            let pattern = items.pattern(question, pair);
            let code = pattern.map(|pattern| pattern >> (4 * term) & 15);
            std::array::from_fn(|cell| u32::from(code == Some(cell as u64)))
        };
        let rows = |term| self.examples.iter().map(|&pair| row(term, pair)).collect();
        Units {
            terms: (0..question.terms.len()).map(rows).collect(),
            multiplicity: self.multiplicity.clone(),
            strata: self.strata.clone(),
            ..Units::default()
        }
    }
}
