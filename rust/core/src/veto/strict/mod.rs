//! Contrastive pairs from BBQ rows: the `strict` variant.
//!
//! The rows of a scenario are matched so that the two stories of a pair differ in who did what and,
//! where it can be, in nothing else; the question is the verification of a statement; and each pair
//! has a twin that asks the same two stories about the other person, to which the answer is no.

mod statement;
mod tables;

use std::borrow::Cow;
use std::collections::BTreeMap;

use rayon::prelude::*;

pub use statement::statement;
pub use tables::GLITCHES;
use tables::{BESIDE_RACE, SAME_GROUP};

use super::tables::look_up;
use super::{
    File, MAX_PAIRS_PER_SCENARIO, PLACEBO_GROUP, TextColumn, build_by, concatenated, labels,
    scenario_name,
};
use crate::Result;
use crate::bbq::{self, BbqError, Person, Row, Source};
use crate::matching::{Match, Roles, Text, match_texts};

/// A pair, or the twin of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `<category>_q<index>_p<i>`, for a twin followed by `_no`.
    pub id: String,
    /// The pair that a twin belongs to; empty for a pair.
    pub twin_of: String,
    /// BBQ's category.
    pub category: String,
    /// `<category>_q<index>`.
    pub scenario: String,
    /// The stereotyped groups, joined by `", "`.
    pub stereotyped_group: String,
    /// The group of the contrast person.
    pub contrast_group: String,
    /// The priming sentence.
    pub cue: String,
    /// The same about a group that BBQ does not mention.
    pub placebo: String,
    /// Asks whether it is true of the stereotyped person.
    pub stereotyped: Prompt,
    /// Asks whether it is true of the contrast person.
    pub contrast: Prompt,
    /// Differences between the two stories beside who did what.
    pub differing_words: String,
    /// In how many tokens they differ.
    pub distance: u32,
    /// True if each story is the other with the two people exchanged.
    pub exact_swap: bool,
}

/// A story and what is asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The story, then the question.
    pub text: String,
    /// BBQ's question.
    pub question: String,
    /// The answer that the question is about, word for word.
    pub subject: String,
    /// The row whose story it is.
    pub example_id: i64,
}

impl Pair {
    /// Every text of a pair, in the order of the columns of a table.
    pub const TEXT_COLUMNS: [TextColumn<Self>; 15] = [
        ("id", |pair| &pair.id),
        ("category", |pair| &pair.category),
        ("scenario", |pair| &pair.scenario),
        ("stereotyped_group", |pair| &pair.stereotyped_group),
        ("contrast_group", |pair| &pair.contrast_group),
        ("cue", |pair| &pair.cue),
        ("placebo", |pair| &pair.placebo),
        ("stereotyped", |pair| &pair.stereotyped.text),
        ("contrast", |pair| &pair.contrast.text),
        ("stereotyped_question", |pair| &pair.stereotyped.question),
        ("contrast_question", |pair| &pair.contrast.question),
        ("stereotyped_subject", |pair| &pair.stereotyped.subject),
        ("contrast_subject", |pair| &pair.contrast.subject),
        ("twin_of", |pair| &pair.twin_of),
        ("differing_words", |pair| &pair.differing_words),
    ];
}

/// The pairs of several files, each followed by its twin, in the order of the files, of the
/// scenarios' indices and of the matching: exact swaps first.
///
/// # Errors
///
/// As [`super::build`], and [`BbqError::Question`] for a question that no rule turns into a
/// statement.
pub fn build(files: &[File]) -> Result<Vec<Pair>> {
    build_by(files, pairs_of_content)
}

fn pairs_of_content(source: &Source) -> Result<Vec<Pair>> {
    let rows = bbq::read(source, super::is_used)?;
    let mut scenarios: BTreeMap<u32, Sides> = BTreeMap::new();
    let mut stories: Vec<Story> = rows.kept.iter().filter_map(Story::of_row).collect();
    stories.sort_by_key(|story| story.row.example_id);
    for story in stories {
        let sides = scenarios.entry(story.row.question_index).or_default();
        if story.is_stereotyped { &mut sides.stereotyped } else { &mut sides.contrast }.push(story);
    }
    let by_scenario: Vec<Result<Vec<Pair>>> =
        scenarios.par_iter().map(|(index, sides)| sides.pairs(source, *index)).collect();
    let pairs = concatenated(by_scenario)?;
    if pairs.is_empty() {
        return Err(BbqError::NoPairs { file: source.file.to_owned(), n_rows: rows.n_read }.into());
    }
    Ok(pairs)
}

