import numpy as np
import polars as pl
import pytest

from misfired.errors import ArgumentError, DataError
from misfired.stats import (
    adjust,
    bootstrap,
    controlled_primings,
    permutation_test,
    priming_contrasts,
)
from misfired.stats.priming import CONTRASTS_SCHEMA
from stats.tables import pick

N_SCENARIOS, N_PAIRS = 120, 8


def design(rates, seed=0):
    """Outcomes of a design: for each priming the error rates of stereotyped and contrast prompts."""
    rng = np.random.default_rng(seed)
    n = N_SCENARIOS * N_PAIRS
    scenario = [f"q{i // N_PAIRS:03}" for i in range(n)]
    frames = [
        pl.DataFrame(
            {
                "id": [f"p{i:04}" for i in range(n)],
                "category": "age",
                "scenario": scenario,
                "priming": name,
                "stereotyped": rng.random(n) >= stereotyped,
                "contrast": rng.random(n) >= contrast,
            }
        )
        for name, (stereotyped, contrast) in rates.items()
    ]
    return pl.concat(frames)


RATES = {
    "none": (0.1, 0.1),
    "neutral_both": (0.15, 0.15),
    "cue_both": (0.40, 0.20),
    "placebo": (0.17, 0.17),
}
"""Planted: any sentence costs 5 points, the cue 25 and 5 on top, so that the interaction is 20."""


@pytest.fixture(scope="module")
def outcomes():
    return design(RATES)


@pytest.fixture(scope="module")
def found(outcomes):
    return priming_contrasts(outcomes)


def columns(outcomes, *names):
    parts = [outcomes.filter(priming=name).sort("id") for name in names]
    flags = [np.stack([part[side].to_numpy() for part in parts]) for side in CONDITIONS]
    return *flags, parts[0]["scenario"]


CONDITIONS = ("stereotyped", "contrast")


def test_the_planted_design_is_recovered(found):
    cue = {"priming": "cue_both - neutral_both"}
    for measure, planted in (("accuracy_stereotyped", -25), ("accuracy_contrast", -5)):
        row = pick(found, contrast="cue", measure=measure, **cue)
        assert row["low"] < planted < row["high"] < 0
    row = pick(found, contrast="interaction", **cue)
    assert 0 < row["low"] < 20 < row["high"]
    assert row["p_adjusted"] < 0.001
    side = pick(found, contrast="side", priming="cue_both")
    assert side["low"] < 20 < side["high"]
    placebo = pick(found, contrast="interaction", priming="placebo - neutral_both")
    assert placebo["low"] < 0 < placebo["high"]
    assert placebo["p_adjusted"] > 0.05


def test_rows_are_the_bootstrap_and_the_test_of_the_same_pairs(outcomes, found):
    stereotyped, contrast, scenario = columns(outcomes, "cue_both", "neutral_both")
    expected = bootstrap(stereotyped, contrast, scenario=scenario, weights=[1, -1])
    for kind, measure in (
        ("cue", "mar"),
        ("cue", "accuracy_contrast"),
        ("interaction", "discrepancy"),
    ):
        row = pick(found, contrast=kind, priming="cue_both - neutral_both", measure=measure)
        assert (row["value"], row["low"], row["high"]) == (
            expected[measure].value,
            expected[measure].low,
            expected[measure].high,
        )
        tested = permutation_test(
            stereotyped, contrast, scenario=scenario, measure=measure, n_resamples=10_000
        )
        assert row["p_value"] == tested.p_value
    side = pick(found, contrast="side", priming="neutral_both")
    s, c, scenario = columns(outcomes, "neutral_both")
    assert side["value"] == bootstrap(s, c, scenario=scenario)["discrepancy"].value
    assert side["p_value"] == permutation_test(s[0], c[0], scenario=scenario).p_value


def test_the_interaction_is_the_difference_of_the_differences(found):
    at = {
        (row["contrast"], row["priming"], row["measure"]): row["value"] for row in found.to_dicts()
    }
    name = "cue_both - neutral_both"
    sides = at["side", "cue_both", "discrepancy"] - at["side", "neutral_both", "discrepancy"]
    cues = at["cue", name, "accuracy_contrast"] - at["cue", name, "accuracy_stereotyped"]
    assert at["interaction", name, "discrepancy"] == pytest.approx(sides)
    assert at["interaction", name, "discrepancy"] == pytest.approx(cues)


def test_all_p_values_are_one_family(found):
    assert found.schema == CONTRASTS_SCHEMA
    assert len(found) == 3 + 2 * 4
    np.testing.assert_allclose(found["p_adjusted"], adjust(found["p_value"].to_list()))


def test_control_and_primings_can_be_named(outcomes):
    found = priming_contrasts(outcomes, control="none", primings=["cue_both"], n_resamples=100)
    assert found["priming"].unique(maintain_order=True).to_list() == [
        "none",
        "cue_both",
        "cue_both - none",
    ]


def test_a_cue_on_one_side_is_not_set_against_a_control_on_both():
    both = ("none", "cue_both", "placebo")
    rows = [(name, side) for name in both for side in CONDITIONS] + [("cue", "stereotyped")]
    answers = pl.DataFrame(rows, schema=["priming", "condition"], orient="row")
    assert controlled_primings(answers) == ("placebo", ("cue_both",))
    assert controlled_primings(answers.filter(pl.col("priming") != "placebo")) is None


def test_unscored_pairs_are_left_out_of_what_they_touch(outcomes):
    frame = outcomes.with_columns(
        contrast=pl.when((pl.col("id") == "p0000") & (pl.col("priming") == "cue_both"))
        .then(None)
        .otherwise("contrast")
    )
    found = priming_contrasts(frame, n_resamples=100)
    sizes = {
        name: tuple(pick(found, priming=name)[key] for key in ("n_pairs", "n_unscored"))
        for name in ("neutral_both", "cue_both", "cue_both - neutral_both")
    }
    n = N_SCENARIOS * N_PAIRS
    assert sizes == {
        "neutral_both": (n, 0),
        "cue_both": (n - 1, 1),
        "cue_both - neutral_both": (n - 1, 1),
    }


def test_equal_primings_cannot_be_tested(outcomes):
    neutral = outcomes.filter(priming="neutral_both")
    same = pl.concat([neutral, neutral.with_columns(priming=pl.lit("cue_both"))])
    row = pick(priming_contrasts(same, n_resamples=100), contrast="interaction")
    assert (row["value"], row["low"], row["p_value"]) == (0.0, None, None)
    assert row["reason"] == "constant"


def test_what_is_wrong_is_named(outcomes):
    with pytest.raises(
        ArgumentError, match=r"priming must be one of none, cue_both, .*, got 'absent'"
    ):
        priming_contrasts(outcomes, control="absent")
    with pytest.raises(DataError, match="nothing to compare with the control 'neutral_both'"):
        priming_contrasts(outcomes.filter(priming="neutral_both"))
    with pytest.raises(DataError, match="no control among the primings cue_both"):
        priming_contrasts(outcomes.filter(priming="cue_both"))
