//! Texts as tokens, the two people in them masked by role, and the edits between two of them.

use rustc_hash::FxHashMap;

/// The two people of a text: its target, and the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles<'t> {
    /// The one of whom the text says it.
    pub target: &'t str,
    /// The other one.
    pub other: &'t str,
}

const TARGET: &str = "<target>";
const OTHER: &str = "<other>";

/// Text in the form that [`tokens`] takes apart.
pub(super) fn lower(text: &str) -> String {
    let lower = text.to_lowercase();
    if lower.contains('\u{2019}') { lower.replace('\u{2019}', "'") } else { lower }
}

/// A text's tokens: words with inner hyphens and apostrophes, `'s` and every other mark on its own.
/// All texts are as [`lower`] leaves them. A phrase of `roles` becomes one token, wherever its words
/// stand side by side (the longer phrase first), and "an" before it becomes "a".
pub(super) fn tokens<'t>(text: &'t str, roles: Option<Roles<'t>>) -> Vec<&'t str> {
    let words = split(text);
    let Some(roles) = roles else { return words };
    let mut phrases = [(split(roles.target), TARGET), (split(roles.other), OTHER)];
    phrases.sort_by_key(|(phrase, _)| std::cmp::Reverse(phrase.len()));
    let mut masked: Vec<&str> = Vec::with_capacity(words.len());
    let mut rest = &words[..];
    while let Some((first, after)) = rest.split_first() {
        let found =
            phrases.iter().find(|(phrase, _)| !phrase.is_empty() && rest.starts_with(phrase));
        if let Some((phrase, role)) = found {
            if let Some(article) = masked.last_mut().filter(|word| **word == "an") {
                *article = "a";
            }
            masked.push(role);
            rest = &rest[phrase.len()..];
        } else {
            masked.push(first);
            rest = after;
        }
    }
    masked
}

fn split(text: &str) -> Vec<&str> {
    let mut found = Vec::with_capacity(text.len() / 4);
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if first.is_alphanumeric() { word_end(rest) } else { first.len_utf8() };
        let (token, after) = rest.split_at(end);
        match token.strip_suffix("'s").filter(|stem| !stem.is_empty()) {
            Some(stem) => found.extend([stem, "'s"]),
            None => found.push(token),
        }
        rest = after.trim_start();
    }
    found
}

/// End of the word at the start of a text; a hyphen or apostrophe between letters belongs to it.
fn word_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    while let Some(&byte) = bytes.get(end) {
        if byte.is_ascii_alphanumeric() {
            end += 1;
            continue;
        }
        let joins = matches!(byte, b'-' | b'\'');
        let letter = text[end + usize::from(joins)..].chars().next();
        match letter.filter(|letter| letter.is_alphanumeric()) {
            Some(letter) => end += usize::from(joins) + letter.len_utf8(),
            None => return end,
        }
    }
    end
}

/// Numbers for tokens, so that comparing two costs one instruction.
#[derive(Debug, Default)]
pub(super) struct Vocabulary<'t> {
    numbers: FxHashMap<&'t str, u32>,
}

