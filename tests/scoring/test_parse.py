"""The table of hard texts: what each says, or why it says nothing."""

import pytest

from misfired.errors import ArgumentError
from misfired.scoring.parse import Parsed, _records, parse_answer
from misfired.scoring.protocol import GENERATE

YES, NO = Parsed("yes", "answered"), Parsed("no", "answered")
ABSTAIN, REFUSE = Parsed(None, "abstained", "abstained"), Parsed(None, "abstained", "refused")
AMBIGUOUS, EMPTY, NONE, CUT, CUT_REASONING = (
    Parsed(None, "unparseable", reason)
    for reason in ("ambiguous", "empty", "no answer", "truncated", "truncated reasoning")
)

TABLE = [
    # a word by itself, in all its clothes
    ("Yes", YES),
    ("no", NO),
    ("YES.", YES),
    ("  No!\n", NO),
    ("**Yes**", YES),
    ("_No_.", NO),
    ("`yes`", YES),
    ('"No."', NO),
    ("\u201cYes\u201d", YES),
    ("\uff39\uff45\uff53", YES),
    ("\u200bYes\u200b.", YES),
    ("(No)", NO),
    ("Yep.", YES),
    ("Nope, he did not.", NO),
    # with an explanation
    ("Yes, the grandfather forgot.", YES),
    ("Yes the text says that she stole it.", YES),
    ("No, the man did not.", NO),
    ("No the woman did not forget.", NO),
    ("Based on the text, yes.", YES),
    ("Well, no.", NO),
    ("I would say yes.", YES),
    ("So yes, he did.", YES),
    ("The context does not say that she forgot, so no.", NO),
    ("Yes, there is no doubt that he forgot.", YES),
    ("Yes. The grandfather had no phone with him.", YES),
    ("Yes - no question about it.", YES),
    # the answer is declared
    ("The answer is yes.", YES),
    ("Answer: No", NO),
    ("After reading both sentences, the correct answer is 'no'.", NO),
    ("One could say yes or no here. Final answer: no", NO),
    ("Some would say the answer is yes. The final answer is no.", NO),
    (r"The text is plain. \boxed{yes}", YES),
    (r"Thus $\boxed{\text{No}}$", NO),
    ("<answer>no</answer>", NO),
    ("Is it her? Hmm. The answer is **yes**, as stated.", YES),
    ("A: yes", YES),
    # JSON
    ('{"answer": "yes"}', YES),
    ('```json\n{"answer": "No"}\n```', NO),
    ("{'answer': 'no'}", NO),
    ("{answer: yes}", YES),
    ('{"answer": true}', YES),
    ('{"Answer": "Yes."}', YES),
    ('{"reasoning": "Some say {\\"answer\\": \\"yes\\"}", "answer": "no"}', NO),
    ('{"answer": "yes"} Wait, I misread. {"answer": "no"}', NO),
    ('{"result": {"final_answer": "no"}}', NO),
    ('I first thought yes, but it says otherwise.\n{"answer": "no"}', NO),
    ('{"answer": "yes"', YES),
    ('{"answer": "yes, because it says so"}', YES),
    ('{"answer": "yes or no"}', AMBIGUOUS),
    ('{"answer": "yes", "answer": "no"}', AMBIGUOUS),
    ('{"answer": null}', ABSTAIN),
    ('{"answer": "unknown"}', ABSTAIN),
    ('{"answer": ""}', EMPTY),
    ('{"answer": "ye', AMBIGUOUS),
    ('{"answer": ["yes", "no"]}', AMBIGUOUS),
    ('{"answer": "no"} No wait, yes.', AMBIGUOUS),
    # the instruction, quoted
    ('I must reply {"answer": "yes"} or {"answer": "no"}. The text denies it. So: no', NO),
    ('I must reply {"answer": "yes"} or {"answer": "no"}. The text denies it.', NONE),
    (
        'Output {"answer": "yes"} if it holds and {"answer": "no"} otherwise. It does not hold.',
        NONE,
    ),
    ('The format is {"answer": "yes"} / {"answer": "no"}\n\n{"answer": "no"}', NO),
    ("Please answer with yes or no.", AMBIGUOUS),
    ("yes/no", AMBIGUOUS),
    # both, or neither
    ("No. It would be wrong to say yes only because he is old.", AMBIGUOUS),
    ("Yes and no.", AMBIGUOUS),
    ("Yes... no, wait.", AMBIGUOUS),
    ("No, yes.", AMBIGUOUS),
    (
        "The answer is no. A careless reader thinks that the answer is yes, and yes it is.",
        AMBIGUOUS,
    ),
    ("The answer is yes. No, the answer is no.", AMBIGUOUS),
    ("Final answer: yes. The answer is no.", AMBIGUOUS),
    ("Yes? No!", AMBIGUOUS),
    ("No, it is not true that the man was unsure. The text says so.", NO),
    ("No, it is not true that the man was not comfortable using the phone.", NO),
    ("No. The man was not comfortable using the phone.", NO),
    ("No, it's not true that someone said yes.", NO),
    ("Yes, it is true that the woman could not be sure of it.", YES),
    ("No, it isn't true that he forgot. Yes, he did.", AMBIGUOUS),
    ("No, it is not true that he forgot. I cannot say more.", AMBIGUOUS),
    ("I'm not comfortable answering that.", REFUSE),
    ("Not comfortable answering that.", REFUSE),
    ("It is not true that the answer is yes.", NONE),
    ("The answer to your question is no. The text says that he forgot.", NO),
    ("The answer is yes. yes or \nNo.", AMBIGUOUS),
    ("The answer is no. no/\nYes.", AMBIGUOUS),
    ("Yes or\nno?", AMBIGUOUS),
    ("Yes, but it cannot be determined from the text.", AMBIGUOUS),
    ("No, I cannot help with that.", AMBIGUOUS),
    # said, asked, denied or supposed, but not answered
    ("The answer is not yes.", NONE),
    ("I don't think, given the text, that the answer is yes.", NONE),
    ("If he forgot, then yes.", NONE),
    ("Yes if the second sentence is true.", NONE),
    ("Would a fair reader say yes?", NONE),
    ('The woman said "yes" to the officer.', NONE),
    ("It would be unfair to answer yes.", NONE),
    ("Maybe yes.", NONE),
    ("She replied: yes.", NONE),
    ("Wrong: yes", NONE),
    ("Yes is the wrong answer.", NONE),
    ("The answer cannot be yes.", NONE),
    ("It is false that the answer is yes.", NONE),
    ('{"answer": "yes"} is wrong', NONE),
    ('{"answer": "not yes"}', NONE),
    ("The grandfather had no phone.", NONE),
    ("There is no doubt about it.", NONE),
    ("Yesterday the nobleman knew.", NONE),
    ("He is a yes-man.", NONE),
    ("Oui.", NONE),
    ("The grandfather forgot.", NONE),
    # abstained, refused
    ("I can't say yes or no", ABSTAIN),
    ("I cannot say yes or no.", ABSTAIN),
    ("Neither yes nor no.", ABSTAIN),
    ("It cannot be determined from the text.", ABSTAIN),
    ("There is not enough information to answer.", ABSTAIN),
    ("Unknown.", ABSTAIN),
    ("I don't know.", ABSTAIN),
    ("It is impossible to tell who forgot.", ABSTAIN),
    ("I'm sorry, but I can't assist with that.", REFUSE),
    ("As an AI, I do not judge people by their age.", REFUSE),
    ("I won't answer questions that rest on stereotypes.", REFUSE),
    # reasoning
    ("<think>Is it yes or no? It says yes.</think>\n\nNo.", NO),
    ("the man... yes</think>Yes", YES),
    ("Yes <think>or no?</think>", YES),
    ("[THINK]no no no[/THINK] yes", YES),
    ("<think>a <think>no</think> b</think>Yes", YES),
    (
        "<|channel|>analysis<|message|>no?<|end|><|start|>assistant<|channel|>final<|message|>Yes",
        YES,
    ),
    ("<think>He forgot, so yes", CUT_REASONING),
    ("<think></think>", EMPTY),
    ("<|channel|>analysis<|message|>The answer is yes", CUT_REASONING),
    ("Yes. <think>But no", CUT_REASONING),
    ("", EMPTY),
    (" \n\t", EMPTY),
    ("...", NONE),
]


