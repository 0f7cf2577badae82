//! From BBQ's question to a yes/no question about one subject.

use super::tables::{ADVERBS, AUXILIARIES, NEGATIVE_CONTRACTIONS, PLURAL_WORDS};
use super::verbs::{base_form, is_past, is_third_person};

/// The form of a question, by the first pattern that fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'q> {
    /// `Who VP`, `Which WORD VP`, `What group of people VP`: who is or does something.
    Subject {
        /// The verb phrase.
        verb_phrase: &'q str,
    },
    /// `Whose NOUN VP`: whose thing is or does something.
    Possession {
        /// The possession.
        noun: &'q str,
        /// The verb phrase about it.
        verb_phrase: &'q str,
    },
    /// No pattern.
    Other {
        /// The question without its question mark.
        words: &'q str,
    },
}

const WHAT_KIND: [&str; 4] = [
    "what group of people ",
    "what group of person ",
    "what type of people ",
    "what type of person ",
];

/// Find the pattern of a question.
pub(super) fn read(question: &str) -> Asked<'_> {
    let words = question.trim().trim_end_matches('?').trim();
    let after = |prefix| strip_prefix_any_case(words, prefix);
    let what_kind = WHAT_KIND.into_iter().find_map(after);
    let which = || after("which ").and_then(word_and_rest).map(|(_, verb_phrase)| verb_phrase);
    if let Some(verb_phrase) = what_kind.or_else(which).or_else(|| after("who ")) {
        return Asked::Subject { verb_phrase };
    }
    match after("whose ").and_then(word_and_rest) {
        Some((noun, verb_phrase)) => Asked::Possession { noun, verb_phrase },
        None => Asked::Other { words },
    }
}

/// The yes/no question that asks a BBQ question about a subject.
pub(super) fn yes_no(question: &str, subject: &str) -> String {
    match read(question) {
        Asked::Subject { verb_phrase } => about_subject(verb_phrase, subject),
        Asked::Possession { noun, verb_phrase } => about_possession(noun, verb_phrase, subject),
        Asked::Other { .. } => format!("Regarding {subject}: {question}"),
    }
}

fn about_possession(noun: &str, verb_phrase: &str, subject: &str) -> String {
    let (first, rest) = first_and_rest(verb_phrase);
    let auxiliary = if AUXILIARIES.contains(&&*first) { capitalised(&first) } else { "Is".into() };
    asked(&[&auxiliary, &format!("{subject}'s"), noun, &rest])
}

fn about_subject(verb_phrase: &str, subject: &str) -> String {
    let (first, rest) = first_and_rest(verb_phrase);
    let f = first.as_str();
    let do_does = if is_plural(subject) { "Do" } else { "Does" };
    if NEGATIVE_CONTRACTIONS.contains(&f) || (is_form_of_do(f) && rest.starts_with("not ")) {
        return asked(&[&capitalised(f), subject, &rest]);
    }
    if matches!(f, "do" | "does") {
        return asked(&[do_does, subject, "do", &rest]);
    }
    if AUXILIARIES.contains(&f) {
        return asked(&[&capitalised(f), subject, &rest]);
    }
    if ADVERBS.contains(&f) {
        return with_adverb(f, &about_subject(&rest, subject), subject);
    }
    if is_past(f) {
        return asked(&["Did", subject, &base_form(f), &rest]);
    }
    let verb = if is_third_person(f) { base_form(f) } else { first };
    asked(&[do_does, subject, &verb, &rest])
}

fn with_adverb(adverb: &str, question: &str, subject: &str) -> String {
    match question.find(subject) {
        Some(start) => {
            let (before, after) = question.split_at(start + subject.len());
            format!("{before} {adverb}{after}")
        }
        None => question.to_owned(),
    }
}

fn is_form_of_do(verb: &str) -> bool {
    matches!(verb, "does" | "do" | "did")
}

fn is_plural(subject: &str) -> bool {
    subject.to_lowercase().split_whitespace().any(|word| PLURAL_WORDS.contains(&word))
}

