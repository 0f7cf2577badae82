"""Rules that end a run: bounds, looks, and their error over many simulated runs."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from misfired.errors import ArgumentError
from misfired.stats import compare, summarize
from misfired.stats.sequential import HalfWidth, Settled, spending_bounds
from reference import sequential as twin
from sequential_table import decided, until


@pytest.mark.parametrize(
    ("shares", "published"),
    [
        # Lan and DeMets 1983 with five equal looks; the same in R, ldbounds::ldBounds(1:5 / 5, iuse = c(1, 1),
        # alpha = c(.025, .025)).
        ([0.2, 0.4, 0.6, 0.8, 1.0], [4.877, 3.357, 2.680, 2.290, 2.031]),
        # R, gsDesign(k = 2, test.type = 2, sfu = sfLDOF).
        ([0.5, 1.0], [2.963, 1.969]),
    ],
)
def test_published_bounds(shares, published):
    np.testing.assert_allclose(spending_bounds(shares), published, atol=5e-4)


def test_one_look_is_the_plain_test():
    assert spending_bounds([1.0]) == pytest.approx([scipy_stats.norm.isf(0.025)], abs=1e-9)


@settings(max_examples=15)
@given(st.lists(st.integers(4, 40), min_size=1, max_size=4, unique=True), st.floats(0.01, 0.2))
def test_bounds_spend_what_they_may_by_the_joint_normal_distribution(places, alpha):
    shares = [place / 40 for place in sorted(places)]
    bounds = spending_bounds(shares, alpha=alpha)
    for k in range(1, len(shares) + 1):
        exit_probability = 1 - twin.no_exit(shares[:k], bounds[:k])
        assert exit_probability == pytest.approx(twin.spent(shares[k - 1], alpha), abs=2e-5)


@pytest.mark.parametrize("shares", [[], [0.0, 1.0], [0.5, 0.5], [0.6, 0.4], [0.5, 1.1]])
def test_shares_must_ascend(shares):
    with pytest.raises(ArgumentError, match="shares must ascend from above 0 to at most 1, got"):
        spending_bounds(shares)


def outcomes(n_scenarios: int, rate: float, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = 5 * n_scenarios
    return pl.DataFrame({
        "id": [f"p{i}" for i in range(n)],
        "category": "c",
        "scenario": [f"s{i // 5}" for i in range(n)],
        "priming": "none",
        "stereotyped": rng.random(n) >= rate,
        "contrast": rng.random(n) < 0.9,
    })  # fmt: skip


def test_the_interval_of_a_look_is_that_of_the_summary():
    frame = outcomes(50, 0.1, 0)
    primed = frame.with_columns(priming=pl.lit("cue"), stereotyped=False)
    both = pl.concat([frame, primed])
    look = HalfWidth(points=3).look(both)
    row = summarize(both).filter(slice="overall", priming="none", measure="mar").row(0, named=True)
    assert (look.value, look.low, look.high) == (row["value"], row["low"], row["high"])
    assert (look.n_scenarios, look.n_pairs) == (50, 250)
    half = (look.high - look.low) / 2
    assert HalfWidth(points=half + 1e-9).look(frame).ended == "narrow"
    assert HalfWidth(points=half - 1e-9).look(frame).ended is None
    wider = HalfWidth(points=half, confidence_level=0.99).look(frame)
    assert wider.ended is None
    assert wider.high > look.high


def test_nothing_to_count_ends_nothing():
    look = HalfWidth(points=50).look(outcomes(5, 0.1, 1).with_columns(contrast=False))
    assert (look.value, look.ended) == (None, None)


def test_the_last_interval_of_a_comparison_is_that_of_compare_at_its_level():
    new, base = outcomes(60, 0.4, 2), outcomes(60, 0.1, 3)
    missing = base.with_columns(stereotyped=pl.when(pl.col("id") != "p7").then("stereotyped"))
    rule = Settled(points=2, base=missing, n_scenarios=(20, 60))
    look = rule.look(new)
    bounds = spending_bounds([1 / 3, 1], alpha=0.8 * 0.05)
    assert look.confidence_level == pytest.approx(1 - 2 * scipy_stats.norm.sf(bounds[-1]))
    compared = compare(new, missing, method="t", confidence_level=look.confidence_level)
    row = compared.filter(slice="overall", measure="mar").row(0, named=True)
    assert (look.value, look.low, look.high) == (row["value"], row["low"], row["high"])
    assert look.n_pairs == row["n_pairs"] == 299
    assert look.ended == "different"
    # At a third of the scenarios the bound is about 3.8 standard errors.
    first = rule.look(new.head(100))
    assert first.n_scenarios == 20
    assert first.confidence_level == pytest.approx(1 - 2 * scipy_stats.norm.sf(bounds[0]))


def test_equal_runs_are_alike_once_the_interval_is_within_the_points():
    base = outcomes(60, 0.1, 4)
    new = base.with_columns(stereotyped=pl.col("stereotyped") ^ (pl.col("id") == "p3"))
    assert Settled(points=2, base=base, n_scenarios=(60,)).look(new).ended == "alike"
    assert Settled(points=0.1, base=base, n_scenarios=(60,)).look(new).ended is None


def test_a_look_that_may_err_less_than_once_in_a_billion_decides_nothing():
    base = outcomes(60, 0.1, 4)
    new = base.with_columns(stereotyped=False)
    look = Settled(points=2, base=base, n_scenarios=(3, 60)).look(new.head(15))
    assert (look.low, look.ended) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "correlation"), [(0.05, 0.1), (0.15, 0.1), (0.15, 0.3)])
def test_error_and_coverage_by_simulation(rate, correlation):
    n = 600
    error = decided(rate, 0, correlation, False, n)["different"] / 100
    assert error <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / n)
    covered = until(rate, correlation, n)[3.0][0] / 100
    assert covered >= 0.94 - 2.6 * np.sqrt(0.94 * 0.06 / n)
