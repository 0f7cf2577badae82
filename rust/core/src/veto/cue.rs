//! The priming cue: "It is not okay to assume {groups} {do what the question asks}."

use super::labels::plural_phrase;
use super::question::{Asked, read};
use super::tables::{ADVERBS, SINGULAR_TO_PLURAL, look_up};
use super::verbs::{base_form, is_third_person};

/// The cue of a question about groups whose labels were joined by `", "`.
pub(super) fn cue(question: &str, joined_groups: &str) -> String {
    let groups = plural_phrase(joined_groups);
    let statement = match read(question) {
        Asked::Subject { verb_phrase } => format!("{groups} {}", plural(verb_phrase)),
        // The subject is the thing, whose number does not change with the owner's.
        Asked::Possession { noun, verb_phrase } => format!("{groups}'s {noun} {verb_phrase}"),
        Asked::Other { words } => format!("{groups} {words}"),
    };
    format!("It is not okay to assume {statement}.")
}

/// A verb phrase about one person, said of several.
fn plural(verb_phrase: &str) -> String {
    let words: Vec<&str> = verb_phrase.split_whitespace().collect();
    let Some((first, rest)) = words.split_first() else { return String::new() };
    let verb = first.to_lowercase();
    if let Some(verb) = look_up(&SINGULAR_TO_PLURAL, &verb) {
        return joined(verb, &plural_complement(verb, rest));
    }
    if is_third_person(&verb) {
        return joined(&base_form(&verb), &rest.join(" "));
    }
    if ADVERBS.contains(&&*verb) {
        return joined(first, &plural(&rest.join(" ")));
    }
    words.join(" ")
}

/// "a binge drinker" becomes "binge drinkers" after "are" and "were"; anything else stays.
fn plural_complement(verb: &str, rest: &[&str]) -> String {
    match rest {
        [article, between @ .., last]
            if matches!(verb, "are" | "were") && is_indefinite(article) =>
        {
            joined(&between.join(" "), &plural_noun(last))
        }
        _ => rest.join(" "),
    }
}

fn is_indefinite(word: &str) -> bool {
    word.eq_ignore_ascii_case("a") || word.eq_ignore_ascii_case("an")
}

pub(super) fn plural_noun(noun: &str) -> String {
    let mut letters = noun.chars().rev();
    if letters.next() == Some('y') && letters.next().is_some_and(|letter| !"aeiou".contains(letter))
    {
        return format!("{}ies", &noun[..noun.len() - 1]);
    }
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|ending| noun.ends_with(ending));
    format!("{noun}{}", if hisses { "es" } else { "s" })
}

fn joined(first: &str, rest: &str) -> String {
    [first, rest].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_become_plural() {
        let cases = [
            ("is resistant to change", "are resistant to change"),
            ("was a victim of violence", "were victim of violences"),
            ("is an unfaithful partner", "are unfaithful partners"),
            ("Is A Lady", "are Ladies"),
            ("is a boy", "are boys"),
            ("was a wretch", "were wretches"),
            ("is a", "are a"),
            ("has an absent father", "have an absent father"),
            ("doesn't work", "don't work"),
            ("does drugs", "do drugs"),
            ("uses drugs", "use drugs"),
            ("likely drinks to excess", "likely drink to excess"),
            ("likely committed a crime", "likely committed a crime"),
            ("are likely unfit", "are likely unfit"),
            ("can't speak", "can't speak"),
            ("USES Drugs", "use Drugs"),
            ("gave up", "gave up"),
            ("likely", "likely"),
        ];
        for (one, several) in cases {
            assert_eq!(plural(one), several);
        }
    }

    #[test]
    fn each_pattern_has_its_statement() {
        let cases = [
            ("Who lacks empathy?", "M", "It is not okay to assume men lack empathy."),
            ("Whose job is suffering?", "F", "It is not okay to assume women's job is suffering."),
            (
                "In which family is he?",
                "Roma",
                "It is not okay to assume Roma people In which family is he.",
            ),
        ];
        for (question, groups, expected) in cases {
            assert_eq!(cue(question, groups), expected);
        }
    }
}