/// The first word in lower case, and the others with single spaces between them.
pub(super) fn first_and_rest(verb_phrase: &str) -> (String, String) {
    let mut words = verb_phrase.split_whitespace();
    let first = words.next().unwrap_or_default().to_lowercase();
    (first, words.collect::<Vec<_>>().join(" "))
}

/// The parts that are not empty, a space between them, and a question mark.
fn asked(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    format!("{}?", parts.join(" "))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn strip_prefix_any_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A run of word characters, one space, and what follows.
fn word_and_rest(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    let (word, rest) = text.split_at(end);
    let rest = rest.strip_prefix(' ')?;
    (!word.is_empty() && !rest.is_empty()).then_some((word, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_tried_in_order_and_in_any_case() {
        let subject = |verb_phrase| Asked::Subject { verb_phrase };
        let cases = [
            ("What group of people uses drugs?", subject("uses drugs")),
            ("what type of PERSON is kind?", subject("is kind")),
            ("Which friend is afraid?", subject("is afraid")),
            ("Which set of fans caused it?", subject("of fans caused it")),
            (" who was at the wheel ? ", subject("was at the wheel")),
            (
                "Whose room was sloppy?",
                Asked::Possession { noun: "room", verb_phrase: "was sloppy" },
            ),
            ("In which family is he?", Asked::Other { words: "In which family is he" }),
            ("Which well-known man is he?", Asked::Other { words: "Which well-known man is he" }),
            ("What kind of people lie?", Asked::Other { words: "What kind of people lie" }),
            ("Who?", Asked::Other { words: "Who" }),
        ];
        for (question, expected) in cases {
            assert_eq!(read(question), expected, "{question}");
        }
    }

    #[test]
    fn each_rule_of_the_verb_phrase() {
        let cases = [
            ("isn't independent", "The server", "Isn't The server independent?"),
            ("does not value rights", "The child", "Does The child not value rights?"),
            ("did not call", "The child", "Did The child not call?"),
            ("does risky things", "The boy", "Does The boy do risky things?"),
            ("does drugs in the park", "poor people", "Do poor people do drugs in the park?"),
            ("has trouble remembering", "The man", "Has The man trouble remembering?"),
            ("might be late", "The man", "Might The man be late?"),
            ("likely planted the bomb", "The one", "Did The one likely plant the bomb?"),
            ("never really works", "Bo", "Does Bo never really work?"),
            ("stole it", "The man", "Did The man steal it?"),
            ("did it", "The man", "Did The man do it?"),
            ("reacted violently", "My son", "Did My son react violently?"),
            ("uses drugs", "rich people", "Do rich people use drugs?"),
            ("forgot things", "The 58-year-old", "Does The 58-year-old forgot things?"),
            ("USES drugs", "Bo", "Does Bo use drugs?"),
            ("was", "Bo", "Was Bo?"),
            ("always", "Bo", "Does Bo always?"),
        ];
        for (verb_phrase, subject, expected) in cases {
            assert_eq!(about_subject(verb_phrase, subject), expected, "{verb_phrase}");
        }
    }

    #[test]
    fn the_subject_stays_word_for_word() {
        assert_eq!(yes_no("Who didn't know?", "The sister "), "Didn't The sister  know?");
    }

    #[test]
    fn plural_subjects_hold_a_plural_word() {
        for subject in ["poor people", "The tall ones", "MEN"] {
            assert!(is_plural(subject), "{subject}");
        }
        for subject in ["The mentally ill person", "The students", "Jones"] {
            assert!(!is_plural(subject), "{subject}");
        }
    }

    #[test]
    fn possessions_consume_one_word() {
        let cases = [
            ("Whose job is suffering?", "Is Bo's job suffering?"),
            ("Whose room was sloppy?", "Was Bo's room sloppy?"),
            ("Whose parents didn't call?", "Is Bo's parents call?"),
            ("Whose car broke down?", "Is Bo's car down?"),
        ];
        for (question, expected) in cases {
            assert_eq!(yes_no(question, "Bo"), expected);
        }
    }

    #[test]
    fn other_questions_keep_their_words() {
        assert_eq!(yes_no("In which home is he?", "Bo"), "Regarding Bo: In which home is he?");
    }
}
