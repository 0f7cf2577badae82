"""Several series by pair: all are resampled with the same pairs, as they are with the same scenarios."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from misfired import _core
from misfired.stats import leaderboard
from misfired.stats.measures import MEASURES
from reference import resampling as twin

CHANGES = [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]


def resample(codes, scenario, category, weights, **options):
    keywords = {
        "paired": True, "measures": list(MEASURES), "by_category": False, "stratified": False,
        "method": "percentile", "confidence_level": 0.9, "n_resamples": 70, "seed": 5,
        "n_threads": None,
    }  # fmt: skip
    arrays = (np.asarray(array, dtype=np.uint32) for array in (scenario, category))
    found = _core.resample(
        np.ascontiguousarray(codes, dtype=np.uint8),
        *arrays,
        np.array(weights),
        **(keywords | options),
    )
    return found[0]


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("method", ["percentile", "basic", "bca", "studentised"])
def test_pairs_that_are_their_own_scenarios_are_drawn_as_scenarios(method, stratified):
    codes = np.random.default_rng(2).choice(4, p=[0.6, 0.1, 0.2, 0.1], size=(2, 90))
    each, category = np.arange(90), np.arange(90) % 3
    options = {"method": method, "stratified": stratified, "by_category": True}
    by_pair, by_scenario = (
        resample(codes, each, category, CHANGES, unit=unit, **options)
        for unit in ("pair", "scenario")
    )
    # BCa's acceleration is summed over patterns by pair, in another order.
    np.testing.assert_allclose(by_pair, by_scenario, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(0, 2**64 - 1))
def test_draws_of_several_series_equal_the_twin(data, seed):
    n = data.draw(st.integers(2, 20))
    row = st.lists(st.sampled_from([0, 0, 1, 2, 3, 255]), min_size=n, max_size=n)
    codes = np.array([data.draw(row), data.draw(row)], dtype=np.uint8)
    scenario = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    found = resample(codes, scenario, scenario * 0, CHANGES, unit="pair", seed=seed)
    order = sorted(range(n), key=lambda i: (scenario[i], *np.minimum(codes[:, i], 4)))
    pairs = [[float(code == k) for code in codes[:, i] for k in range(4)] for i in order]
    totals = twin.resampled_totals([pairs], 70, seed)
    for k, measure in enumerate(MEASURES):
        # A question of one series counts what that series scored.
        for series in range(2):
            values = [twin.value(measure, total[4 * series :][:4]) for total in totals]
            ends = [twin.quantile(values, p) for p in (0.05, 0.95)]
            if not np.isnan(found[0, series, k, 1]):
                np.testing.assert_allclose(found[0, series, k, 1:3], ends, rtol=1e-12)


def test_the_order_of_pairs_cannot_change_a_bit():
    rng = np.random.default_rng(1)
    codes, scenario = rng.choice(4, size=(2, 60)), rng.integers(0, 7, 60)
    order = rng.permutation(60)
    straight = resample(codes, scenario, scenario * 0, CHANGES, unit="pair")
    other = resample(codes[:, order], scenario[order], scenario * 0, CHANGES, unit="pair")
    np.testing.assert_array_equal(straight, other)


def frame(wrong):
    n = len(wrong)
    names = [f"p{i:04}" for i in range(n)]
    return pl.DataFrame(
        {"id": names, "scenario": names, "category": "c", "priming": "none",
         "stereotyped": ~wrong, "contrast": True}
    )  # fmt: skip


def test_a_leaderboard_ranks_alike_by_pair_and_by_scenario():
    first = np.random.default_rng(3).random(2_000) < 0.1
    second = first.copy()
    second[np.flatnonzero(~first)[:12]] = True  # the second misfires on 12 pairs more
    runs = {"a": frame(first), "b": frame(second)}
    by_pair, by_scenario = (
        leaderboard(runs, unit=unit).sort("run") for unit in ("pair", "scenario")
    )
    for column in ("value", "low", "high"):  # z for t of 1,999 degrees of freedom
        np.testing.assert_allclose(by_pair[column], by_scenario[column], rtol=2e-3)
    for board in (by_pair, by_scenario):
        assert board.select("rank_low", "rank_high").rows() == [(1, 1), (2, 2)]