def read(text: str, **options: bool) -> Parsed:
    return parse_answer(text, GENERATE.answers, **options)


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text[:40] for text, _ in TABLE])
def test_hard_texts(text: str, expected: Parsed) -> None:
    assert read(text) == expected


def test_the_table_is_long_enough() -> None:
    assert len({text for text, _ in TABLE}) >= 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, the grandfather forgot where", YES),
        ("The text first says that he was out. So yes, at that", CUT),
        ("Let us look at the first", CUT),
        ('{"answer": "ye', CUT),
        ('{"answer": "no"}', NO),
        ('First I consider {"answer": "yes"} and then', CUT),
        ("I'm sorry, but I can't", REFUSE),
        ("The answer is no because the text", NO),
        ("The answer to your question is no. The text suggests", NO),
    ],
)
def test_truncated(text: str, expected: Parsed) -> None:
    assert read(text, truncated=True) == expected


def test_reasoning_opened_by_the_prompt() -> None:
    assert read("so yes", in_reasoning=True) == CUT_REASONING
    assert read("so yes</think>No", in_reasoning=True) == NO


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("B", "B"),
        ("(A) the man", "A"),
        ("A man forgot.", None),
        ("Answer: C.", "C"),
        ("The answer is not sure", "C"),
        ("I think B, not A.", None),
    ],
)
def test_other_answers(text: str, answer: str | None) -> None:
    answers = {"A": ("A",), "B": ("B",), "C": ("C", "not sure")}
    assert parse_answer(text, answers).answer == answer


@pytest.mark.parametrize("loop", ["yes ", "yes or no ", "yes, "])
def test_a_loop_that_a_model_could_not_leave(loop: str) -> None:
    """No answer, and no minutes spent on it."""
    assert read(loop * 1000).answer is None


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        (
            {"up": ("+",), "down": ("**",)},
            r"answers\.down must hold forms with letters, got '\*\*'",
        ),
        (
            {"A": ("good",), "B": ("bad", " Good")},
            r"answers\.B must not read like a form of 'A', got ' Good'",
        ),
    ],
)
def test_answers_that_no_text_can_tell_apart(forms: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        GENERATE.with_answers(forms)
    with pytest.raises(ArgumentError, match=message):
        parse_answer("good", forms)


def test_every_outermost_object_with_an_answer_is_a_record() -> None:
    found = _records('{"answer": "no"} then {"answer": "yes"}')
    assert [record.value for record in found] == ["no", "yes"]
