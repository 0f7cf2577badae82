//! Group labels: comparing them, naming them, and speaking of a group in a sentence.

use super::tables::{GROUP_PHRASES, NOBODY, look_up};

/// The form in which labels compare: lower case, without spaces, `-` and `_`.
pub(super) fn normalise(label: &str) -> String {
    label.to_lowercase().replace([' ', '-', '_'], "")
}

/// True if a normalised label stands for "cannot be known", or for nothing at all.
pub(super) fn names_nobody(normalised: &str) -> bool {
    NOBODY.contains(&normalised)
}

/// The contrast group's name: `nonOld` is `non-Old`, and `_` is a space.
pub(super) fn contrast_name(label: &str) -> String {
    let name = match label.split_at_checked(3) {
        Some((start, rest)) if start.eq_ignore_ascii_case("non") => format!("non-{rest}"),
        _ => label.to_owned(),
    };
    name.replace('_', " ").trim().to_owned()
}

/// A plural noun phrase for groups whose labels were joined by `", "`.
pub(super) fn plural_phrase(joined: &str) -> String {
    if let Some(phrase) = look_up(&GROUP_PHRASES, joined) {
        return phrase.to_owned();
    }
    let labels: Vec<&str> = joined.split(", ").map(str::trim).collect();
    match labels.as_slice() {
        [_] => format!("{joined} people"),
        [first, second] => format!("{first} and {second} people"),
        [earlier @ .., last] => format!("{}, and {last} people", earlier.join(", ")),
        [] => unreachable!("split yields at least one part"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_compare_without_case_and_marks() {
        assert_eq!(normalise("low SES"), normalise("lowSES"));
        assert_eq!(normalise("Non-trans_F"), "nontransf");
    }

    #[test]
    fn unknown_answers_name_nobody() {
        for label in ["unknown", "Can't be determined", "Not answerable", "", " "] {
            assert!(names_nobody(&normalise(label)), "{label}");
        }
        assert!(!names_nobody(&normalise("nonOld")));
    }

    #[test]
    fn contrast_names_split_off_non() {
        let cases = [
            ("nonOld", "non-Old"),
            ("NONtrans_F", "non-trans F"),
            ("F-Black", "F-Black"),
            ("no", "no"),
            ("né", "né"),
        ];
        for (label, name) in cases {
            assert_eq!(contrast_name(label), name);
        }
    }

    #[test]
    fn phrases_come_from_the_table_or_are_listed() {
        let cases = [
            ("F", "women"),
            ("disabled, D/deaf", "Deaf and hard-of-hearing people"),
            ("Roma", "Roma people"),
            ("Black, African American", "Black and African American people"),
            ("A, B, C", "A, B, and C people"),
        ];
        for (joined, phrase) in cases {
            assert_eq!(plural_phrase(joined), phrase);
        }
    }
}