impl<'t> Vocabulary<'t> {
    pub(super) fn number(&mut self, tokens: &[&'t str]) -> Vec<u32> {
        let mut one = |token| {
            let next = self.numbers.len() as u32;
            *self.numbers.entry(token).or_insert(next)
        };
        tokens.iter().map(|token| one(*token)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

/// One text, prepared for distances to many others: Myers' bit vectors in 64-bit blocks (Hyyrö 2003).
pub(super) struct Pattern {
    n_tokens: usize,
    n_blocks: usize,
    /// For each token of the vocabulary, where the pattern has it, one bit a place.
    places: Vec<u64>,
}

impl Pattern {
    pub(super) fn new(tokens: &[u32], vocabulary: &Vocabulary) -> Self {
        let n_blocks = tokens.len().div_ceil(64).max(1);
        let mut places = vec![0; n_blocks * vocabulary.len()];
        for (place, &token) in tokens.iter().enumerate() {
            places[token as usize * n_blocks + place / 64] |= 1 << (place % 64);
        }
        Self { n_tokens: tokens.len(), n_blocks, places }
    }

    /// Number of tokens to insert, delete or replace. `column` is scratch space.
    pub(super) fn distance(&self, text: &[u32], column: &mut Vec<(u64, u64)>) -> u32 {
        if self.n_tokens == 0 {
            return text.len() as u32;
        }
        column.clear();
        column.resize(self.n_blocks, (u64::MAX, 0));
        let last = 1 << ((self.n_tokens - 1) % 64);
        let mut distance = self.n_tokens as u32;
        for &token in text {
            let places = &self.places[token as usize * self.n_blocks..][..self.n_blocks];
            // The row above the first is 0, 1, 2, ...: it rises by one with each token.
            let (mut rise, mut fall) = (1, 0);
            for (block, (cells, &places)) in column.iter_mut().zip(places).enumerate() {
                let top = if block + 1 == self.n_blocks { last } else { 1 << 63 };
                (rise, fall) = advance(cells, places, (rise, fall), top);
            }
            distance = distance + rise as u32 - fall as u32;
        }
        distance
    }
}

/// One block of one column, rising and falling bits: whether the row at `top` rises or falls against the column before.
#[inline]
fn advance(
    (rising, falling): &mut (u64, u64),
    places: u64,
    (rise_in, fall_in): (u64, u64),
    top: u64,
) -> (u64, u64) {
    let vertical = places | *falling;
    let places = places | fall_in;
    let diagonal = (((places & *rising).wrapping_add(*rising)) ^ *rising) | places;
    let rises = *falling | !(diagonal | *rising);
    let falls = *rising & diagonal;
    let out = (u64::from(rises & top != 0), u64::from(falls & top != 0));
    let (rises, falls) = ((rises << 1) | rise_in, (falls << 1) | fall_in);
    *rising = falls | !(vertical | rises);
    *falling = rises & vertical;
    out
}

/// The runs of tokens in which two texts differ, in order: "soccer -> softball". Of several shortest
/// edits the one that keeps the earliest tokens.
pub(super) fn differing(left: &[&str], right: &[&str]) -> Vec<(String, String)> {
    let n_columns = right.len() + 1;
    let mut cost = vec![0_u32; (left.len() + 1) * n_columns];
    let at = |i: usize, j: usize| i * n_columns + j;
    for i in (0..=left.len()).rev() {
        for j in (0..=right.len()).rev() {
            cost[at(i, j)] = if i == left.len() || j == right.len() {
                (left.len() - i + right.len() - j) as u32
            } else if left[i] == right[j] {
                cost[at(i + 1, j + 1)]
            } else {
                1 + cost[at(i + 1, j + 1)].min(cost[at(i + 1, j)]).min(cost[at(i, j + 1)])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut runs: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    let mut is_open = false;
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            (i, j, is_open) = (i + 1, j + 1, false);
            continue;
        }
        if !is_open {
            runs.push((Vec::new(), Vec::new()));
            is_open = true;
        }
        let run = runs.last_mut().expect("a run is open");
        let now = cost[at(i, j)];
        let both = i < left.len() && j < right.len() && now == 1 + cost[at(i + 1, j + 1)];
        let delete = both || (i < left.len() && now == 1 + cost[at(i + 1, j)]);
        if delete {
            run.0.push(left[i]);
            i += 1;
        }
        if both || !delete {
            run.1.push(right[j]);
            j += 1;
        }
    }
    runs.into_iter().map(|(left, right)| (left.join(" "), right.join(" "))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_keep_words_whole_and_split_off_what_belongs_to_the_sentence() {
        let found = tokens("the 22-year-old's son, who's \"blind\", didn't walk.", None);
        let expected = [
            "the",
            "22-year-old",
            "'s",
            "son",
            ",",
            "who",
            "'s",
            "\"",
            "blind",
            "\"",
            ",",
            "didn't",
            "walk",
            ".",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn roles_are_masked_longest_first_and_an_article_before_them_is_one() {
        let roles = Roles { target: "tattoos", other: "no tattoos" };
        assert_eq!(
            tokens("one with tattoos, one with no tattoos.", Some(roles)),
            ["one", "with", TARGET, ",", "one", "with", OTHER, "."]
        );
        let roles = Roles { target: "indian", other: "thai" };
        let masked = tokens("an indian's and a thai man in an inn", Some(roles));
        assert_eq!(masked, ["a", TARGET, "'s", "and", "a", OTHER, "man", "in", "an", "inn"]);
    }

    #[test]
    fn lower_case_has_one_apostrophe() {
        assert_eq!(lower("The CEO\u{2019}s \u{c9}mile"), "the ceo's \u{e9}mile");
    }

    #[test]
    fn differing_runs_are_in_order() {
        let run = |left: &str, right: &str| differing(&tokens(left, None), &tokens(right, None));
        let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        assert_eq!(run("a soccer team", "a softball team"), [pair("soccer", "softball")]);
        assert_eq!(run("it was late", "it was very late"), [pair("", "very")]);
        assert_eq!(run("a b c d", "b c x y"), [pair("a", ""), pair("d", "x y")]);
        assert_eq!(run("same", "same"), []);
    }

    fn plain_distance(left: &[u32], right: &[u32]) -> u32 {
        let mut row: Vec<u32> = (0..=right.len() as u32).collect();
        for (i, a) in left.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i as u32 + 1;
            for (j, b) in right.iter().enumerate() {
                let best = (diagonal + u32::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], best);
            }
        }
        row[right.len()]
    }

    proptest! {
        #[test]
        fn bit_vectors_count_the_same_edits_as_the_table(
            left in prop::collection::vec(0_u32..6, 0..200),
            right in prop::collection::vec(0_u32..6, 0..200),
        ) {
            let mut vocabulary = Vocabulary::default();
            vocabulary.number(&["a", "b", "c", "d", "e", "f"]);
            let distance = Pattern::new(&left, &vocabulary).distance(&right, &mut Vec::new());
            prop_assert_eq!(distance, plain_distance(&left, &right));
        }

        #[test]
        fn differing_runs_hold_as_many_tokens_as_there_are_edits(
            left in prop::collection::vec("[abc]", 0..30),
            right in prop::collection::vec("[abc]", 0..30),
        ) {
            let mut vocabulary = Vocabulary::default();
            let (left, right): (Vec<&str>, Vec<&str>) =
                (left.iter().map(|s| &**s).collect(), right.iter().map(|s| &**s).collect());
            let (a, b) = (vocabulary.number(&left), vocabulary.number(&right));
            let size = |text: &str| text.split_whitespace().count();
            let edits: usize =
                differing(&left, &right).iter().map(|(a, b)| size(a).max(size(b))).sum();
            // Runs that touch are merged, so that a run may hold an insertion beside a deletion.
            prop_assert!(edits as u32 <= plain_distance(&a, &b));
        }
    }
}
