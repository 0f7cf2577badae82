"""`--explain` shows the answer of the run, whatever the protocol, priming and template."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers import make_suite
from misfired import score
from misfired.errors import ArgumentError
from misfired.prompts.primings import Priming
from misfired.report.explain import explanation_lines
from misfired.scoring.answers import read_answer
from misfired.scoring.llama.explain import explain
from misfired.scoring.protocol import LOGIT, Protocol

pytestmark = pytest.mark.model

UNCONDITIONAL = replace(
    LOGIT, name="calibrated", reading="whole_form", normalisation="unconditional"
)
THREE = LOGIT.with_answers({"yes": ("Yes",), "no": ("No",), "unsure": ("Unsure",)})
SYSTEM = Priming("fair", text="Be fair to everybody.", role="system")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"protocol": UNCONDITIONAL},
        {"protocol": THREE},
        {"priming": ["cue"]},
        {"priming": [SYSTEM]},
        {"protocol": UNCONDITIONAL, "priming": [SYSTEM], "n_shots": 1},
    ],
    ids=["plain", "unconditional", "three", "priming", "system", "all"],
)
def test_the_answers_are_those_of_the_run(options, small_model: Path) -> None:
    pairs = make_suite(8)
    shown = explain(small_model, pairs, n_pairs=2, template="plain", **options)
    answers = score(small_model, pairs, template="plain", **options).answers
    assert len(shown) == len(answers) // len(answers["id"].unique()) * 2
    for prompt, row in zip(shown, answers.iter_rows(named=True), strict=False):
        assert prompt["name"] == f"{row['id']} ({row['priming']}, {row['condition']})"
        assert prompt["expected"] == row["expected"]
        for name, value in prompt["answer"].items():
            expected = pytest.approx(row[name], abs=1e-5) if isinstance(value, float) else row[name]
            assert value == expected, name
        assert len(prompt["rendered"]) > 20
    said = "\n".join(explanation_lines(shown))
    assert said.count("answer forms") == len(shown)
    assert all(f"answer {prompt['answer']['answer']} (expected" in said for prompt in shown)
    assert ("margin" if options.get("protocol") is THREE else "logit_diff") in said


def test_a_system_message_is_shown(small_model: Path) -> None:
    shown = explain(small_model, make_suite(4), template="plain", priming=[SYSTEM])
    assert [SYSTEM.text in prompt["rendered"] for prompt in shown] == [
        "(fair," in prompt["name"] for prompt in shown
    ]


def test_the_scores_of_an_unconditional_protocol_differ_from_those_of_a_sum(
    small_model: Path,
) -> None:
    """Else the comparison above would show nothing."""
    plain = replace(UNCONDITIONAL, normalisation="sum")
    leads = [
        explain(small_model, make_suite(4), template="plain", protocol=each)[0]["answer"]
        for each in (plain, UNCONDITIONAL)
    ]
    assert abs(leads[0]["logit_diff"] - leads[1]["logit_diff"]) > 1e-3


@pytest.mark.parametrize("protocol", [LOGIT, THREE], ids=["two", "three"])
def test_a_row_without_numbers_is_printed(protocol: Protocol, small_model: Path) -> None:
    (first, *_) = explain(small_model, make_suite(4), template="plain", protocol=protocol)
    names = list(protocol.answers)
    broken = read_answer(dict.fromkeys(names, np.array([math.nan])), "yes")
    broken |= {"top_token": None, "top_logp": None}
    forms = {answer: [(1, answer, math.nan)] for answer in names}
    *_, last, _ = explanation_lines([first | {"answer": broken, "forms": forms}])
    assert last.startswith("answer None (expected yes: error)")
    assert "non-finite logits" in last


def test_a_prompt_without_text_is_printed(small_model: Path) -> None:
    pairs = make_suite(4).with_columns(cue=pl.lit(None, pl.String))
    shown = explain(small_model, pairs, template="plain", priming=["cue"])
    without = [prompt for prompt in shown if "tokens" not in prompt]
    assert without
    assert {name for prompt in without for name in prompt} == {"name", "expected", "answer"}
    text = "\n".join(explanation_lines(shown))
    assert "pair_0 (cue, stereotyped): " in text
    assert "the suite has no text for this priming" in text


def test_a_protocol_of_texts_is_refused(small_model: Path) -> None:
    with pytest.raises(ArgumentError, match=r"protocol must score answer forms .*got 'generate'"):
        explain(small_model, make_suite(4), protocol="generate")


def test_a_form_of_several_tokens_is_read_by_its_first(small_model: Path) -> None:
    split = LOGIT.with_answers({"yes": ("Yes",), "no": ("No", " Nevertheless")})
    (first, *_) = explain(small_model, make_suite(4), template="plain", protocol=split)
    ((form, token),) = first["partial_forms"].items()
    assert form == " Nevertheless"
    assert form.startswith(token)
    assert form != token
    manifest = score(small_model, make_suite(4), template="plain", protocol=split).manifest
    assert manifest["answer_tokens"]["partial_forms"] == [form]
