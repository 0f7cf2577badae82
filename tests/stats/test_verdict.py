"""The verdict on models whose behaviour is known."""

from collections import Counter

import polars as pl
import pytest

from misfired.stats import evidence, verdict
from misfired.stats.outcomes import build_outcomes
from stats.answerers import ANSWERERS, answers_of

#: Reads, leans, misfires.
TRUTH = {
    "always_yes": (False, "yes", False),
    "always_no": (False, "no", False),
    "mention": (False, None, False),
    "random": (False, None, False),
    "reader_plus": (True, "yes", False),
    "reader_minus": (True, "no", False),
    "misfire": (True, None, True),
}


def _right(answerer: str, seed: int) -> bool:
    """A misfire that cannot be judged counts as none that is called one."""
    found = verdict(answers_of(answerer, seed))
    return (found.reads, found.leans, bool(found.misfires)) == TRUTH[answerer]


@pytest.mark.parametrize("answerer", ANSWERERS)
def test_known_models_are_told_apart(answerer: str) -> None:
    assert Counter(_right(answerer, seed) for seed in range(20, 25))[True] >= 4


@pytest.mark.ci
@pytest.mark.parametrize("answerer", ANSWERERS)
def test_in_95_of_100_seeds(answerer: str) -> None:
    assert sum(_right(answerer, seed) for seed in range(100)) >= 95


def test_a_constant_answer_says_so() -> None:
    found = verdict(answers_of("always_no", 1))
    assert (found.constant, found.leans, found.reads) == ("no", "no", False)
    assert (found.mar.value, found.support.n_pairs) == (None, 0)


def test_pairs_that_expect_yes_alone_cannot_show_reading() -> None:
    found = verdict(answers_of("always_yes", 0, twins=False))
    assert (found.reads, found.reads_reason, found.leans) == (None, "no_expected_no", None)
    assert (found.misfires, found.misfires_reason) == (None, "no_expected_no")
    assert verdict(answers_of("always_no", 0, twins=False)).leans == "no"


def test_texts_tell_by_their_answers() -> None:
    texts = answers_of("misfire", 0).drop("logit_diff")
    found = verdict(texts)
    assert (found.basis, found.reads, found.misfires) == ("answer", True, True)
    assert found.margin_shift.reason == "no_margin"
    constant = verdict(answers_of("always_yes", 0).drop("logit_diff"))
    assert (constant.reads, constant.reading.value, constant.constant) == (False, 50.0, "yes")
    assert constant.reading.low < 49
    assert constant.reading.high > 51


def test_outcomes_alone_have_support_and_no_verdict() -> None:
    found = verdict(build_outcomes(answers_of("misfire", 0)))
    assert (found.reads, found.reads_reason, found.leans) == (None, "no_answers", None)
    assert found.support.n_pairs > 300


def test_gold_no_pairs_without_twins_tell_by_the_auc() -> None:
    answers = answers_of("misfire", 3)
    found = verdict(answers.drop("twin_of"))
    assert (found.reading.measure, found.reads) == ("auc_k", True)
    assert answers["twin_of"].dtype == pl.String


def test_other_answers_than_yes_and_no_have_no_verdict() -> None:
    letters = answers_of("misfire", 0).with_columns(
        pl.col("expected", "answer").replace({"yes": "A", "no": "B"})
    )
    found = verdict(letters)
    assert (found.reads, found.reads_reason, found.leans) == (None, "no_yes_or_no", None)
    assert evidence(letters).is_empty()


def test_a_run_without_answers_has_no_verdict() -> None:
    failed = answers_of("misfire", 0, n_scenarios=3).with_columns(
        answer=pl.lit(None, pl.String), outcome=pl.lit("error"), logit_diff=pl.lit(None, pl.Float64)
    )
    found = verdict(failed)
    assert (found.reads, found.reads_reason, found.leans_reason) == (None, "no_answer", "no_answer")
    assert found.support.n_pairs == 0
