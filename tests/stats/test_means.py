"""Bootstrap, sign flips and false discovery rate against slow twins and other libraries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from misfired.errors import ArgumentError
from misfired.stats.means import mean_interval, sign_flip
from reference.localise_plain import plain_bootstrap

values = st.lists(
    st.tuples(st.floats(-5, 5, width=32), st.sampled_from("abcd")), min_size=1, max_size=12
)


@given(values, st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_mean_interval_equals_its_plain_twin(rows: list[tuple[float, str]], seed: int) -> None:
    numbers = np.array([[value] for value, _ in rows], np.float64)
    scenarios = [scenario for _, scenario in rows]
    found = mean_interval(numbers, scenarios, n_resamples=50, rng=seed)
    value, low, high, reason = plain_bootstrap(
        numbers[:, 0].tolist(), scenarios, n_resamples=50, rng=seed
    )
    assert found.value[0] == pytest.approx(value, abs=1e-12)
    assert found.low[0] == pytest.approx(low, abs=1e-12, nan_ok=True)
    assert found.high[0] == pytest.approx(high, abs=1e-12, nan_ok=True)
    assert found.reason == [reason]


@pytest.mark.parametrize(
    ("numbers", "scenarios", "reason"),
    [
        ([0.0, 1.0, 1.0], "aaa", "one_unit"),
        ([1.0, 1.0, 1.0], "abc", "constant"),
        ([0.1] * 7, "abcdefg", "constant"),
        # Scenarios with equal means: their resamples differ by rounding alone.
        ([0.1, 0.3, 0.3, 0.1], "aabb", "constant"),
        ([1.0, 2.0, 3.0], "abc", None),
    ],
)
def test_no_interval_is_of_width_zero(
    numbers: list[float], scenarios: str, reason: str | None
) -> None:
    found = mean_interval(np.array(numbers)[:, None], list(scenarios), n_resamples=500)
    assert found.reason == [reason]
    assert np.isnan([found.low[0], found.high[0]]).all() == (reason is not None)
    assert found.value[0] == pytest.approx(np.mean(numbers))


def test_mean_interval_of_single_pairs_agrees_with_the_normal_interval() -> None:
    rng = np.random.default_rng(3)
    numbers = rng.normal(2, 1, (400, 1))
    found = mean_interval(numbers, [str(i) for i in range(400)], n_resamples=4000)
    low, high = stats.norm.interval(0.95, numbers.mean(), numbers.std() / 20)
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=0.01)


def test_the_same_seed_gives_the_same_bits_and_chunks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = np.random.default_rng(0).normal(size=(30, 2))
    scenarios = [str(i // 3) for i in range(30)]
    one = mean_interval(numbers, scenarios, n_resamples=500, rng=5)
    monkeypatch.setattr("misfired.stats.means._CHUNK", 7)
    other = mean_interval(numbers, scenarios, n_resamples=500, rng=5)
    np.testing.assert_allclose([one.low, one.high], [other.low, other.high], rtol=1e-12)


def test_an_undefined_ratio_is_nan_without_an_interval() -> None:
    numbers = np.array([[1.0, 0.0], [2.0, 0.0]])
    with np.errstate(divide="ignore"):
        found = mean_interval(
            numbers, ["a", "b"], lambda m: m[..., :1] / m[..., 1:], n_resamples=10
        )
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()
    assert found.reason == ["undefined"]


def test_sign_flip_agrees_with_all_patterns() -> None:
    rng = np.random.default_rng(1)
    numbers = rng.normal(0.4, 1, (12, 1))
    scenarios = [str(i // 2) for i in range(12)]
    sums = numbers.reshape(6, 2).sum(axis=1)
    exact = np.mean(
        [
            np.dot(signs, sums) >= sums.sum() - 1e-12
            for signs in itertools.product([-1, 1], repeat=6)
        ]
    )
    assert sign_flip(numbers, scenarios, n_resamples=40_000)[0] == pytest.approx(exact, abs=0.01)


def test_sign_flip_is_not_below_its_level_under_the_null() -> None:
    rng = np.random.default_rng(2)
    numbers = rng.normal(size=(20, 500))
    p = sign_flip(numbers, [str(i) for i in range(20)], n_resamples=999)
    assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 0}, "n_resamples must be at least 1, got 0"),
        ({"confidence_level": 1.0}, "confidence_level must be between 0 and 1, got 1.0"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        mean_interval(np.ones((2, 1)), ["a", "b"], **options)


def test_no_rows() -> None:
    with pytest.raises(ArgumentError, match="must have a row for each scenario label, got 0 for 0"):
        mean_interval(np.ones((0, 1)), [])
