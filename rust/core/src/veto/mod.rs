//! Contrastive pairs from BBQ rows: the `paper` variant (Deng et al. 2026, arXiv 2606.18656).
//!
//! The rules are the published protocol, faults included, so that a rate can be set beside the
//! paper's.

mod cue;
mod labels;
mod question;
pub mod strict;
mod tables;
mod verbs;

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::Result;
use crate::bbq::{self, BbqError, ContextCondition, QuestionPolarity, Row, Source};

/// The most pairs that one scenario gives.
pub(crate) const MAX_PAIRS_PER_SCENARIO: usize = 20;

/// A group that BBQ does not mention.
const PLACEBO_GROUP: &str = "left-handed";

/// Two prompts that state the same conclusion about two groups; the right answer to both is yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `<category>_q<index>_p<i>`, the category in lower case and without `_`.
    pub id: String,
    /// BBQ's category.
    pub category: String,
    /// `<category>_q<index>`: pairs of one scenario share a template.
    pub scenario: String,
    /// The stereotyped groups, joined by `", "`.
    pub stereotyped_group: String,
    /// The group of the contrast row's answer.
    pub contrast_group: String,
    /// The priming sentence.
    pub cue: String,
    /// The same about [`PLACEBO_GROUP`].
    pub placebo: String,
    /// The prompt about the stereotyped group.
    pub stereotyped: String,
    /// The prompt about the contrast group.
    pub contrast: String,
    /// BBQ's question.
    pub question: String,
    /// The subject of the stereotyped prompt's question.
    pub stereotyped_subject: String,
    /// The subject of the contrast prompt's question.
    pub contrast_subject: String,
    /// The stereotyped row.
    pub stereotyped_example_id: i64,
    /// The contrast row.
    pub contrast_example_id: i64,
}

/// A text column of a table of pairs: its name and its cell.
pub type TextColumn<P> = (&'static str, fn(&P) -> &str);

impl Pair {
    /// Every text of a pair, in the order of the columns of a table.
    pub const TEXT_COLUMNS: [TextColumn<Self>; 12] = [
        ("id", |pair| &pair.id),
        ("category", |pair| &pair.category),
        ("scenario", |pair| &pair.scenario),
        ("stereotyped_group", |pair| &pair.stereotyped_group),
        ("contrast_group", |pair| &pair.contrast_group),
        ("cue", |pair| &pair.cue),
        ("placebo", |pair| &pair.placebo),
        ("stereotyped", |pair| &pair.stereotyped),
        ("contrast", |pair| &pair.contrast),
        ("question", |pair| &pair.question),
        ("stereotyped_subject", |pair| &pair.stereotyped_subject),
        ("contrast_subject", |pair| &pair.contrast_subject),
    ];
}

/// The BBQ file of one category.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name in messages.
    pub name: String,
    /// The category that its rows must state.
    pub category: String,
    /// Its text.
    pub content: String,
}

/// The pairs of several files, in the order of the files, of the scenarios' indices and of the rows.
///
/// # Errors
///
/// What [`bbq::read`] fails with, and [`BbqError::NoPairs`] for a file that gives none; of several
/// errors, the one of the first file.
pub fn build(files: &[File]) -> Result<Vec<Pair>> {
    build_by(files, pairs_of_content)
}

/// The pairs of each file, in the order of the files; an error is the first file's.
fn build_by<P: Send>(
    files: &[File],
    pairs_of_content: impl Fn(&Source) -> Result<Vec<P>> + Sync,
) -> Result<Vec<P>> {
    let pairs_of_file = |file: &File| {
        let File { name, category, content } = file;
        pairs_of_content(&Source { file: name, category, content })
    };
    let by_file: Vec<Result<Vec<P>>> = files.par_iter().map(pairs_of_file).collect();
    concatenated(by_file)
}

/// All parts in one, or the first error among them.
fn concatenated<P>(parts: Vec<Result<Vec<P>>>) -> Result<Vec<P>> {
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}

