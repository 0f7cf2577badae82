//! Which text of one side goes with which of the other: minimum-cost assignment on token edits.

mod assignment;
mod tokens;

use std::collections::BTreeMap;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::{Error, Result};

use assignment::{Costs, assign};
pub use tokens::Roles;
use tokens::{Pattern, Vocabulary};

/// One text, and who it is about if its people are to be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'t> {
    /// The text.
    pub text: &'t str,
    /// Its people.
    pub roles: Option<Roles<'t>>,
}

/// Two texts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Place of the text on the left.
    pub left: usize,
    /// Place of the text on the right.
    pub right: usize,
    /// Edits between their tokens, people masked.
    pub distance: u32,
    /// How many of the two people of the left are not, in the other role, those of the right.
    pub(crate) n_strangers: u32,
    /// The differences, tokens first and then people: `soccer -> softball; friend -> guy`.
    pub differing: String,
}

impl Match {
    /// True if each text is the other with its two people exchanged, and nothing else.
    #[must_use]
    pub fn is_exact_swap(&self) -> bool {
        self.distance == 0 && self.n_strangers == 0
    }
}

/// Pair as many texts as the shorter side has, and keep the best.
///
/// The assignment has as many exact swaps as there can be and, among those, the least sum of
/// `distance + n_strangers`. Kept are the `max_pairs` best by that sum, ties by place; they come in
/// that order.
#[must_use]
pub fn match_texts(left: &[Text], right: &[Text], max_pairs: usize) -> Vec<Match> {
    let (left, right) = (lower_all(left), lower_all(right));
    let mut vocabulary = Vocabulary::default();
    let (left, right) = (Side::new(&left, &mut vocabulary), Side::new(&right, &mut vocabulary));
    let edits = left.edits(&right, &vocabulary);
    let strangers = left.strangers(&right);
    let plain = plain_costs(&left, &right, &edits, &strangers);
    // One exact swap less must cost more than all other edits together.
    let most = plain.values.iter().max().copied().unwrap_or(0);
    let penalty = 1 + most * left.kinds.len().min(right.kinds.len()) as i64;
    let weighted = plain.values.iter().map(|&cost| if cost > 0 { cost + penalty } else { 0 });
    let costs = Costs { n_columns: plain.n_columns, values: weighted.collect() };
    let mut pairs = assign(&costs);
    pairs.sort_by_key(|&(i, j)| (plain.values[i * plain.n_columns + j], i, j));
    pairs.truncate(max_pairs);
    let describe = |(i, j)| {
        let distance = edits[left.kinds[i] * right.distinct.len() + right.kinds[j]];
        let n_strangers = strangers[left.people[i] * right.distinct_people.len() + right.people[j]];
        Match {
            left: i,
            right: j,
            distance,
            n_strangers,
            differing: differing(&left.texts[i], &right.texts[j], distance),
        }
    };
    pairs.into_iter().map(describe).collect()
}

/// [`match_texts`] within each group: the texts of both sides that carry the same number. Groups
/// ascend; places are those in the whole sides.
///
/// # Errors
///
/// [`Error::LengthMismatch`] where a side has not one group for each text.
pub fn match_groups(
    left: (&[Text], &[u32]),
    right: (&[Text], &[u32]),
    max_pairs: usize,
) -> Result<Vec<Match>> {
    let left_places = places(left, "left_groups")?;
    let right_places = places(right, "right_groups")?;
    let shared: Vec<(&Vec<usize>, &Vec<usize>)> = left_places
        .iter()
        .filter_map(|(group, places)| Some((places, right_places.get(group)?)))
        .collect();
    let matched = shared.into_par_iter().map(|(left_places, right_places)| {
        let mut matched =
            match_texts(&pick(left.0, left_places), &pick(right.0, right_places), max_pairs);
        for one in &mut matched {
            (one.left, one.right) = (left_places[one.left], right_places[one.right]);
        }
        matched
    });
    Ok(matched.collect::<Vec<_>>().into_iter().flatten().collect())
}

