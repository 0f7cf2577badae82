//! Rows of the BBQ benchmark (Parrish et al. 2022), read from JSONL and checked field by field.
//!
//! Text is borrowed from the file's bytes wherever JSON escapes allow it.

mod row;

pub(crate) use row::{ContextCondition, Person, QuestionPolarity, Row, Text};

use std::collections::HashMap;

use crate::{Error, Result};

/// A fault of a BBQ file. Messages name file, line, field, value and limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BbqError {
    /// A line is not a row of the expected form.
    #[error("{file}, line {line}: {problem}")]
    Row {
        /// The file as its reader names it.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The field, its value and what it must be.
        problem: String,
    },
    /// Two rows of a file are one row.
    #[error(
        "{file}, line {line}: example_id {example_id} must be given once, got it in line {first} too"
    )]
    Twice {
        /// The file as its reader names it.
        file: String,
        /// The later line, counted from 1.
        line: usize,
        /// The row.
        example_id: i64,
        /// The earlier line.
        first: usize,
    },
    /// The file has no rows.
    #[error("{file} must have at least 1 row, got 0")]
    NoRows {
        /// The file as its reader names it.
        file: String,
    },
    /// No statement can be made of a question.
    #[error(
        "{file}: example_id {example_id}: question must ask Who, Which, Whose or What group of people, got {question:?}"
    )]
    Question {
        /// The file as its reader names it.
        file: String,
        /// The row.
        example_id: i64,
        /// Its question.
        question: String,
    },
    /// The file has rows, but none can be paired.
    #[error(
        "{file}: 0 pairs from {n_rows} rows; a pair needs a stereotyped and a contrast row of one \
         question_index, both with context_condition disambig and question_polarity neg"
    )]
    NoPairs {
        /// The file as its reader names it.
        file: String,
        /// Its number of rows.
        n_rows: usize,
    },
}

/// One JSONL file of BBQ rows of one category.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file's name in messages.
    pub(crate) file: &'a str,
    /// The category that each row must state.
    pub category: &'a str,
    /// The file's content.
    pub(crate) content: &'a str,
}

/// The rows of a file.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// Number of rows in the file.
    pub(crate) n_read: usize,
    /// Those that were wanted, in order.
    pub(crate) kept: Vec<Row<'a>>,
}

/// The wanted rows of a file, in order; the others are checked as well. Blank lines are skipped
/// but counted as lines.
///
/// # Errors
///
/// [`BbqError::Row`] for the first line that is not JSON, lacks a field, or holds a value outside its
/// limits; [`BbqError::Twice`] for an `example_id` that an earlier line has; [`BbqError::NoRows`] for a
/// file without rows.
pub(crate) fn read<'a>(source: &Source<'a>, wanted: impl Fn(&Row) -> bool) -> Result<Rows<'a>> {
    let text = source.content;
    let mut lines: HashMap<i64, usize> = HashMap::new();
    let mut rows = Rows { n_read: 0, kept: Vec::new() };
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    for (index, end) in ends.enumerate() {
        let line = &text[start..end];
        start = (end + 1).min(text.len());
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row = parse(line, source.category);
        let row = row.map_err(|problem| bad_row(source, index + 1, problem))?;
        if let Some(first) = lines.insert(row.example_id, index + 1) {
            let (file, example_id) = (source.file.to_owned(), row.example_id);
            return Err(BbqError::Twice { file, line: index + 1, example_id, first }.into());
        }
        rows.n_read += 1;
        if wanted(&row) {
            rows.kept.push(row);
        }
    }
    if rows.n_read == 0 {
        Err(BbqError::NoRows { file: source.file.to_owned() }.into())
    } else {
        Ok(rows)
    }
}

#[inline]
fn parse<'a>(line: &'a str, category: &str) -> std::result::Result<Row<'a>, String> {
    // serde would take the fields of a struct from a list, too, by their order.
    if line.trim_ascii_start().starts_with('[') {
        return Err("a row must be an object, got a list".to_owned());
    }
    let row: Row = serde_json::from_str(line).map_err(|_| describe(line))?;
    row.check(category)?;
    Ok(row)
}

/// Parse a bad line once more and track the path to each value; that is too slow for every line.
fn describe(line: &str) -> String {
    let mut from = serde_json::Deserializer::from_str(line);
    let Err(error) = serde_path_to_error::deserialize::<_, Row>(&mut from) else {
        return "more than one JSON value in the line".to_owned();
    };
    let (field, inner) = (error.path().to_string(), error.into_inner());
    let text = inner.to_string();
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    match (inner.is_data(), field.as_str()) {
        (false, _) => format!("broken JSON at column {}: {problem}", inner.column()),
        (true, ".") => problem.to_owned(),
        (true, field) => format!("{field}: {problem}"),
    }
}