fn scenario_name(category: &str, index: u32) -> String {
    format!("{}_q{index}", category.to_lowercase().replace('_', ""))
}

fn pairs_of_content(source: &Source) -> Result<Vec<Pair>> {
    let rows = bbq::read(source, is_used)?;
    let mut scenarios: BTreeMap<u32, Vec<&Row>> = BTreeMap::new();
    for row in &rows.kept {
        scenarios.entry(row.question_index).or_default().push(row);
    }
    let pairs: Vec<Pair> =
        scenarios.values().flat_map(|rows| pair_up(source.category, rows)).collect();
    if pairs.is_empty() {
        return Err(BbqError::NoPairs { file: source.file.to_owned(), n_rows: rows.n_read }.into());
    }
    Ok(pairs)
}

fn is_used(row: &Row) -> bool {
    row.context_condition == ContextCondition::Disambig
        && row.question_polarity == QuestionPolarity::Neg
}

/// The pairs of one scenario from its rows in file order.
fn pair_up(category: &str, rows: &[&Row]) -> Vec<Pair> {
    let groups = rows.first().map_or(&[][..], |row| row.stereotyped_groups());
    let (stereotyped, contrast) = sides(rows, groups);
    let Some(first) = stereotyped.first() else { return Vec::new() };
    let joined = groups.iter().map(|group| &**group).collect::<Vec<_>>().join(", ");
    let scenario = Scenario {
        category,
        index: first.question_index,
        question: &first.question,
        cue: cue::cue(&first.question, &joined),
        placebo: cue::cue(&first.question, PLACEBO_GROUP),
        groups: joined,
    };
    let zipped = stereotyped.iter().zip(&contrast).take(MAX_PAIRS_PER_SCENARIO).enumerate();
    zipped
        .map(|(index, (stereotyped, contrast))| scenario.pair(index, stereotyped, contrast))
        .collect()
}

/// The rows whose answer is in the stereotyped groups, and those whose answer is in another one.
fn sides<'r, 'a>(
    rows: &[&'r Row<'a>],
    groups: &[bbq::Text],
) -> (Vec<&'r Row<'a>>, Vec<&'r Row<'a>>) {
    if groups.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let groups: Vec<String> = groups.iter().map(|group| labels::normalise(group)).collect();
    let mut named: Vec<(&Row, String)> =
        rows.iter().map(|row| (*row, labels::normalise(row.answer_group()))).collect();
    named.sort_by_key(|(row, _)| row.example_id);
    let (stereotyped, others): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|(_, group)| groups.contains(group));
    let contrast = others.into_iter().filter(|(_, group)| !labels::names_nobody(group));
    (stereotyped.into_iter().map(|(row, _)| row).collect(), contrast.map(|(row, _)| row).collect())
}

struct Scenario<'a> {
    category: &'a str,
    index: u32,
    question: &'a str,
    groups: String,
    cue: String,
    placebo: String,
}

impl Scenario<'_> {
    fn pair(&self, index: usize, stereotyped: &Row, contrast: &Row) -> Pair {
        let scenario = scenario_name(self.category, self.index);
        Pair {
            id: format!("{scenario}_p{index}"),
            category: self.category.to_owned(),
            scenario,
            stereotyped_group: self.groups.clone(),
            contrast_group: labels::contrast_name(contrast.answer_group()),
            cue: self.cue.clone(),
            placebo: self.placebo.clone(),
            stereotyped: prompt(stereotyped, self.question),
            contrast: prompt(contrast, self.question),
            question: self.question.to_owned(),
            stereotyped_subject: stereotyped.answer().to_owned(),
            contrast_subject: contrast.answer().to_owned(),
            stereotyped_example_id: stereotyped.example_id,
            contrast_example_id: contrast.example_id,
        }
    }
}

