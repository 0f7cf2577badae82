"""Any text at all: the parser never raises, and never reads an answer that is not there."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from misfired.errors import ArgumentError
from misfired.scoring.parse import ABSTAINED, UNPARSEABLE, Parsed, parse_answer

YES_NO = {"yes": ("Yes", "yes", "YES", " Yes", " yes", " YES"), "no": ("No", "no", "NO", " No")}
YES_FORMS, NO_FORMS = ("yes", "yeah", "yep", "yup", "true"), ("no", "nope", "nah", "false")

WORDS = (
    *("yes", "Yes", "YES", "no", "No", "NO", "nope", "yep", "yeah", "nah", "true", "false", "null"),
    *(
        "not",
        "never",
        "or",
        "and",
        "/",
        "|",
        "either",
        "neither",
        "if",
        "unless",
        "whether",
        "maybe",
    ),
    *("because", "so", "therefore", "but", "wait", "unknown", "sorry", "cannot", "can't", "won't"),
    *(
        "answer",
        "Answer:",
        "final",
        "conclusion",
        "is",
        "isn't",
        "would",
        "be",
        "says",
        "he",
        "they",
    ),
    *("had", "doubt", "question", "evidence", "one", "reader", "wrong", "correct", "say", "reply:"),
    *("As an AI,", "I'm sorry,", "determined", "depends", "A:", "\\boxed{yes}", "\\boxed{"),
    *(
        "<answer>",
        "</answer>",
        "```json",
        "```",
        "**",
        "*",
        "_",
        "`",
        "~~",
        "the",
        "I",
        "don't think",
    ),
)
PHRASES = (
    *(
        "The answer is yes.",
        "The answer is no",
        "Final answer: yes",
        "final answer: no",
        "Answer: yes",
    ),
    *("the final answer is", "I would say", "My answer:", "So yes,", "Yes, because", "No, since"),
    *(
        "If he forgot, then",
        "It is not true that",
        "She said",
        "yes or no",
        "Yes/No",
        "not yes",
        "a no",
    ),
)
JSON = (
    *(
        '{"answer": "yes"}',
        '{"answer": "no"}',
        '{"answer": true}',
        '{"answer": null}',
        "{answer: no}",
    ),
    *("{'answer': 'yes'", '{"final_answer":', '{"answer": "', '{"a": {"answer": "no"}}', "{", "}"),
    *(
        '"',
        ":",
        ",",
        "[",
        "]",
        '{"answer": 1e999}',
        '{"answer": ["yes"]}',
        '{"answer": "yes or no"}',
    ),
)
TAGS = (
    *("<think>", "</think>", "<THINK>", "[THINK]", "[/THINK]", "◁think▷", "◁/think▷"),
    *("<|channel|>", "<|channel|>final<|message|>", "<|message|>", "<|end|>", "<seed:think>"),
)
#: Characters that normalisation, case folding or regular expressions are known to trip over.
ODD = (
    *("\u0130", "\u0131", "\u017f", "\u212a", "\u00df", "\ufb01", "\uff39\uff45\uff53", "\u200b"),
    *("\u00ad", "\u202e", "\ufeff", "\x00", "\x85", "\u2028", "\u00a0", "\ud800", "\U0001f600"),
    *("\u201cyes\u201d", "\u2018no\u2019", "y\u0301es", "\u2014", "...", "?", "!", ".", "\\", "'"),
)
FRAGMENT = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(PHRASES),
    st.sampled_from((*JSON, *TAGS, *ODD)),
    st.text(max_size=6),
)
TEXT = st.builds(
    lambda joints, parts: "".join(a + b for a, b in zip(parts, joints, strict=False)),
    st.lists(
        st.sampled_from((" ", " ", " ", "", "\n", ". ", ", ", "\n\n")), min_size=24, max_size=24
    ),
    st.lists(FRAGMENT, max_size=24),
)


def read(text: str, **options: bool) -> Parsed:
    return parse_answer(text, YES_NO, **options)


def squashed(text: str) -> str:
    """Letters and digits alone, so that no spelling of a word is overlooked."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in unicodedata.normalize("NFKC", text) if char.isalnum())


def without_tags(text: str) -> str:
    return re.sub(r"[<>\[\]|◁▷]", "", unicodedata.normalize("NFKC", text))


@given(TEXT, st.booleans(), st.booleans())
def test_any_text_gives_an_answer_or_a_known_reason(text: str, cut: bool, inside: bool) -> None:
    parsed = read(text, truncated=cut, in_reasoning=inside)
    if parsed.answer is None:
        assert parsed.reason in {"abstained": ABSTAINED, "unparseable": UNPARSEABLE}[parsed.outcome]
    else:
        assert (parsed.outcome, parsed.reason) == ("answered", None)
        forms = {"yes": YES_FORMS, "no": NO_FORMS}[parsed.answer]
        assert any(form in squashed(text) for form in forms)
    assert read(f" \n{text}\n ", truncated=cut, in_reasoning=inside) == parsed


@given(TEXT, st.sampled_from(["yes", "no"]))
def test_an_answer_that_is_taken_back_is_none(text: str, answer: str) -> None:
    """Whatever came before, the other answer behind it leaves no first answer standing."""
    other = {"yes": "No", "no": "Yes"}[answer]
    for ending in (f"\n{other}.", f"\nThe answer is {other}.", f"\nFinal answer: {other}"):
        assert read(text + ending).answer != answer


@given(TEXT, TEXT)
def test_reasoning_decides_nothing(thought: str, text: str) -> None:
    thought, text = without_tags(thought), without_tags(text)
    assert read(f"<think>{thought}</think>{text}") == read(text)
    assert read(f"{thought}</think>{text}", in_reasoning=True) == read(text)
    assert read(f"{text}<think>{thought}").reason == "truncated reasoning"


@given(TEXT)
def test_two_answers_offered_are_no_answer(text: str) -> None:
    """A choice that a text only offers gives no answer that the rest does not give."""
    text = re.sub(r"(?i)y|n|t|f", "", unicodedata.normalize("NFKC", text))
    for offer in ("Yes or no?", "yes/no", 'Say {"answer": "yes"} or {"answer": "no"}.'):
        assert read(f"{offer}\n{text}").answer is None
        assert read(f"{text}\n{offer}").answer is None


FORM = st.text(min_size=1, max_size=6).filter(str.strip) | st.sampled_from(
    ["A", "B", "likely", "not sure", "+", "-", "**", "1", "agree", "disagree", ".", "(a)", "\u00df"]
)


@st.composite
def answer_sets(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    forms = draw(st.lists(FORM, min_size=2, max_size=6, unique=True))
    cut = draw(st.integers(1, len(forms) - 1))
    return {"one": tuple(forms[:cut]), "other": tuple(forms[cut:])}


@given(st.data())
def test_any_set_of_answers(data: st.DataObject) -> None:
    answers = data.draw(answer_sets())
    forms = [form for texts in answers.values() for form in texts]
    words = st.sampled_from([*forms, *(form.upper() for form in forms)]) | FRAGMENT
    text = " ".join(data.draw(st.lists(words, max_size=8)))
    try:
        found = parse_answer(text, answers).answer
    except ArgumentError:
        with pytest.raises(ArgumentError):
            parse_answer("", answers)
        return
    if found is not None:

        def bare(word: str) -> str:
            word = unicodedata.normalize("NFKC", word).casefold()
            return "".join(
                c
                for c in word
                if not c.isspace() and c not in "*_`~" and unicodedata.category(c) != "Cf"
            )

        assert any(bare(form) and bare(form) in bare(text) for form in answers[found])
