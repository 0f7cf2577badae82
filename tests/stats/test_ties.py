"""Resamples that truly tie with the observed value count as ties, however their quotients round."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from misfired.stats import bootstrap
from misfired.stats.options import INTERVAL_METHODS
from reference import intervals as twin
from stats.codes import flags

CHANGE = [1.0, -1.0]
CHANGE_OF_CHANGES = [1.0, -1.0, -1.0, 1.0]


def estimate(codes, scenario, weights, method, **options):
    return bootstrap(
        *flags(codes), scenario=scenario, weights=weights, measures=["mar"], method=method, **options
    )["mar"]  # fmt: skip


def units_of(codes, scenario):
    groups = [np.asarray(codes)[:, scenario == g] for g in np.unique(scenario)]
    return [[float(np.sum(row == k)) for row in group for k in range(4)] for group in groups]


@pytest.mark.parametrize("weights", [CHANGE, CHANGE_OF_CHANGES])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_bca_counts_true_ties(weights, data):
    # Three scenarios of three pairs, all contrast answers right: every value is a sum of ninths.
    row = st.lists(st.sampled_from([0, 2]), min_size=9, max_size=9)
    codes = [data.draw(row) for _ in weights]
    scenario = np.repeat(np.arange(3), 3)
    found = estimate(codes, scenario, weights, "bca", n_resamples="all", confidence_level=0.8)
    assume(found.low is not None)
    units = units_of(codes, scenario)
    expected = twin.interval("bca", "mar", [units], weights, twin.every_resample(units), 0.8)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", [m for m in INTERVAL_METHODS if m not in {"logit", "wilson"}])
@pytest.mark.parametrize("n_resamples", [500, 140_000])
def test_a_change_that_is_the_same_in_every_resample_is_constant(method, n_resamples):
    # The rates differ between scenarios; their change is a third of the 3 k pairs of each.
    sizes = np.array([1, 2, 3, 5, 7, 4, 6])
    rates = [([2, 2, 0], [2, 0, 0]), ([2, 2, 2], [2, 2, 0]), ([2, 0, 0], [0, 0, 0])]
    pairs = [(k, *rates[i % 3]) for i, k in enumerate(sizes)]
    first = np.concatenate([np.repeat(one, k) for k, one, _ in pairs])
    second = np.concatenate([np.repeat(two, k) for k, _, two in pairs])
    scenario = np.repeat(np.arange(len(sizes)), 3 * sizes)
    found = estimate([first, second], scenario, CHANGE, method, n_resamples=n_resamples)
    assert found.value == pytest.approx(100 / 3)
    reason = "not_a_rate" if method == "clopper_pearson" else "constant"
    assert (found.low, found.high, found.reason) == (None, None, reason)
    assert found.standard_error == 0.0


def test_a_rate_that_is_the_same_in_every_scenario_has_no_error():
    sizes = np.array([1, 2, 3, 5, 7])
    codes = np.concatenate([np.repeat([2, 0, 0], k) for k in sizes])
    scenario = np.repeat(np.arange(len(sizes)), 3 * sizes)
    for method in ("normal", "t", "studentised"):
        found = estimate(codes, scenario, [1.0], method)
        assert (found.standard_error, found.low, found.reason) == (0.0, None, "constant")
