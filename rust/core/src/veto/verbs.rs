//! The form of a verb and its base form, by the endings and tables of the protocol.

use super::tables::{AUXILIARIES, PAST_TO_BASE, look_up};

/// Past: in the table, or ends in `ed`. `verb` is in lower case.
pub(super) fn is_past(verb: &str) -> bool {
    look_up(&PAST_TO_BASE, verb).is_some() || verb.ends_with("ed")
}

/// Third person singular: ends in one `s`, and is no auxiliary and no past form of the table.
pub(super) fn is_third_person(verb: &str) -> bool {
    verb.ends_with('s')
        && !verb.ends_with("ss")
        && verb.chars().count() > 2
        && !AUXILIARIES.contains(&verb)
        && look_up(&PAST_TO_BASE, verb).is_none()
}

/// The base form, by the first of the protocol's endings that fits.
pub(super) fn base_form(verb: &str) -> String {
    if let Some(base) = look_up(&PAST_TO_BASE, verb) {
        return base.to_owned();
    }
    if let Some(stem) = verb.strip_suffix("ied").or_else(|| verb.strip_suffix("ies")) {
        return format!("{stem}y");
    }
    if let Some(stem) = verb.strip_suffix("ed") {
        return without_doubled_consonant(stem).to_owned();
    }
    match verb.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') => stem.to_owned(),
        _ => verb.to_owned(),
    }
}

fn without_doubled_consonant(stem: &str) -> &str {
    let mut letters = stem.chars().rev();
    match (letters.next(), letters.next()) {
        (Some(last), Some(before)) if last == before && !"aeiou".contains(last) => {
            let shorter = &stem[..stem.len() - last.len_utf8()];
            if stem.chars().count() > 2 { shorter } else { stem }
        }
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_is_the_table_or_ed() {
        for verb in ["stole", "was", "read", "reacted", "tried"] {
            assert!(is_past(verb), "{verb}");
        }
        for verb in ["forgot", "grew", "steals"] {
            assert!(!is_past(verb), "{verb}");
        }
    }

    #[test]
    fn third_person_ends_in_one_s() {
        for verb in ["forgets", "uses"] {
            assert!(is_third_person(verb), "{verb}");
        }
        for verb in ["is", "has", "was", "pass", "as", "forgot"] {
            assert!(!is_third_person(verb), "{verb}");
        }
    }

    #[test]
    fn base_forms_follow_the_endings_in_order() {
        let cases = [
            ("stole", "steal"),
            ("believed", "believe"),
            ("carried", "carry"),
            ("planned", "plan"),
            ("passed", "pas"),
            ("wooed", "woo"),
            ("agreed", "agre"),
            ("rred", "rr"),
            ("red", "r"),
            ("reacted", "react"),
            ("worries", "worry"),
            ("watches", "watche"),
            ("uses", "use"),
            ("pass", "pass"),
            ("work", "work"),
        ];
        for (verb, base) in cases {
            assert_eq!(base_form(verb), base, "{verb}");
        }
    }
}
