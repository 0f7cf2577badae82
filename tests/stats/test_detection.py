import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats import by_expected, permutation_test, signal_detection, summarize
from misfired.stats.detection import EXPECTED_SCHEMA
from reference import detection as twin
from reference import resampling
from stats.tables import pick

PASS = {"by_category": False, "stratified": False, "confidence_level": 0.9, "n_threads": None}


def answers(seed=0, n_scenarios=30):
    rng = np.random.default_rng(seed)
    rows = []
    for scenario in range(n_scenarios):
        for pair in range(6):
            for condition in ("stereotyped", "contrast"):
                expected = "yes" if pair % 2 else "no"
                lean = 0.75 if expected == "yes" else 0.2
                lean -= 0.15 * (condition == "stereotyped")
                answer = "yes" if rng.random() < lean else "no"
                rows.append(
                    (f"q{scenario}_p{pair}", f"q{scenario}", condition, "none", expected, answer)
                )
    names = ["id", "scenario", "condition", "priming", "expected", "answer"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_d_prime_and_criterion_agree_with_scipy():
    frame = answers()
    found = signal_detection(frame)
    part = frame.filter(condition="contrast")
    hits, alarms = ((part.filter(expected=e)["answer"] == "yes").sum() for e in ("yes", "no"))
    z = [scipy_stats.norm.ppf((x + 0.5) / 91) for x in (hits, alarms)]
    row = pick(found, condition="contrast", measure="d_prime")
    assert (row["hits"], row["false_alarms"]) == (hits, alarms)
    assert row["value"] == pytest.approx(z[0] - z[1])
    assert row["low"] < row["value"] < row["high"]
    assert pick(found, condition="contrast", measure="criterion")["value"] == pytest.approx(
        -sum(z) / 2
    )
    sides = [
        pick(found, condition=c, measure="d_prime")["value"] for c in ("stereotyped", "contrast")
    ]
    double = pick(found, condition="stereotyped - contrast", measure="d_prime")
    assert double["value"] == pytest.approx(sides[0] - sides[1])


def test_percentile_interval_of_d_prime_agrees_with_a_plain_bootstrap():
    frame = answers().filter(condition="contrast")
    row = pick(signal_detection(frame, method="percentile", n_resamples=20_000), measure="d_prime")
    groups = frame.with_columns(
        kind=pl.when(pl.col("expected") == "yes").then(0).otherwise(2) + (pl.col("answer") == "no")
    )
    counts = np.array([np.bincount(g["kind"], minlength=4) for _, g in groups.group_by("scenario")])
    rng = np.random.default_rng(2)
    sums = counts[rng.integers(0, 30, (20_000, 30))].sum(1)
    z = scipy_stats.norm.ppf((sums[:, [0, 2]] + 0.5) / (sums[:, [0, 2]] + sums[:, [1, 3]] + 1))
    values = z[:, 0] - z[:, 1]
    slack = 4 * np.sqrt(2) * 2.67 * values.std() / np.sqrt(20_000)
    np.testing.assert_allclose(
        [row["low"], row["high"]], np.quantile(values, [0.025, 0.975]), atol=slack
    )


def test_a_suite_that_expects_only_yes_has_no_d_prime():
    frame = answers().filter(expected="yes")
    row = pick(signal_detection(frame), measure="d_prime")
    assert (row["value"], row["reason"]) == (None, "no_expected_no")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("expected"), "column 'expected' is missing"),
        (lambda f: f.head(0), "answers must have at least 1 row, got 0"),
        (lambda f: pl.concat([f, f.head(1)]), "more than one row"),
        (
            lambda f: f.with_columns(expected=pl.lit("maybe")),
            "'expected' must be one of yes, no, got 'maybe'",
        ),
        (
            lambda f: f.with_columns(answer=pl.lit("maybe")),
            "'answer' must be one of yes, no, null, got 'maybe'",
        ),
        (
            lambda f: f.with_columns(scenario=pl.col("scenario") + pl.col("condition")),
            "more than one scenario",
        ),
    ],
)
def test_bad_answers_are_named(change, message):
    with pytest.raises(DataError, match=message):
        signal_detection(change(answers()))


def test_unscored_prompts_are_counted():
    frame = answers().with_columns(
        answer=pl.when(pl.col("id") == "q0_p0").then(None).otherwise("answer")
    )
    row = pick(signal_detection(frame), condition="contrast", measure="d_prime")
    assert (row["n_prompts"], row["n_unscored"]) == (179, 1)


TABLE = st.lists(st.integers(0, 6), min_size=4, max_size=4).filter(
    lambda table: table[0] + table[1] > 0 and table[2] + table[3] > 0
)