fn bad_row(source: &Source, line: usize, problem: String) -> Error {
    BbqError::Row { file: source.file.to_owned(), line, problem }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = concat!(
        r#"{"example_id": 1, "question_index": "7", "question_polarity": "neg", "#,
        r#""context_condition": "disambig", "category": "Age", "#,
        r#""answer_info": {"ans0": ["a", "old"], "ans1": ["b", "nonOld"], "ans2": ["c", "unknown"]}, "#,
        r#""additional_metadata": {"stereotyped_groups": ["old"], "version": "a"}, "#,
        r#""context": "A \"b\".", "question": "Who?", "ans0": "A", "ans1": "B", "ans2": "C", "label": 1}"#,
    );

    fn read_text(content: &str) -> Result<Vec<Row<'_>>> {
        let source = Source { file: "f", category: "Age", content };
        read(&source, |_| true).map(|rows| rows.kept)
    }

    fn numbered(example_id: i64) -> String {
        ROW.replace(r#""example_id": 1"#, &format!(r#""example_id": {example_id}"#))
    }

    fn problem(content: &str) -> String {
        read_text(content).unwrap_err().to_string()
    }

    #[test]
    fn reads_a_row_and_takes_the_labelled_answer() {
        let content = format!("{ROW}\n\n{}\r\n", numbered(2));
        let rows = read_text(&content).unwrap();
        assert_eq!(rows.len(), 2);
        let row = &rows[0];
        assert_eq!((row.example_id, row.question_index), (1, 7));
        assert_eq!((row.answer(), row.answer_group()), ("B", "nonOld"));
        assert_eq!(&*row.stereotyped_groups()[0], "old");
        assert_eq!(row.context, "A \"b\".");
    }

    #[test]
    fn keeps_what_is_wanted_and_counts_the_rest() {
        let content = format!("{ROW}\n{}", numbered(2));
        let source = Source { file: "f", category: "Age", content: &content };
        let rows = read(&source, |row| row.example_id == 2).unwrap();
        assert_eq!((rows.n_read, rows.kept.len(), rows.kept[0].example_id), (2, 1, 2));
    }

    #[test]
    fn takes_an_integer_question_index() {
        let content = ROW.replace(r#""7""#, "7");
        assert_eq!(read_text(&content).unwrap()[0].question_index, 7);
    }

    #[test]
    fn names_line_field_value_and_limit() {
        let cases = [
            (
                r#""label": 1"#,
                r#""label": 7"#,
                "f, line 3: label: invalid value: integer `7`, expected 0, 1 or 2",
            ),
            (
                r#""label": 1"#,
                r#""label": "x""#,
                "f, line 3: label: invalid type: string \"x\", expected 0, 1 or 2",
            ),
            (r#", "label": 1"#, "", "f, line 3: missing field `label`"),
            (
                r#"["old"]"#,
                r#"["old", 3]"#,
                "f, line 3: additional_metadata.stereotyped_groups[1]: invalid type: integer `3`, \
                 expected a string",
            ),
            (
                r#"["b", "nonOld"]"#,
                r#"["b"]"#,
                "f, line 3: answer_info.ans1: invalid length 1, expected 2 strings, the name and \
                 its group",
            ),
            (
                r#""neg""#,
                r#""negative""#,
                "f, line 3: question_polarity: unknown variant `negative`, expected `neg` or \
                 `nonneg`",
            ),
            (
                r#""7""#,
                r#""7b""#,
                "f, line 3: question_index: invalid value: string \"7b\", expected a whole number \
                 in digits",
            ),
            (r#""Age""#, r#""SES""#, "f, line 3: category must be `Age`, got `SES`"),
            (r#""ans1": "B""#, r#""ans1": " ""#, "f, line 3: ans1 must not be blank, got \" \""),
            (
                r#", "label": 1}"#,
                "",
                "f, line 3: broken JSON at column 363: EOF while parsing an object",
            ),
            (
                r#""label": 1}"#,
                r#""label": 1} {}"#,
                "f, line 3: more than one JSON value in the line",
            ),
        ];
        for (good, bad, expected) in cases {
            assert!(ROW.contains(good), "{good}");
            let content = format!("{ROW}\n\n{}\n{ROW}", ROW.replace(good, bad));
            assert_eq!(problem(&content), expected);
        }
    }

    #[test]
    fn refuses_a_row_that_stands_twice() {
        let content = format!("{}\n{ROW}\n\n{}\n{ROW}", numbered(3), numbered(2));
        let expected = "f, line 5: example_id 1 must be given once, got it in line 2 too";
        assert_eq!(problem(&content), expected);
    }

    #[test]
    fn refuses_a_row_whose_fields_stand_in_a_list() {
        let row = r#"[1, "7", "neg", "disambig", "Age", [["a", "old"], ["b", "x"], ["c", "unknown"]],
            [["old"]], "A.", "Who?", "A", "B", "C", 1]"#;
        let content = row.replace('\n', " ");
        assert_eq!(problem(&content), "f, line 1: a row must be an object, got a list");
    }

    #[test]
    fn refuses_an_empty_file() {
        for content in ["", "\n \n"] {
            let expected = BbqError::NoRows { file: "f".to_owned() };
            assert_eq!(read_text(content).unwrap_err(), expected.into());
        }
    }
}
