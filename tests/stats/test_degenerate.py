"""Degenerate data: a null with a named reason and a warning, never a zero and never a crash."""

import numpy as np
import polars as pl
import pytest

from misfired.stats import (
    agreement,
    bootstrap,
    by_expected,
    clustering,
    compare,
    compare_variants,
    leaderboard,
    mar_bounds,
    mcnemar,
    permutation_test,
    priming_contrasts,
    signal_detection,
    study_tests,
    summarize,
)
from misfired.stats.options import INTERVAL_METHODS

T, F, N = True, False, None

DATA = {
    "no_discordant_pair": ([T, T, F, F], [T, T, F, F], ["a", "a", "b", "b"]),
    "no_contrast_correct": ([T, F, T, F], [F, F, F, F], ["a", "a", "b", "b"]),
    "one_scenario": ([T, F, T, F], [T, T, T, F], ["a", "a", "a", "a"]),
    "one_pair": ([F], [T], ["a"]),
    "constant": ([F, F, F, F], [T, T, T, T], ["a", "a", "b", "b"]),
    "all_unscored": ([N, N, N, N], [N, T, N, N], ["a", "a", "b", "b"]),
    "empty": ([], [], []),
}
METHODS = (None, *INTERVAL_METHODS)
EXACT = {None, "logit", "wilson", "clopper_pearson", "mover"}
MAR = {
    "no_discordant_pair": (0.0, "constant"),
    "no_contrast_correct": (None, "no_contrast_correct"),
    "one_scenario": (pytest.approx(100 / 3), "one_unit"),
    "one_pair": (100.0, "one_unit"),
    "constant": (100.0, "constant"),
    "all_unscored": (None, "no_scored_pair"),
    "empty": (None, "no_scored_pair"),
}
"""Value and reason of MAR; a rate that does not vary has an exact interval by the methods for rates."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DATA)
def test_bootstrap(name, method):
    stereotyped, contrast, scenario = DATA[name]
    estimate = bootstrap(stereotyped, contrast, scenario=scenario, method=method)["mar"]
    value, reason = MAR[name]
    assert estimate.value == value
    exact = reason == "constant" and method in EXACT
    if exact:
        assert (estimate.reason, estimate.warnings) == (None, ("few_units",))
        assert estimate.low < estimate.high
    else:
        assert (estimate.low, estimate.high, estimate.reason) == (None, None, reason)
        assert (estimate.warnings[0], estimate.warnings[-1]) == ("few_units", reason)


def as_frame(name, **columns):
    stereotyped, contrast, scenario = DATA[name]
    flags = {"stereotyped": stereotyped, "contrast": contrast}
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(len(scenario))],
            "category": ["age"] * len(scenario),
            "scenario": scenario,
            "priming": ["none"] * len(scenario),
            **flags,
            **{key: [value] * len(scenario) for key, value in columns.items()},
        },
        schema_overrides=dict.fromkeys(flags, pl.Boolean),
    )


FRAMES = [name for name in DATA if name != "empty"]


@pytest.mark.parametrize("name", FRAMES)
def test_every_row_of_every_frame_has_its_interval_or_a_reason(name):
    frame = as_frame(name)
    cue = frame.with_columns(priming=pl.lit("cue"))
    both = pl.concat([frame, cue])
    found = [
        summarize(both).filter(~pl.col("measure").is_in(list("nabcd"))),
        leaderboard({"a": frame, "b": frame}),
        compare_variants(frame, frame),
        priming_contrasts(both, control="none", n_resamples=100),
    ]
    if name != "all_unscored":
        found.append(compare(both, both))
    for table in found:
        assert len(table)
        bare = table.filter(pl.col("low").is_null() & pl.col("reason").is_null())
        assert not len(bare), bare
        zero_width = table.filter((pl.col("low") == 0) & (pl.col("high") == 0))
        assert not len(zero_width), zero_width


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_discordant_pair", "no_discordant_pair"),
        ("all_unscored", "no_value"),
        ("empty", "no_value"),
    ],
)
def test_permutation_test(name, reason):
    stereotyped, contrast, scenario = DATA[name]
    found = permutation_test(stereotyped, contrast, scenario=scenario)
    assert (found.p_value, found.log_p_value, found.reason) == (None, None, reason)
    assert found.warnings == ("few_units", reason)


def test_mcnemar():
    found = mcnemar(0, 0)
    assert (found.p_value, found.reason) == (None, "no_discordant_pair")
    assert found.warnings == ("few_units", "no_discordant_pair")


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("options", ["default", "paper"])
def test_study_tests(name, options):
    found = study_tests(as_frame(name, model="m"), options=options)
    assert (found["p_value"].is_null() == found["reason"].is_not_null()).all()
    # The paper counts a test without discordant pairs with p = 1.
    nothing = {"all_unscored"} | ({"no_discordant_pair"} if options == "default" else set())
    assert found["p_value"].is_null().all() == (name in nothing)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_discordant_pair", "one_unit"),  # of one scenario no contrast answer is right
        ("no_contrast_correct", "no_contrast_correct"),
        ("one_scenario", "one_unit"),
        ("one_pair", "one_unit"),
        ("constant", "constant"),
        ("all_unscored", "no_contrast_correct"),
        ("empty", "no_contrast_correct"),
    ],
)
def test_clustering(name, reason):
    found = clustering(*DATA[name])
    assert (found.correlation, found.n_effective, found.reason) == (None, None, reason)
    assert found.warnings == ("few_units", reason)


@pytest.mark.parametrize("name", ["no_contrast_correct", "empty"])
def test_mar_bounds(name):
    found = mar_bounds(*DATA[name][:2])
    assert (found.best, found.value, found.worst) == (None, None, None)
    assert (found.reason, found.warnings) == ("no_contrast_correct", ("no_contrast_correct",))


@pytest.mark.parametrize("method", ["cohen", "fleiss", "krippendorff"])
@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ([["y", "y"], ["y", "y"]], "constant"),
        ([["y", "n"]], "constant"),
        ([[N, N], [N, N]], "no_scored_pair"),
    ],
)
def test_agreement(method, ratings, reason):
    found = agreement(ratings, method=method, n_resamples=50)
    assert (found.low, found.high, found.reason) == (None, None, reason)
    assert found.warnings == ("few_units", reason)


ANSWERS = {
    "one_scenario": (["yes", "yes", "no", "no"], "one_unit"),
    "only_yes_expected": (["yes", "no", "no", "yes"], "no_expected_no"),
    "all_unscored": ([N, N, N, N], "no_scored_pair"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_signal_detection(name):
    said, reason = ANSWERS[name]
    frame = pl.DataFrame(
        {
            "id": ["p", "p", "t", "t"],
            "category": "age",
            "scenario": "q",
            "condition": ["stereotyped", "contrast"] * 2,
            "priming": "none",
            "expected": ["yes", "yes", *(["yes"] * 2 if "only" in name else ["no"] * 2)],
            "answer": said,
            "outcome": ["correct" if x else "abstained" for x in said],
            "reason": N,
        },
        schema_overrides={"answer": pl.String, "reason": pl.String},
    )
    found = signal_detection(frame)
    assert found["low"].is_null().all()
    assert found["reason"].to_list() == [reason] * 7
    halves = by_expected(frame).filter(~pl.col("measure").is_in(list("nabcd")))
    assert (halves["low"].is_not_null() | halves["reason"].is_not_null()).all()


def test_values_that_are_there_stay_finite():
    for name, data in DATA.items():
        for estimate in bootstrap(*data[:2], scenario=data[2]).estimates:
            numbers = [x for x in (estimate.value, estimate.low, estimate.high) if x is not None]
            assert np.isfinite(numbers).all(), (name, estimate)