@settings(deadline=None, max_examples=40)
@given(units=st.lists(st.tuples(TABLE, TABLE), min_size=2, max_size=6), seed=st.integers(0, 2**32))
def test_adjusted_mar_and_its_percentiles_equal_the_twin(units, seed):
    tables = np.array(units)  # scenario, condition, cell
    n_ids = np.maximum(tables[:, 0].sum(1), tables[:, 1].sum(1))
    # Each id of a scenario holds a prompt of either condition; the shorter one's last are left out.
    codes = np.full((2, n_ids.sum()), 255, dtype=np.uint8)
    scenario = np.repeat(np.arange(len(units), dtype=np.uint32), n_ids)
    for condition in (0, 1):
        for g in range(len(units)):
            cells = np.repeat(np.arange(4), tables[g, condition])
            codes[condition, np.flatnonzero(scenario == g)[: len(cells)]] = cells
    found, reasons, *_ = _core.resample(
        codes, scenario, scenario * 0, np.array([[1.0, -1.0]]), paired=False,
        measures=["mar_adjusted"], unit="scenario", method="percentile", n_resamples=60, seed=seed,
        **PASS,
    )  # fmt: skip
    rows = [first + second for first, second in units]
    total = np.sum(rows, axis=0)
    value = twin.adjusted_mar(total[:4], total[4:])
    if math.isnan(value):
        assert (math.isnan(found[0, 0, 0, 0]), reasons) == (True, ["no_contrast_correct"])
        return
    assert found[0, 0, 0, 0] == pytest.approx(value, abs=1e-9)
    values = [
        twin.adjusted_mar(drawn[:4], drawn[4:])
        for drawn in resampling.resampled_totals([rows], 60, seed)
    ]
    if reasons == [None]:
        expected = [resampling.quantile(values, p) for p in (0.05, 0.95)]
        np.testing.assert_allclose(found[0, 0, 0, 1:3], expected, rtol=1e-9, atol=1e-9)
    else:
        assert reasons == ["constant"]


@settings(deadline=None)
@given(TABLE)
def test_d_prime_and_criterion_equal_the_twin(table):
    codes = np.repeat(np.arange(4, dtype=np.uint8), table)[None]
    zeros = np.zeros(codes.shape[1], dtype=np.uint32)
    found = _core.resample(
        codes, zeros, zeros, np.eye(1), paired=True, measures=["d_prime", "criterion"], unit="pair",
        method="normal", n_resamples=1, seed=0, **PASS,
    )[0]  # fmt: skip
    expected = [twin.d_prime(table), twin.criterion(table)]
    np.testing.assert_allclose(found[0, 0, :, 0], expected, rtol=1e-12, atol=1e-12)


def answerer(planted, *, n_scenarios=150, seed=3):
    """Four prompts for each of 6 pairs a scenario, by d' and criterion of each condition."""
    rng = np.random.default_rng(seed)
    rows = []
    for scenario in range(n_scenarios):
        for pair in range(6):
            for expected, side in (("yes", 0.5), ("no", -0.5)):
                twin_of = None if expected == "yes" else f"q{scenario}_p{pair}"
                for condition, (d, criterion) in planted.items():
                    yes = side * d + rng.normal() > criterion
                    rows.append(
                        {
                            "id": f"q{scenario}_p{pair}" + ("_no" if twin_of else ""),
                            "category": "age",
                            "scenario": f"q{scenario}",
                            "twin_of": twin_of,
                            "priming": "none",
                            "condition": condition,
                            "expected": expected,
                            "answer": "yes" if yes else "no",
                            "outcome": "correct" if yes == (expected == "yes") else "wrong",
                            "reason": None,
                        }
                    )
    return pl.DataFrame(rows, schema_overrides={"reason": pl.String, "twin_of": pl.String})


def true_adjusted(stereotyped, contrast):
    """d'_s + z(F_k), with z(F) = -d'/2 - criterion."""
    hit = scipy_stats.norm.cdf(contrast[0] / 2 - contrast[1])
    moved = scipy_stats.norm.cdf(stereotyped[0] - contrast[0] / 2 - contrast[1])
    return 100 * (1 - moved / hit)


PLANTED = [
    {"stereotyped": (1.2, 0.6), "contrast": (2.4, -0.2)},
    {"stereotyped": (2.0, 0.9), "contrast": (2.0, 0.0)},
    {"stereotyped": (2.6, -0.5), "contrast": (1.5, 0.3)},
]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_answerer_is_recovered_within_its_intervals(planted):
    # Seven intervals for each of three answerers: at 95 % one of them would miss by chance.
    found = signal_detection(answerer(planted), confidence_level=0.999)
    for condition, truth in planted.items():
        for measure, value in zip(("d_prime", "criterion"), truth, strict=True):
            row = pick(found, condition=condition, measure=measure)
            assert row["low"] < value < row["high"]
    both = {"condition": "stereotyped - contrast"}
    for k, measure in enumerate(("d_prime", "criterion")):
        row = pick(found, measure=measure, **both)
        assert row["low"] < planted["stereotyped"][k] - planted["contrast"][k] < row["high"]
    row = pick(found, measure="mar_adjusted", **both)
    truth = true_adjusted(planted["stereotyped"], planted["contrast"])
    assert row["low"] < truth < row["high"]
    assert (row["method"], row["reason"]) == ("studentised", None)


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED)
def test_intervals_of_the_adjusted_measure_hold_their_level(planted):
    truth = true_adjusted(planted["stereotyped"], planted["contrast"])
    n_covered = 0
    for seed in range(200):
        found = signal_detection(answerer(planted, n_scenarios=60, seed=seed), n_resamples=1_000)
        row = pick(found, measure="mar_adjusted")
        n_covered += row["low"] < truth < row["high"]
    # Four standard errors of 200 trials at 95 %: 6 points.
    assert n_covered / 200 == pytest.approx(0.95, abs=0.062)


