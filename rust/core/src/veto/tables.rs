//! The word lists of the published protocol. Every rule of [`super`] that names words reads them here.

/// Auxiliaries that open a question by themselves.
pub(super) const AUXILIARIES: [&str; 15] = [
    "is", "are", "was", "were", "has", "have", "had", "can", "could", "will", "would", "should",
    "must", "might", "may",
];

/// Auxiliaries with the negation inside.
pub(super) const NEGATIVE_CONTRACTIONS: [&str; 15] = [
    "doesn't",
    "don't",
    "didn't",
    "isn't",
    "aren't",
    "wasn't",
    "weren't",
    "hasn't",
    "haven't",
    "hadn't",
    "can't",
    "couldn't",
    "won't",
    "wouldn't",
    "shouldn't",
];

/// Adverbs that may stand before the verb.
pub(super) const ADVERBS: [&str; 17] = [
    "likely",
    "probably",
    "currently",
    "always",
    "usually",
    "often",
    "typically",
    "generally",
    "actually",
    "really",
    "still",
    "just",
    "never",
    "sometimes",
    "rarely",
    "frequently",
    "recently",
];

/// A subject with one of these words takes "Do" instead of "Does".
pub(super) const PLURAL_WORDS: [&str; 6] =
    ["people", "men", "women", "folks", "individuals", "ones"];

/// Past forms whose base form no ending rule finds.
pub(super) const PAST_TO_BASE: [(&str, &str); 53] = [
    ("was", "be"),
    ("were", "be"),
    ("had", "have"),
    ("did", "do"),
    ("went", "go"),
    ("came", "come"),
    ("stole", "steal"),
    ("knew", "know"),
    ("found", "find"),
    ("said", "say"),
    ("got", "get"),
    ("saw", "see"),
    ("took", "take"),
    ("left", "leave"),
    ("gave", "give"),
    ("made", "make"),
    ("lost", "lose"),
    ("held", "hold"),
    ("told", "tell"),
    ("sold", "sell"),
    ("met", "meet"),
    ("led", "lead"),
    ("ran", "run"),
    ("won", "win"),
    ("sat", "sit"),
    ("drove", "drive"),
    ("wrote", "write"),
    ("rode", "ride"),
    ("spoke", "speak"),
    ("broke", "break"),
    ("fell", "fall"),
    ("slept", "sleep"),
    ("dealt", "deal"),
    ("read", "read"),
    ("paid", "pay"),
    ("hit", "hit"),
    ("put", "put"),
    ("cut", "cut"),
    ("hurt", "hurt"),
    ("believed", "believe"),
    ("struggled", "struggle"),
    ("moved", "move"),
    ("argued", "argue"),
    ("used", "use"),
    ("failed", "fail"),
    ("relied", "rely"),
    ("denied", "deny"),
    ("tried", "try"),
    ("involved", "involve"),
    ("deserved", "deserve"),
    ("achieved", "achieve"),
    ("received", "receive"),
    ("behaved", "behave"),
];

/// Verbs of a question about one person, and what they become in a statement about a group.
pub(super) const SINGULAR_TO_PLURAL: [(&str, &str); 8] = [
    ("is", "are"),
    ("was", "were"),
    ("has", "have"),
    ("does", "do"),
    ("isn't", "aren't"),
    ("wasn't", "weren't"),
    ("hasn't", "haven't"),
    ("doesn't", "don't"),
];

/// Joined group labels and their plural noun phrases.
pub(super) const GROUP_PHRASES: [(&str, &str); 37] = [
    ("F", "women"),
    ("M", "men"),
    ("old", "old people"),
    ("nonOld", "younger people"),
    ("non-Old", "younger people"),
    ("low SES", "people with low SES"),
    ("lowSES", "people with low SES"),
    ("high SES", "people with high SES"),
    ("highSES", "people with high SES"),
    ("obese", "obese people"),
    ("non-Obese", "non-obese people"),
    ("negDress", "people with unconventional appearance"),
    ("posDress", "people with conventional appearance"),
    ("visibleDifference", "people with visible differences"),
    ("noVisibleDifference", "people without visible differences"),
    ("short", "short people"),
    ("tall", "tall people"),
    ("pregnant", "pregnant people"),
    ("notPregnant", "non-pregnant people"),
    ("gay", "gay people"),
    ("lesbian", "lesbian people"),
    ("bisexual", "bisexual people"),
    ("pansexual", "pansexual people"),
    ("straight", "straight people"),
    ("heterosexual", "heterosexual people"),
    ("transgender women, trans", "transgender women"),
    ("Transgender women, transgender men, trans", "transgender people"),
    ("non-Trans", "non-transgender people"),
    ("disabled, autistic people", "autistic people"),
    ("disabled, mentally-ill", "people with mental illness"),
    ("disabled, physically disabled", "physically disabled people"),
    ("disabled, D/deaf", "Deaf and hard-of-hearing people"),
    ("disabled, people with blindness or low-vision", "people with blindness or low vision"),
    ("disabled, people with cerebral palsy", "people with cerebral palsy"),
    (
        "disabled, people with cognitive disabilities or mental illness",
        "people with cognitive disabilities",
    ),
    ("disabled, Down's syndrome", "people with Down's syndrome"),
    ("non-Disabled", "non-disabled people"),
];

/// Normalised labels of answers that name nobody.
pub(super) const NOBODY: [&str; 4] = ["unknown", "can'tbedetermined", "notanswerable", ""];

/// The second column of a two-column table.
pub(super) fn look_up<'t>(table: &[(&str, &'t str)], word: &str) -> Option<&'t str> {
    table.iter().find(|(key, _)| *key == word).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique() {
        for table in [&PAST_TO_BASE[..], &SINGULAR_TO_PLURAL, &GROUP_PHRASES] {
            for (index, (key, _)) in table.iter().enumerate() {
                assert!(table[..index].iter().all(|(earlier, _)| earlier != key), "{key}");
            }
        }
    }
}
