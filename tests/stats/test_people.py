"""Rates of people: the plain twin, values from outside, degenerate cases, coverage."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from misfired.errors import ArgumentError, DataError
from misfired.stats import (
    agreement,
    bootstrap,
    people,
    people_against,
    ratings_of_runs,
    zero_bounds,
)
from misfired.stats.people import SCOPES, Crossed, majority
from reference import people as twin


def outcomes_of(rows):
    """Rows of (annotator, pair, scenario, stereotyped, contrast)."""
    names = ["annotator", "id", "scenario", "stereotyped", "contrast"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def study(rates, n_pairs=60, per_scenario=1, seed=0):
    """Everyone is asked everything; each person misfires at a rate of their own."""
    rng = np.random.default_rng(seed)
    return outcomes_of([
        (f"a{who}", f"p{pair}", f"s{pair // per_scenario}", bool(rng.random() >= rate), bool(rng.random() < 0.97))
        for who, rate in enumerate(rates) for pair in range(n_pairs)
    ])  # fmt: skip


def rates_of(frame, **match):
    return frame.filter(**match).row(0, named=True)


answers = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans(), st.booleans()),
    min_size=2,
    max_size=40,
)


@given(answers)
def test_the_crossed_variance_equals_the_twin(rows):
    person, scenario, right, asked = (np.array(column) for column in zip(*rows, strict=True))
    base = asked.astype(float)
    hits = right * base
    if not base.sum():
        return
    found = Crossed.of(hits, base, person.astype(np.uint32), scenario.astype(np.uint32))
    value, variance, degrees = twin.crossed(hits, base, person.tolist(), scenario.tolist())
    assert found.value == pytest.approx(value)
    assert found.variance == pytest.approx(variance, abs=1e-12)
    if variance > 1e-9:
        assert found.degrees == pytest.approx(degrees)


@pytest.mark.parametrize("per_scenario", [1, 4])
def test_the_interval_equals_the_twin(per_scenario):
    outcomes = study([0.02, 0.1, 0.3, 0.0], per_scenario=per_scenario)
    frame = people(outcomes, measures=["mar"])
    these, alike, anyone = (rates_of(frame, scope=scope) for scope in SCOPES)
    counted = outcomes.filter("contrast")
    hits, ones = (~counted["stereotyped"]).cast(float).to_list(), [1.0] * len(counted)
    value, variance, degrees = twin.crossed(
        hits, ones, counted["annotator"].to_list(), counted["scenario"].to_list()
    )
    low, high = twin.interval(value, variance, degrees, len(counted), (these["low"], these["high"]))
    assert alike["value"] == pytest.approx(100 * value)
    assert (alike["low"], alike["high"]) == pytest.approx((low, high), abs=1e-9)
    bound = 100 * (1 - 0.025 ** (1 / 4))
    assert (anyone["low"], anyone["high"]) == pytest.approx(
        (min(low, 100 - bound), max(high, bound)), abs=1e-9
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_variance_is_that_of_statsmodels_for_two_clusters(seed):
    rng = np.random.default_rng(seed)
    person, scenario = rng.integers(0, 6, 300), rng.integers(0, 25, 300)
    hits = (rng.random(300) < rng.random(6)[person] * rng.random(25)[scenario]).astype(float)
    fit = sm.OLS(hits, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": np.stack([person, scenario], axis=1)}
    )
    found = Crossed.of(hits, np.ones(300), person.astype(np.uint32), scenario.astype(np.uint32))
    assert found.variance == pytest.approx(fit.cov_params().item(), rel=1e-9)


def test_a_mixed_model_finds_the_same_error():
    """Balanced Gaussian-like data: the variance components of a linear mixed model give the error of the mean."""
    rng = np.random.default_rng(3)
    n_people, n_scenarios = 16, 30
    who, what = (
        x.ravel() for x in np.meshgrid(np.arange(n_people), np.arange(n_scenarios), indexing="ij")
    )
    rate = np.clip(
        0.4 + rng.normal(0, 0.15, n_people)[who] + rng.normal(0, 0.15, n_scenarios)[what],
        0.02,
        0.98,
    )
    hits = (rng.random(len(rate)) < rate).astype(float)
    found = Crossed.of(hits, np.ones(len(hits)), who.astype(np.uint32), what.astype(np.uint32))
    data = pd.DataFrame({"hits": hits, "who": who, "what": what, "all": 0})
    model = sm.MixedLM.from_formula(
        "hits ~ 1",
        groups="all",
        re_formula="0",
        vc_formula={"who": "0 + C(who)", "what": "0 + C(what)"},
        data=data,
    ).fit()
    parts = dict(zip(model.model.exog_vc.names, model.vcomp, strict=True))
    expected = parts["who"] / n_people + parts["what"] / n_scenarios + model.scale / len(hits)
    assert math.sqrt(found.variance) == pytest.approx(math.sqrt(expected), rel=0.03)


def test_these_people_are_what_the_bootstrap_says_of_all_answers():
    outcomes = study([0.1, 0.2, 0.05], per_scenario=3)
    row = rates_of(people(outcomes, measures=["mar"]), scope="these")
    found = bootstrap(
        outcomes["stereotyped"],
        outcomes["contrast"],
        scenario=outcomes["scenario"],
        measures=["mar"],
    )
    assert (row["value"], row["low"], row["high"]) == (
        found["mar"].value,
        found["mar"].low,
        found["mar"].high,
    )


def test_where_nobody_misfires_the_bound_is_by_scenario_and_by_person():
    frame = people(study([0.0] * 5, n_pairs=100).with_columns(contrast=True), measures=["mar"])
    bounds = zero_bounds(5, 100)
    for scope in SCOPES:
        row = rates_of(frame, scope=scope)
        assert (row["value"], row["low"], row["high"]) == (0.0, 0.0, pytest.approx(bounds[scope]))
    # By hand: 1 - 0.025^(1/5) for people; for scenarios n (z / t)^2 = 100 (1.95996 / 1.98422)^2 = 97.570.
    assert bounds["any"] == pytest.approx(100 * (1 - 0.025**0.2))
    assert bounds["these"] == pytest.approx(100 * (1 - 0.025 ** (1 / 97.570)), abs=1e-4)


@pytest.mark.parametrize("n", [2, 30, 10**9])
def test_bounds_of_zero_are_those_of_clopper_and_pearson(n):
    bounds = zero_bounds(n, n, confidence_level=0.9)
    assert bounds["any"] == bounds["these"] >= 100 * scipy.stats.beta.ppf(0.95, 1, n) * (1 - 1e-9)
    size = n * (scipy.stats.norm.ppf(0.95) / scipy.stats.t.ppf(0.95, n - 1)) ** 2
    assert bounds["these"] == pytest.approx(100 * scipy.stats.beta.ppf(0.95, 1, size), rel=1e-6)


def test_known_people_are_recovered():
    rates = {"never": 0.0, "seldom": 0.03, "careless": 0.3}
    outcomes = study(list(rates.values()), n_pairs=400, seed=5)
    frame = people(outcomes, measures=["mar"])
    for number, rate in enumerate(rates.values()):
        row = rates_of(frame, annotator=f"a{number}")
        assert row["low"] <= 100 * rate <= row["high"]
        assert row["value"] == pytest.approx(100 * rate, abs=4)
    truth = 100 * np.mean(list(rates.values()))
    for scope in SCOPES:
        row = rates_of(frame, scope=scope)
        assert row["low"] <= truth <= row["high"]
    ends = [(row["low"], row["high"]) for row in (rates_of(frame, scope=scope) for scope in SCOPES)]
    assert ends[0][0] >= ends[1][0] >= ends[2][0]
    assert ends[0][1] <= ends[1][1] <= ends[2][1]


def test_the_majority_outvotes_one_who_always_fails():
    outcomes = study([0.0, 0.0, 1.0], n_pairs=50).with_columns(contrast=True)
    frame = people(outcomes, measures=["mar"])
    assert rates_of(frame, scope="these")["value"] == pytest.approx(100 / 3)
    assert rates_of(frame, scope="majority")["value"] == 0.0
    two = majority(outcomes.filter(pl.col("annotator") != "a0"))
    assert two["stereotyped"].null_count() == 50


def test_one_person_says_nothing_of_others():
    frame = people(study([0.1]), measures=["mar"])
    assert rates_of(frame, scope="these")["low"] is not None
    for scope in SCOPES[1:]:
        row = rates_of(frame, scope=scope)
        assert (row["low"], row["high"], row["reason"]) == (None, None, "one_unit")


def test_nothing_scored_has_a_reason():
    frame = people(
        study([0.1, 0.1]).with_columns(stereotyped=pl.lit(None, pl.Boolean)), measures=["mar"]
    )
    for row in frame.iter_rows(named=True):
        assert row["value"] is None
        assert row["reason"] is not None
        assert row["n_unscored"] == (60 if row["scope"] in {"person", "majority"} else 120)


def test_what_is_refused():
    outcomes = study([0.1, 0.2])
    with pytest.raises(DataError, match=r"annotator 'a0', id 'p0': more than one row"):
        people(pl.concat([outcomes, outcomes.head(1)]))
    with pytest.raises(DataError, match="column 'annotator' is missing"):
        people(outcomes.drop("annotator"))
    with pytest.raises(ArgumentError, match=r"measures must be of mar, .* got 'discrepancy'"):
        people(outcomes, measures=["discrepancy"])
    with pytest.raises(DataError, match="must share a scored pair with the people"):
        people_against(outcomes, outcomes.filter(annotator="a0").with_columns(pl.col("id") + "x"))
    with pytest.raises(DataError, match="model: id 'p0': more than one row"):
        people_against(outcomes, outcomes)
    with pytest.raises(ArgumentError, match="n_people must be at least 1, got 0"):
        zero_bounds(0, 5)


def test_against_themselves_there_is_no_difference():
    outcomes = study([0.2], per_scenario=3)
    frame = people_against(outcomes, outcomes, measures=["mar", "accuracy_contrast"])
    for row in frame.filter(scope="these").iter_rows(named=True):
        # Both rates move as one: the interval is a point up to the asymmetry of its halves.
        assert row["value"] == 0.0
        assert row["low"] <= 0.0 <= row["high"]


def test_against_a_model_the_interval_holds_the_difference():
    outcomes = study([0.02, 0.04, 0.0], n_pairs=300, seed=1)
    model = study([0.3], n_pairs=300, seed=2)
    frame = people_against(outcomes, model, measures=["mar"])
    for scope in SCOPES:
        row = rates_of(frame, scope=scope)
        assert row["low"] <= -28 <= row["high"]
        assert row["value"] == pytest.approx(-28, abs=5)


def test_ratings_of_runs_agree_with_the_krippendorff_package():
    krippendorff = pytest.importorskip("krippendorff", reason="an outside value of alpha")
    rng = np.random.default_rng(0)
    runs = {}
    for name in ("ann", "bob", "cat", "dan"):
        asked = rng.random(80) < 0.7
        outcome = rng.choice(["correct", "abstained", "error"], 80, p=[0.85, 0.1, 0.05])
        answer = np.where(rng.random(80) < 0.8, "yes", "no")
        runs[name] = pl.DataFrame({
            "id": [f"p{i}" for i in range(80)], "scenario": [f"s{i // 4}" for i in range(80)],
            "priming": "none", "condition": "contrast", "outcome": outcome,
            "answer": [a if o == "correct" else None for a, o in zip(answer, outcome, strict=True)],
        }).filter(asked)  # fmt: skip
    ratings = ratings_of_runs(runs)
    values = {None: np.nan, "yes": 0.0, "no": 1.0, "abstained": 2.0}
    data = [[values[each] for each in ratings[name]] for name in runs]
    expected = krippendorff.alpha(reliability_data=data, level_of_measurement="nominal")
    assert agreement(ratings.select(*runs).rows()).value == pytest.approx(expected, abs=1e-12)