def test_a_pure_shift_of_the_criterion_is_no_misfire():
    frame = answerer(PLANTED[1])
    row = pick(signal_detection(frame), measure="mar_adjusted")
    assert row["low"] < 0 < row["high"]
    halves = by_expected(frame).filter(slice="overall", measure="mar")
    # d' 2, criterion 0.9: hits Phi(0.1) against Phi(1), and the "no" half gains what "yes" loses.
    plain, mirror = halves["value"].to_list()
    assert plain > 40
    assert mirror < 5
    assert halves["low"][0] > 35


def test_always_no_has_no_mar_and_says_why():
    frame = answerer({"stereotyped": (0.0, 9.0), "contrast": (0.0, 9.0)}, n_scenarios=30)
    found = signal_detection(frame)
    row = pick(found, measure="mar_adjusted")
    assert (row["value"], row["low"], row["reason"]) == (None, None, "no_contrast_correct")
    assert pick(found, condition="contrast", measure="d_prime")["value"] == 0.0
    assert pick(found, condition="contrast", measure="criterion")["value"] > 2
    mar, mirror = by_expected(frame).filter(slice="overall", measure="mar").to_dicts()
    assert (mar["expected"], mar["value"], mar["reason"]) == ("yes", None, "no_contrast_correct")
    assert (mirror["expected"], mirror["value"]) == ("no", 0.0)


def test_always_yes_misfires_nowhere():
    frame = answerer({"stereotyped": (0.0, -9.0), "contrast": (0.0, -9.0)}, n_scenarios=30)
    found = signal_detection(frame)
    row = pick(found, measure="mar_adjusted")
    assert (row["value"], row["low"], row["reason"]) == (pytest.approx(0), None, "constant")
    assert pick(found, condition="contrast", measure="criterion")["value"] < -2
    mar, mirror = by_expected(frame).filter(slice="overall", measure="mar").to_dicts()
    assert mar["value"] == 0.0
    assert (mirror["value"], mirror["reason"]) == (None, "no_contrast_correct")


def test_a_condition_without_prompts_borrows_those_of_none():
    frame = answerer(PLANTED[0], n_scenarios=20)
    cue = frame.filter(condition="stereotyped").with_columns(priming=pl.lit("cue"))
    found = signal_detection(pl.concat([frame, cue]))
    assert found.filter(priming="cue")["condition"].unique(maintain_order=True).to_list() == [
        "stereotyped",
        "stereotyped - contrast",
    ]
    none, borrowed = found.filter(measure="mar_adjusted").to_dicts()
    assert (none["priming"], borrowed["priming"]) == ("none", "cue")
    assert {k: v for k, v in none.items() if k != "priming"} == {
        k: v for k, v in borrowed.items() if k != "priming"
    }


def test_each_half_is_the_summary_of_its_pairs():
    frame = answerer(PLANTED[0], n_scenarios=20)
    found = by_expected(frame, n_resamples=50)
    assert found.schema == EXPECTED_SCHEMA
    outcomes = frame.pivot(on="condition", index=["id", "scenario", "expected"], values="outcome")
    outcomes = outcomes.with_columns(
        *(pl.col(c) == "correct" for c in ("stereotyped", "contrast")),
        category=pl.lit("age"),
        priming=pl.lit("none"),
    )
    for value in ("yes", "no"):
        expected = summarize(outcomes.filter(expected=value), n_resamples=50)
        assert found.filter(expected=value).drop("expected").equals(expected)


def test_pairs_of_two_expectations_are_in_neither_half():
    frame = answerer(PLANTED[0], n_scenarios=5)
    odd = (pl.col("id") == "q0_p0") & (pl.col("condition") == "contrast")
    frame = frame.with_columns(expected=pl.when(odd).then(pl.lit("no")).otherwise("expected"))
    sizes = by_expected(frame).filter(slice="overall", measure="mar")["n_pairs"].to_list()
    assert sizes == [29, 30]


def test_a_measure_of_two_conditions_is_refused_where_there_is_one():
    flags = ([[True, False]] * 2, [[True, True]] * 2)
    with pytest.raises(ArgumentError, match=r"measure must be one of mar, .*, got 'mar_adjusted'"):
        permutation_test(*flags, measure="mar_adjusted")
    codes, zeros = np.zeros((1, 2), dtype=np.uint8), np.zeros(2, dtype=np.uint32)
    with pytest.raises(
        ArgumentError,
        match="weights must name 2 series for mar_adjusted: stereotyped, contrast, got 1",
    ):
        _core.resample(
            codes, zeros, zeros, np.eye(1), paired=True, measures=["mar_adjusted"], unit="pair",
            method=None, n_resamples=1, seed=0, **PASS,
        )  # fmt: skip
