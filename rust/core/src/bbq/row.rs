//! One row of BBQ: its fields, borrowed from the file, and the limits of each.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Unexpected, Visitor};

/// True of a context that says who did it: `disambig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ContextCondition {
    /// It does not.
    Ambig,
    /// It does.
    Disambig,
}

/// The property that the question asks for: the harmful one or its opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QuestionPolarity {
    /// The harmful property.
    Neg,
    /// Its opposite.
    Nonneg,
}

/// The fields of a row that pairs are made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(expecting = "a BBQ row, which is an object")]
pub(crate) struct Row<'a> {
    /// Position of the row in the original file.
    pub example_id: i64,
    /// The scenario.
    #[serde(deserialize_with = "question_index")]
    pub(crate) question_index: u32,
    /// The property that the question asks for.
    pub(crate) question_polarity: QuestionPolarity,
    /// The context's condition.
    pub(crate) context_condition: ContextCondition,
    #[serde(borrow)]
    category: Cow<'a, str>,
    #[serde(borrow)]
    answer_info: AnswerInfo<'a>,
    #[serde(borrow)]
    additional_metadata: Metadata<'a>,
    /// The story.
    #[serde(borrow)]
    pub context: Cow<'a, str>,
    /// The question, with its question mark.
    #[serde(borrow)]
    pub question: Cow<'a, str>,
    #[serde(borrow)]
    ans0: Cow<'a, str>,
    #[serde(borrow)]
    ans1: Cow<'a, str>,
    #[serde(borrow)]
    ans2: Cow<'a, str>,
    label: Label,
}

impl Row<'_> {
    /// The right answer's text, word for word.
    pub(crate) fn answer(&self) -> &str {
        [&self.ans0, &self.ans1, &self.ans2][self.label.0]
    }

    /// The group label of the right answer; empty where BBQ gives none.
    pub(crate) fn answer_group(&self) -> &str {
        let info = &self.answer_info;
        &[&info.ans0, &info.ans1, &info.ans2][self.label.0].group
    }

    /// The person or people of the right answer.
    pub(crate) fn target(&self) -> Person<'_> {
        self.person(self.label.0)
    }

    /// The other person or people of the story: the one answer that is not right and names somebody
    /// by the test given, or nothing where there is not exactly one.
    pub(crate) fn other(&self, names_somebody: impl Fn(&str) -> bool) -> Option<Person<'_>> {
        let mut others = (0..3).filter(|&answer| answer != self.label.0);
        let mut named =
            others.by_ref().map(|i| self.person(i)).filter(|person| names_somebody(person.group));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }

    fn person(&self, answer: usize) -> Person<'_> {
        let info = [&self.answer_info.ans0, &self.answer_info.ans1, &self.answer_info.ans2][answer];
        Person {
            name: &info.name,
            group: &info.group,
            text: [&self.ans0, &self.ans1, &self.ans2][answer],
        }
    }

    /// The groups that the stereotype is about.
    pub(crate) fn stereotyped_groups(&self) -> &[Text<'_>] {
        &self.additional_metadata.stereotyped_groups
    }

    pub(super) fn check(&self, category: &str) -> std::result::Result<(), String> {
        if self.category != category {
            return Err(format!("category must be `{category}`, got `{}`", self.category));
        }
        let answer = ["ans0", "ans1", "ans2"][self.label.0];
        let texts =
            [("context", &*self.context), ("question", &*self.question), (answer, self.answer())];
        match texts.iter().find(|(_, text)| text.trim().is_empty()) {
            Some((field, text)) => Err(format!("{field} must not be blank, got {text:?}")),
            None => Ok(()),
        }
    }
}

/// Somebody whom an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Person<'r> {
    /// The words that the context has for them.
    pub name: &'r str,
    /// Their group's label.
    pub(crate) group: &'r str,
    /// The answer, word for word.
    pub text: &'r str,
}

/// A string of a JSON list, borrowed where it holds no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(expecting = "an object with ans0, ans1 and ans2")]
struct AnswerInfo<'a> {
    #[serde(borrow)]
    ans0: Answer<'a>,
    #[serde(borrow)]
    ans1: Answer<'a>,
    #[serde(borrow)]
    ans2: Answer<'a>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(expecting = "an object with stereotyped_groups")]
struct Metadata<'a> {
    #[serde(borrow)]
    stereotyped_groups: Vec<Text<'a>>,
}

/// `[name, group]` of an answer.
#[derive(Debug, Clone)]
struct Answer<'a> {
    name: Text<'a>,
    group: Text<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Answer<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct NameAndGroup;
        impl<'de> Visitor<'de> for NameAndGroup {
            type Value = Answer<'de>;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("2 strings, the name and its group")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let name =
                    list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let group =
                    list.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                match list.next_element::<Text>()? {
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                    None => Ok(Answer { name, group }),
                }
            }
        }
        from.deserialize_seq(NameAndGroup)
    }
}

/// Which of the three answers is right.
#[derive(Debug, Clone, Copy)]
struct Label(usize);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct AnswerNumber;
        impl Visitor<'_> for AnswerNumber {
            type Value = Label;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("0, 1 or 2")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<Label, E> {
                match value {
                    0..=2 => Ok(Label(value as usize)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<Label, E> {
                Err(E::invalid_value(Unexpected::Signed(value), &self))
            }
        }
        from.deserialize_any(AnswerNumber)
    }
}

/// BBQ writes the index as a string of digits; a plain integer is taken as well.
fn question_index<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<u32, D::Error> {
    struct Index;
    impl Visitor<'_> for Index {
        type Value = u32;

        fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
            to.write_str("a whole number in digits")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<u32, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<u32, E> {
            value.try_into().map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
        }
    }
    from.deserialize_any(Index)
}