/// A row of which exactly one of two people is of a stereotyped group, and which tells them apart by
/// nothing else.
struct Story<'r> {
    row: &'r Row<'r>,
    context: Cow<'r, str>,
    question: Cow<'r, str>,
    /// The right answer, and the other one.
    target: Person<'r>,
    other: Person<'r>,
    /// Their name in the story.
    names: [Cow<'r, str>; 2],
    /// True if the right answer is the stereotyped one.
    is_stereotyped: bool,
}

impl<'r> Story<'r> {
    fn of_row(row: &'r Row<'r>) -> Option<Self> {
        let target = row.target();
        let other = row.other(|group| !labels::names_nobody(&labels::normalise(group)))?;
        let groups: Vec<String> =
            row.stereotyped_groups().iter().map(|group| labels::normalise(group)).collect();
        let is_in = |person: &Person| labels_of(person).iter().any(|label| groups.contains(label));
        let nobody = labels::names_nobody(&labels::normalise(target.group));
        let (is_stereotyped, other_is) = (is_in(&target), is_in(&other));
        let alike = beside_race(target.group) == beside_race(other.group);
        (!nobody && is_stereotyped != other_is && alike).then(|| Self {
            row,
            context: mended(row.context.trim_end()),
            question: mended(&row.question),
            names: [mended(target.name), mended(other.name)],
            target,
            other,
            is_stereotyped,
        })
    }

    /// The text to compare with other stories; the question stands for the target's statement.
    fn comparable(&self) -> String {
        format!("{} {}", self.context, self.question)
    }

    fn unknown_question(&self, source: &Source) -> BbqError {
        let (file, question) = (source.file.to_owned(), self.question.clone().into_owned());
        BbqError::Question { file, example_id: self.row.example_id, question }
    }

    fn cue(&self, source: &Source, joined_groups: &str) -> Result<String> {
        let cue = statement::cue(&self.question, joined_groups);
        Ok(cue.ok_or_else(|| self.unknown_question(source))?)
    }

    fn prompt(&self, source: &Source, about: &Person) -> Result<Prompt> {
        let statement = statement(&self.question, &mended(about.text));
        let statement = statement.ok_or_else(|| self.unknown_question(source))?;
        let stop = if self.context.ends_with(['.', '!', '?']) { "" } else { "." };
        Ok(Prompt {
            text: format!("{}{stop} Is it true that {statement}?", self.context),
            question: self.question.clone().into_owned(),
            subject: about.text.to_owned(),
            example_id: self.row.example_id,
        })
    }
}

/// Every label under which a list of stereotyped groups may hold a person, normalised: the group, its
/// parts ("F-Black", `trans_M`), and the name (nationalities are listed by name).
fn labels_of(person: &Person) -> Vec<String> {
    let whole = labels::normalise(person.group);
    let mut found = vec![labels::normalise(person.name)];
    if !whole.starts_with("non") {
        found.extend(person.group.split(['-', '_']).map(labels::normalise));
    }
    found.extend(look_up(&SAME_GROUP, &whole).map(str::to_owned));
    found.push(whole);
    found
}

/// The part beside the race in a label of an intersectional category; the race alone is listed as
/// stereotyped: "lowSES" and "F" of "lowSES-F-Black".
fn beside_race(group: &str) -> Vec<&str> {
    let (others, _race) = group.rsplit_once('-').unwrap_or_default();
    others.split('-').filter(|part| BESIDE_RACE.contains(part)).collect()
}

/// The group by which the person is told from the stereotyped ones.
fn group_name(person: &Person, stereotyped: &Person, groups: &[bbq::Text]) -> String {
    let label = labels::normalise(stereotyped.name);
    let by_name = groups.iter().any(|group| labels::normalise(group) == label);
    labels::contrast_name(if by_name { person.name } else { person.group })
}

fn mended(text: &str) -> Cow<'_, str> {
    GLITCHES.iter().fold(Cow::Borrowed(text), |text, (wrong, right)| {
        if text.contains(wrong) { Cow::Owned(text.replace(wrong, right)) } else { text }
    })
}

#[derive(Default)]
struct Sides<'r> {
    stereotyped: Vec<Story<'r>>,
    contrast: Vec<Story<'r>>,
}

