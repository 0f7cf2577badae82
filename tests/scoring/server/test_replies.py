"""What a reply says, what it leaves open, and what is none."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from misfired.errors import ArgumentError, ServerError
from misfired.scoring.answers import measured_columns
from misfired.scoring.protocol import COT, GENERATE, JSON, LOGIT, WHOLE
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import read_reply, read_top_tokens
from misfired.scoring.server.request import RequestTemplate
from misfired.stats.outcomes import OUTCOMES

YES, NO = LOGIT.answers["yes"], LOGIT.answers["no"]
LISTED = [{"token": "Yes", "logprob": -0.5}, {"token": "No", "logprob": -1.5}]


def chat(message: dict, finish: str = "stop", **more) -> dict:
    return {
        "choices": [{"message": message, "finish_reason": finish, **more}],
        **more.pop("top", {}),
    }


def first_token(listed, text="Yes") -> dict:
    return chat({"content": text}, "length", logprobs={"content": [{"top_logprobs": listed}]})


@pytest.mark.parametrize(
    ("content", "outcome", "reason"),
    [
        (chat({"content": "Yes."}), "correct", None),
        (chat({"content": "No."}), "wrong", None),
        (chat({"content": [{"type": "text", "text": "Yes."}]}), "correct", None),
        (chat({"content": "I'm sorry, I must decline."}), "abstained", "refused"),
        (chat({"content": None, "refusal": "I must decline to say yes."}), "abstained", "refused"),
        (chat({"content": "Yes"}, "content_filter"), "abstained", "blocked"),
        (chat({"content": ""}, "length"), "unparseable", "empty"),
        (chat({"content": "The text first says"}, "length"), "unparseable", "truncated"),
        (
            chat({"content": "", "reasoning_content": "So, yes or"}, "length"),
            "unparseable",
            "truncated reasoning",
        ),
        (chat({"content": "Yes", "reasoning": "No? No."}), "correct", None),
        (chat({"content": "<think>No? No.</think>Yes"}), "correct", None),
        ({"choices": [{"text": " Yes.", "finish_reason": "stop"}]}, "correct", None),
    ],
)
def test_texts(content, outcome, reason) -> None:
    row = read_reply(content, COT, "yes")
    assert (row["outcome"], row["reason"]) == (outcome, reason)
    assert (row["answer"] is None) == (outcome not in {"correct", "wrong"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no choices.0"),
        ({}, "no choices.0"),
        ({"choices": []}, "no choices.0"),
        ({"choices": ["yes"]}, "choices.0 is no object"),
        ({"choices": None}, "no choices.0"),
        ({"error": {"message": "overloaded"}}, "an error under status 200: .*overloaded"),
        (chat({"content": {"text": "yes"}}), "the message's content is no text"),
        (chat({"content": ""}), "empty text"),
        (chat({"content": None}), "empty text"),
    ],
)
def test_what_is_no_answer_may_be_asked_again(content, said) -> None:
    with pytest.raises(Fault, match=said):
        read_reply(content, GENERATE, "yes")


def test_tokens_and_fingerprint_are_taken_as_they_come() -> None:
    told = {"model": "m-1", "system_fingerprint": "fp", "usage": {"prompt_tokens": 7}}
    row = read_reply({**chat({"content": "Yes"}), **told}, GENERATE, "yes")
    assert (row["fingerprint"], row["n_prompt_tokens"], row["n_generated"]) == ("m-1 fp", 7, None)
    assert read_reply(chat({"content": "Yes"}), GENERATE, "yes")["fingerprint"] is None


def test_reasoning_tokens_are_recorded_where_the_server_tells_them() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 90}
    told = [
        read_reply({**chat({"content": "Yes"}), "usage": usage | more}, GENERATE, "yes")[
            "n_reasoning"
        ]
        for more in (
            {"completion_tokens_details": {"reasoning_tokens": 64}},
            {"completion_tokens_details": {"reasoning_tokens": 0}},
            {"completion_tokens_details": {"reasoning_tokens": -1}},
            {"completion_tokens_details": {"reasoning_tokens": "many"}},
            {"completion_tokens_details": None},
            {},
        )
    ]
    assert told == [64, 0, None, None, None, None]


def test_first_tokens_of_chat_and_of_plain_completions_read_alike() -> None:
    plain = {
        "choices": [{"text": "Yes", "logprobs": {"top_logprobs": [{"Yes": -0.5, "No": -1.5}]}}]
    }
    row = read_reply(first_token(LISTED), LOGIT, "yes")
    assert row == read_reply(plain, LOGIT, "yes")
    assert (row["answer"], row["logit_diff"], row["logp_bound"]) == ("yes", 1.0, -1.5)
    assert row["mass"] == pytest.approx(math.exp(-0.5) + math.exp(-1.5))
    assert row["unseen"] == pytest.approx(1 - row["mass"])


def test_an_answer_that_ends_before_its_first_token_is_empty() -> None:
    content = chat({"content": ""}, logprobs={"content": []})
    assert read_reply(content, LOGIT, "yes")["reason"] == "empty"


def test_log_probabilities_that_are_missing_or_not_the_models_are_refused() -> None:
    with pytest.raises(ServerError, match="gives no log-probabilities"):
        read_reply(chat({"content": "Yes"}, logprobs=None), LOGIT, "yes")
    divided = [{"token": "Yes", "logprob": 0.0}, {"token": "No", "logprob": -9999.0}]
    with pytest.raises(ServerError, match="divides log-probabilities by the temperature"):
        read_reply(first_token(divided), LOGIT, "yes")


@pytest.mark.parametrize(
    "listed",
    [
        None,
        [],
        "Yes",
        [{"token": "Yes"}],
        [{"token": "Yes", "logprob": math.nan}],
        [{"logprob": -1}],
    ],
)
def test_a_list_that_is_none_may_be_asked_again(listed) -> None:
    with pytest.raises(Fault, match=r"no list of tokens|must be a number"):
        read_reply(first_token(listed), LOGIT, "yes")


def test_neither_answer_listed() -> None:
    row = read_top_tokens([("The", -0.1), ("A", -3.0)], LOGIT, "yes")
    assert (row["answer"], row["outcome"]) == (None, "unparseable")
    assert row["reason"] == "no answer stands out among the 2 most probable tokens"
    assert "mass" not in row, "null, not 0"


def test_an_answer_at_the_bound_is_not_certain() -> None:
    assert read_top_tokens([("The", -0.1), ("Yes", -3.0)], LOGIT, "yes")["answer"] is None


def test_more_than_two_answers() -> None:
    protocol = LOGIT.with_answers({"A": ("A",), "B": ("B",), "C": ("C",)})
    row = read_top_tokens([("B", -0.5), ("A", -1.0), ("x", -4.0)], protocol, "B")
    assert (row["answer"], row["margin"], row["logp_C"]) == ("B", 0.5, None)
    row = read_top_tokens([("B", -0.5), ("x", -4.0)], protocol, "B")
    assert (row["answer"], row["margin"]) == ("B", None)


VOCABULARY = [*YES, *NO, "The", "A", "Maybe", "\n", "I", "So"]


@given(
    st.lists(st.floats(-12, 0), min_size=len(VOCABULARY), max_size=len(VOCABULARY), unique=True),
    st.integers(1, len(VOCABULARY)),
)
def test_nothing_is_said_that_the_whole_distribution_denies(logits, n_top) -> None:
    """The server lists `n_top` of a known distribution; every statement must hold of all of it."""
    logp = np.array(logits) - np.logaddexp.reduce(logits)
    whole = dict(zip(VOCABULARY, logp.tolist(), strict=True))
    best = {side: max(whole[form] for form in LOGIT.answers[side]) for side in ("yes", "no")}
    total = {
        side: float(np.logaddexp.reduce([whole[form] for form in LOGIT.answers[side]]))
        for side in ("yes", "no")
    }
    listed = sorted(whole.items(), key=lambda token: -token[1])[:n_top]
    row = read_top_tokens(listed, LOGIT, "yes")
    assert row["unseen"] == pytest.approx(1 - sum(math.exp(v) for _, v in listed), abs=1e-9)
    if row["answer"] is None:
        return
    assert row["answer"] == max(best, key=best.__getitem__)
    for side in ("yes", "no"):
        if row[f"logp_{side}"] is None:
            assert best[side] <= row["logp_bound"]
            continue
        lower, upper = math.exp(row[f"logp_{side}"]), math.exp(row[f"logp_{side}"]) + row["unseen"]
        assert lower - 1e-9 <= math.exp(total[side]) <= upper + 1e-9
    difference = best["yes"] - best["no"]
    if row["logit_diff"] is not None:
        assert row["logit_diff"] == pytest.approx(difference)
    else:
        assert abs(difference) >= max(best.values()) - row["logp_bound"] - 1e-12
    if n_top == len(VOCABULARY):
        assert row["mass"] == pytest.approx(math.exp(total["yes"]) + math.exp(total["no"]))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)

TEXT_REPLY = {
    **chat({"content": "Yes.", "refusal": None, "reasoning": "So yes."}),
    "model": "m",
    "system_fingerprint": "fp",
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


def places(value, path=()):
    """Paths to every node of a document."""
    yield path
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for key, inner in items:
        yield from places(inner, (*path, key))


def altered(document, path, value):
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = altered(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize(
    ("protocol", "reply"), [(GENERATE, TEXT_REPLY), (LOGIT, {**TEXT_REPLY, **first_token(LISTED)})]
)
@given(data=st.data())
def test_whatever_a_server_sends_is_a_row_or_a_fault(protocol, reply, data) -> None:
    path = data.draw(st.sampled_from(list(places(reply))))
    content = altered(reply, path, data.draw(JSON_VALUES))
    try:
        row = read_reply(content, protocol, "yes")
    except (Fault, ServerError):
        return
    columns = measured_columns(protocol, server=True)
    assert row.keys() <= columns.keys()
    assert row["outcome"] in OUTCOMES
    blank = dict.fromkeys(columns)
    assert len(pl.DataFrame([{**blank, **row}], schema=columns)) == 1
    assert json.loads(json.dumps(row)) == row


def test_bodies() -> None:
    body = RequestTemplate(
        "m", GENERATE, seed=3, extra_body={"max_tokens": None, "max_completion_tokens": 9}
    )
    assert body.body("Is it?", "Be brief.") == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": GENERATE.user_message("Is it?")},
        ],
        "temperature": 0,
        "seed": 3,
        "max_completion_tokens": 9,
    }
    plain = RequestTemplate("m", LOGIT, plain=True)
    assert plain.path == "completions"
    assert plain.body("Is it?")["prompt"].endswith("Is it?\n\nAnswer:")
    assert (plain.body("Is it?")["max_tokens"], plain.body("Is it?")["logprobs"]) == (1, 20)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"protocol": WHOLE}, "scores whole forms"),
        ({"protocol": JSON}, "begins the model's answer"),
        (
            {"protocol": LOGIT, "extra_body": {"messages": []}},
            "extra_body must not hold .*got 'messages'",
        ),
        *(
            ({"protocol": LOGIT, "extra_body": body}, f"extra_body must {rule}")
            for body, rule in [
                ({"user": "\ud800"}, "be JSON in UTF-8, got 'utf-8' codec"),
                ({"stop": {"a"}}, "be JSON in UTF-8, got Object of type set"),
                ({"top_p": math.nan}, "be JSON in UTF-8, got Out of range"),
                ({1: 2}, "have texts as names, got 1"),
            ]
        ),
    ],
)
def test_what_cannot_be_asked_of_a_server(arguments, said) -> None:
    with pytest.raises(ArgumentError, match=said):
        RequestTemplate("m", **arguments)