fn pick<'t>(texts: &[Text<'t>], places: &[usize]) -> Vec<Text<'t>> {
    places.iter().map(|&place| texts[place]).collect()
}

fn places(
    (texts, groups): (&[Text], &[u32]),
    name: &'static str,
) -> Result<BTreeMap<u32, Vec<usize>>> {
    if texts.len() != groups.len() {
        let (actual, expected) = (groups.len(), texts.len());
        return Err(Error::LengthMismatch { name, actual, expected });
    }
    let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, &group) in groups.iter().enumerate() {
        places.entry(group).or_default().push(place);
    }
    Ok(places)
}

fn plain_costs(left: &Side, right: &Side, edits: &[u32], strangers: &[u32]) -> Costs {
    let n_columns = right.kinds.len();
    let mut values = vec![0; left.kinds.len() * n_columns];
    if n_columns > 0 {
        values.par_chunks_mut(n_columns).enumerate().for_each(|(i, row)| {
            let edits = &edits[left.kinds[i] * right.distinct.len()..];
            let strangers = &strangers[left.people[i] * right.distinct_people.len()..];
            for (j, cost) in row.iter_mut().enumerate() {
                *cost = i64::from(edits[right.kinds[j]] + strangers[right.people[j]]);
            }
        });
    }
    Costs { n_columns, values }
}

/// A text in lower case, and its people: target and other.
struct Lower {
    text: String,
    people: Option<[String; 2]>,
}

impl Lower {
    fn tokens(&self) -> Vec<&str> {
        let roles = self.people.as_ref().map(|[target, other]| Roles { target, other });
        tokens::tokens(&self.text, roles)
    }
}

fn lower_all(texts: &[Text]) -> Vec<Lower> {
    let people = |roles: Roles| [roles.target, roles.other].map(|name| tokens::lower(name.trim()));
    let one =
        |text: &Text| Lower { text: tokens::lower(text.text), people: text.roles.map(people) };
    texts.iter().map(one).collect()
}

/// The texts of one side. Many share their tokens or their people: those are compared once.
struct Side<'t> {
    texts: &'t [Lower],
    kinds: Vec<usize>,
    distinct: Vec<Vec<u32>>,
    people: Vec<usize>,
    distinct_people: Vec<Option<&'t [String; 2]>>,
}

impl<'t> Side<'t> {
    fn new(texts: &'t [Lower], vocabulary: &mut Vocabulary<'t>) -> Self {
        let numbered = texts.iter().map(|text| vocabulary.number(&text.tokens()));
        let (kinds, distinct) = by_kind(numbered);
        let (people, distinct_people) = by_kind(texts.iter().map(|text| text.people.as_ref()));
        Self { texts, kinds, distinct, people, distinct_people }
    }

    fn edits(&self, right: &Side, vocabulary: &Vocabulary) -> Vec<u32> {
        let row = |left: &Vec<u32>| {
            let (pattern, mut column) = (Pattern::new(left, vocabulary), Vec::new());
            let distance = |text: &Vec<u32>| pattern.distance(text, &mut column);
            right.distinct.iter().map(distance).collect::<Vec<_>>()
        };
        self.distinct.par_iter().flat_map_iter(row).collect()
    }

    fn strangers(&self, right: &Side) -> Vec<u32> {
        let rows = self.distinct_people.iter();
        rows.flat_map(|left| right.distinct_people.iter().map(|right| n_strangers(*left, *right)))
            .collect()
    }
}

/// For each value the number of its kind, and the kinds in order of their first occurrence.
fn by_kind<T: Eq + std::hash::Hash + Clone>(
    values: impl Iterator<Item = T>,
) -> (Vec<usize>, Vec<T>) {
    let mut numbers: FxHashMap<T, usize> = FxHashMap::default();
    let mut kinds = Vec::new();
    let number = |value: T| {
        let next = numbers.len();
        *numbers.entry(value.clone()).or_insert_with(|| {
            kinds.push(value);
            next
        })
    };
    (values.map(number).collect(), kinds)
}