impl Sides<'_> {
    fn pairs(&self, source: &Source, index: u32) -> Result<Vec<Pair>> {
        let matched = matched(&self.stereotyped, &self.contrast);
        let scenario = scenario_name(source.category, index);
        let mut pairs = Vec::with_capacity(2 * matched.len());
        for (i, one) in matched.into_iter().enumerate() {
            let (left, right) = (&self.stereotyped[one.left], &self.contrast[one.right]);
            pairs.extend(pair_and_twin(source, &scenario, i, (left, right), one)?);
        }
        Ok(pairs)
    }
}

fn matched(stereotyped: &[Story], contrast: &[Story]) -> Vec<Match> {
    let texts = |stories: &[Story]| stories.iter().map(Story::comparable).collect::<Vec<_>>();
    let (left, right) = (texts(stereotyped), texts(contrast));
    match_texts(
        &with_people(stereotyped, &left),
        &with_people(contrast, &right),
        MAX_PAIRS_PER_SCENARIO,
    )
}

fn with_people<'t>(stories: &'t [Story], texts: &'t [String]) -> Vec<Text<'t>> {
    let text = |(story, text): (&'t Story, &'t String)| {
        let [target, other] = &story.names;
        Text { text, roles: Some(Roles { target, other }) }
    };
    stories.iter().zip(texts).map(text).collect()
}