/// The context as a sentence, then the question about the row's answer.
fn prompt(row: &Row, question: &str) -> String {
    let context = row.context.trim_end();
    let stop = if context.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{context}{stop} {}", question::yes_no(question, row.answer()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's line: example, scenario, stereotyped groups, and the right answer's group and text.
    fn line(example_id: i64, index: u32, groups: &str, group: &str, answer: &str) -> String {
        format!(
            r#"{{"example_id": {example_id}, "question_index": "{index}", "question_polarity": "neg", "context_condition": "disambig", "category": "Body_size", "answer_info": {{"ans0": ["x", "{group}"], "ans1": ["y", "z"], "ans2": ["u", "unknown"]}}, "additional_metadata": {{"stereotyped_groups": [{groups}]}}, "context": "Story {example_id} ", "question": "Who was late?", "ans0": "{answer}", "ans1": "Y", "ans2": "U", "label": 0}}"#
        )
    }

    fn build_lines(lines: &[String]) -> Result<Vec<Pair>> {
        let content = lines.join("\n");
        pairs_of_content(&Source { file: "f", category: "Body_size", content: &content })
    }

    #[test]
    fn zips_by_example_id_within_ascending_scenarios() {
        let groups = r#""low SES""#;
        let lines = [
            line(9, 10, groups, "lowSES", "A"),
            line(8, 10, groups, "nonRich_x", "B"),
            line(5, 2, groups, "highSES", "C"),
            line(7, 2, groups, "Low-SES", "D"),
            line(3, 2, groups, "lowSES", "E"),
            line(4, 2, groups, "unknown", "F"),
            line(6, 2, groups, "", "G"),
        ];
        let pairs = build_lines(&lines).unwrap();
        assert_eq!(pairs.len(), 2);
        let first = &pairs[0];
        assert_eq!((&*first.id, &*first.scenario), ("bodysize_q2_p0", "bodysize_q2"));
        assert_eq!((first.stereotyped_example_id, first.contrast_example_id), (3, 5));
        assert_eq!(first.stereotyped, "Story 3. Was E late?");
        assert_eq!(first.contrast, "Story 5. Was C late?");
        assert_eq!(first.cue, "It is not okay to assume people with low SES were late.");
        assert_eq!(first.placebo, "It is not okay to assume left-handed people were late.");
        assert_eq!((&*pairs[1].id, &*pairs[1].contrast_group), ("bodysize_q10_p0", "non-Rich x"));
    }

    #[test]
    fn a_scenario_gives_at_most_twenty_pairs() {
        let groups = r#""a", "b""#;
        let lines: Vec<String> =
            (0..50).map(|i| line(i, 1, groups, if i % 2 == 0 { "a" } else { "c" }, "A")).collect();
        let pairs = build_lines(&lines).unwrap();
        assert_eq!(pairs.len(), MAX_PAIRS_PER_SCENARIO);
        assert_eq!(pairs[19].id, "bodysize_q1_p19");
        assert_eq!(pairs[0].stereotyped_group, "a, b");
    }

    #[test]
    fn the_first_row_of_the_file_decides_the_groups_and_an_empty_list_skips_the_scenario() {
        let lines = [
            line(2, 1, "", "a", "A"),
            line(1, 1, r#""a""#, "b", "B"),
            line(4, 2, r#""b""#, "a", "A"),
            line(3, 2, r#""a""#, "b", "B"),
        ];
        let pairs = build_lines(&lines).unwrap();
        assert_eq!(pairs.len(), 1);
        assert_eq!((&*pairs[0].stereotyped_group, pairs[0].stereotyped_example_id), ("b", 3));
    }

    #[test]
    fn a_file_without_pairs_is_an_error() {
        let lines = [line(1, 1, r#""a""#, "a", "A"), line(2, 1, r#""a""#, "", "B")];
        let expected = BbqError::NoPairs { file: "f".to_owned(), n_rows: 2 };
        assert_eq!(build_lines(&lines).unwrap_err(), expected.into());
    }

    #[test]
    fn of_several_bad_files_the_first_is_named() {
        let file =
            |name: &str| File { name: name.into(), category: "Age".into(), content: String::new() };
        let error = build(&[file("a"), file("b")]).unwrap_err();
        assert_eq!(error, BbqError::NoRows { file: "a".to_owned() }.into());
    }
}