fn n_strangers(left: Option<&[String; 2]>, right: Option<&[String; 2]>) -> u32 {
    across(left, right).iter().flatten().filter(|(left, right)| left != right).count() as u32
}

/// The two people of the left, each with the one of the right in the other role.
fn across<'p>(
    left: Option<&'p [String; 2]>,
    right: Option<&'p [String; 2]>,
) -> Option<[(&'p str, &'p str); 2]> {
    let ([target, other], [right_target, right_other]) = (left?, right?);
    Some([(target, right_other), (other, right_target)])
}

fn differing(left: &Lower, right: &Lower, distance: u32) -> String {
    let mut runs = Vec::new();
    if distance > 0 {
        runs = tokens::differing(&left.tokens(), &right.tokens());
    }
    let people = across(left.people.as_ref(), right.people.as_ref());
    let strangers = people.iter().flatten().filter(|(left, right)| left != right);
    runs.extend(strangers.map(|(left, right)| ((*left).to_owned(), (*right).to_owned())));
    let shown = runs.iter().map(|(left, right)| format!("{left} -> {right}"));
    shown.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'t>(text: &'t str, target: &'t str, other: &'t str) -> Text<'t> {
        Text { text, roles: Some(Roles { target, other }) }
    }

    #[test]
    fn exact_swaps_come_first_even_where_they_cost_edits_elsewhere() {
        let left = [
            text("The cat met the dog. The cat was late.", "cat", "dog"),
            text("A cat saw the dog. The cat was late.", "cat", "dog"),
        ];
        let right = [
            text("The dog met the cat. The dog was very, very late.", "dog", "cat"),
            text("The dog met the cat. The dog was late.", "dog", "cat"),
        ];
        let matched = match_texts(&left, &right, 20);
        assert_eq!(matched.len(), 2);
        assert!(matched[0].is_exact_swap());
        assert_eq!((matched[0].left, matched[0].right, &*matched[0].differing), (0, 1, ""));
        let other = &matched[1];
        assert_eq!((other.left, other.right, other.distance), (1, 0, 5));
        assert_eq!(other.differing, "a -> the; saw -> met;  -> very , very");
        assert_eq!(match_texts(&left, &right, 1), matched[..1]);
    }

    #[test]
    fn other_people_are_no_exact_swap() {
        let left = [text("A cat and an ox.", "cat", "ox")];
        let right = [text("A goat and a cat.", "Goat", "cat")];
        let [only] = &match_texts(&left, &right, 20)[..] else { panic!("one pair") };
        assert_eq!((only.distance, only.n_strangers), (0, 1));
        assert!(!only.is_exact_swap());
        assert_eq!(only.differing, "ox -> goat");
    }

    #[test]
    fn groups_are_matched_each_on_its_own_and_need_a_group_for_each_text() {
        let plain = |text| Text { text, roles: None };
        let (left, right) = ([plain("a"), plain("b"), plain("c")], [plain("b"), plain("a")]);
        let matched = match_groups((&left, &[2, 1, 1]), (&right, &[2, 1]), 20).unwrap();
        let found: Vec<_> = matched.iter().map(|m| (m.left, m.right, m.distance)).collect();
        assert_eq!(found, [(1, 1, 1), (0, 0, 1)]);
        let error = match_groups((&left, &[2, 1, 1]), (&right, &[2]), 20).unwrap_err();
        let expected = Error::LengthMismatch { name: "right_groups", actual: 1, expected: 2 };
        assert_eq!(error, expected);
    }

    #[test]
    fn an_empty_side_gives_nothing() {
        assert_eq!(match_texts(&[], &[text("a", "b", "c")], 20), []);
        assert_eq!(match_texts(&[text("a", "b", "c")], &[], 20), []);
    }
}