fn pair_and_twin(
    source: &Source,
    scenario: &str,
    i: usize,
    (left, right): (&Story, &Story),
    matched: Match,
) -> Result<[Pair; 2]> {
    let groups = left.row.stereotyped_groups();
    let joined = groups.iter().map(|group| &**group).collect::<Vec<_>>().join(", ");
    let yes = Pair {
        id: format!("{scenario}_p{i}"),
        twin_of: String::new(),
        category: source.category.to_owned(),
        scenario: scenario.to_owned(),
        contrast_group: group_name(&right.target, &left.target, groups),
        cue: left.cue(source, &joined)?,
        placebo: left.cue(source, PLACEBO_GROUP)?,
        stereotyped_group: joined,
        stereotyped: left.prompt(source, &left.target)?,
        contrast: right.prompt(source, &right.target)?,
        distance: matched.distance,
        exact_swap: matched.is_exact_swap(),
        differing_words: matched.differing,
    };
    let no = Pair {
        id: format!("{}_no", yes.id),
        twin_of: yes.id.clone(),
        contrast_group: group_name(&left.other, &left.target, groups),
        stereotyped: right.prompt(source, &right.other)?,
        contrast: left.prompt(source, &left.other)?,
        ..yes.clone()
    };
    Ok([yes, no])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// A row of a file about two guests: who is late, and who is not.
    fn line(id: i64, context: &str, late: (&str, &str), other: (&str, &str)) -> String {
        format!(
            r#"{{"example_id": {id}, "question_index": "1", "question_polarity": "neg", "context_condition": "disambig", "category": "Body_size", "answer_info": {{"ans0": ["{}", "{}"], "ans1": ["{}", "{}"], "ans2": ["u", "unknown"]}}, "additional_metadata": {{"stereotyped_groups": ["short"]}}, "context": "{context}", "question": "Who was late?", "ans0": "The {}", "ans1": "The {}", "ans2": "U", "label": 0}}"#,
            late.0, late.1, other.0, other.1, late.0, other.0
        )
    }

    fn build_lines(lines: &[String]) -> Result<Vec<Pair>> {
        let content = lines.join("\n");
        pairs_of_content(&Source { file: "f", category: "Body_size", content: &content })
    }

    const CAT: (&str, &str) = ("cat", "F-short");
    const DOG: (&str, &str) = ("dog", "F-tall");

    #[test]
    fn an_exact_swap_and_its_twin() {
        let lines = [
            line(1, "A cat met a dog. The cat was late.", CAT, DOG),
            line(2, "A cat met a dog at noon. The dog was late.", DOG, CAT),
            line(3, "A dog met a cat. The dog was late.", DOG, CAT),
        ];
        let [pair, twin] = &build_lines(&lines).unwrap()[..] else { panic!("one pair") };
        assert!(pair.exact_swap);
        assert_eq!((&*pair.id, &*pair.twin_of), ("bodysize_q1_p0", ""));
        assert_eq!((pair.stereotyped.example_id, pair.contrast.example_id), (1, 3));
        let expected = "A cat met a dog. The cat was late. Is it true that the cat was late?";
        assert_eq!(pair.stereotyped.text, expected);
        assert_eq!(pair.cue, "It is not okay to assume short people were late.");
        assert_eq!(pair.placebo, "It is not okay to assume left-handed people were late.");
        assert_eq!((&*twin.id, &*twin.twin_of), ("bodysize_q1_p0_no", "bodysize_q1_p0"));
        let expected = "A dog met a cat. The dog was late. Is it true that the cat was late?";
        assert_eq!((&*twin.stereotyped.text, twin.stereotyped.example_id), (expected, 3));
        let expected = "A cat met a dog. The cat was late. Is it true that the dog was late?";
        assert_eq!((&*twin.contrast.text, &*twin.contrast.subject), (expected, "The dog"));
    }

    #[test]
    fn both_people_of_one_side_make_no_story_and_misprints_are_mended() {
        let lines = [
            line(1, "A monther met a dog. The monther was late.", ("monther", "F-short"), DOG),
            line(2, "Two dogs met. One was late.", DOG, ("old dog", "F-tall")),
            line(3, "A dog met a monther. The dog was late.", DOG, ("monther", "F-short")),
        ];
        let pairs = build_lines(&lines).unwrap();
        assert_eq!(pairs.len(), 2);
        assert!(pairs[0].exact_swap && !pairs[0].stereotyped.text.contains("monther"));
        assert!(pairs[0].stereotyped.text.ends_with("Is it true that the mother was late?"));
        let nothing = build_lines(&lines[1..2]).unwrap_err();
        assert_eq!(nothing, BbqError::NoPairs { file: "f".to_owned(), n_rows: 1 }.into());
    }

    #[test]
    fn a_question_of_no_pattern_is_named() {
        let rows = [line(1, "A cat met a dog.", CAT, DOG), line(3, "A dog met a cat.", DOG, CAT)];
        let lines = rows.map(|row| row.replace("Who was late", "At whose house was he"));
        let error = build_lines(&lines).unwrap_err();
        let question = "At whose house was he?".to_owned();
        let expected = BbqError::Question { file: "f".to_owned(), example_id: 1, question };
        assert_eq!(error, Error::from(expected));
    }

    #[test]
    fn the_two_people_of_an_intersectional_row_differ_in_race_alone() {
        let person = |name, group| (name, group);
        let row = |id, late, other| {
            let line = line(id, "A guest met a guest.", late, other);
            line.replace(r#"["short"]"#, r#"["Ruvite", "Telvish"]"#)
        };
        let (ruvite, karvite) =
            (person("Ada", "lowSES-F-Ruvite"), person("Eve", "lowSES-F-Karvite"));
        let rich = [person("Ida", "highSES-F-Ruvite"), person("Una", "highSES-F-Karvite")];
        let lines = [
            row(1, ruvite, karvite),
            row(2, karvite, ruvite),
            // The race is the same, or something beside it differs.
            row(3, ruvite, rich[0]),
            row(4, ruvite, rich[1]),
            row(5, rich[1], ruvite),
            row(6, person("Bo", "lowSES-M-Karvite"), ruvite),
            // A row that lacks BBQ's labels.
            row(7, person("", ""), person("", "")),
        ];
        let pairs = build_lines(&lines).unwrap();
        assert_eq!(pairs.len(), 2);
        assert_eq!((pairs[0].stereotyped.example_id, pairs[0].contrast.example_id), (1, 2));
        assert_eq!(pairs[0].cue, "It is not okay to assume Ruvite and Telvish people were late.");
        assert_eq!(pairs[0].contrast_group, "lowSES-F-Karvite");
        assert_eq!(beside_race("F-Ruvite"), ["F"]);
        assert_eq!(beside_race("trans_F"), [""; 0]);
        assert_eq!(beside_race("non-Ruvite"), [""; 0]);
    }

    #[test]
    fn labels_may_be_parts_names_or_the_same_group_by_another_word() {
        let labels = |name, group| labels_of(&Person { name, group, text: "" });
        assert!(labels("Amy", "F-Black").contains(&"black".to_owned()));
        assert!(labels("George", "trans_M").contains(&"trans".to_owned()));
        assert!(labels("Irish", "Europe").contains(&"irish".to_owned()));
        assert!(labels("girl", "girl").contains(&"f".to_owned()));
        assert!(!labels("Bo", "nonTrans_F").contains(&"f".to_owned()));
        assert!(labels("Bo", "lowSES-M-Ruvite").contains(&"ruvite".to_owned()));
        assert!(!labels("Bo", "non-Old").contains(&"old".to_owned()));
    }
}
