import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats.measures import MEASURES
from reference import resampling as twin


def resample(codes, scenario, category, weights=None, measures=MEASURES, **options):
    codes = np.ascontiguousarray(np.atleast_2d(np.asarray(codes, dtype=np.uint8)))
    weights = np.eye(len(codes)) if weights is None else np.array(weights, dtype=np.float64)
    defaults = {
        "paired": True,
        "unit": "scenario",
        "by_category": True,
        "stratified": False,
        "method": "percentile",
        "confidence_level": 0.95,
        "n_resamples": 200,
        "seed": 0,
        "n_threads": None,
    }
    return _core.resample(
        codes,
        np.asarray(scenario, dtype=np.uint32),
        np.asarray(category, dtype=np.uint32),
        weights,
        measures=list(measures),
        **(defaults | options),
    )


def clustered(seed=0, n_scenarios=60, n_series=1):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 21, n_scenarios)
    scenario = np.repeat(np.arange(n_scenarios), sizes)
    codes = rng.choice(4, p=[0.8, 0.05, 0.1, 0.05], size=(n_series, len(scenario)))
    return codes, scenario, scenario // 20


def units_of(codes, scenario, members):
    """Per scenario, in order, the counts of each series on pairs that all of them scored."""
    rows = {}
    for column in np.flatnonzero(members):
        row = rows.setdefault(int(scenario[column]), [0] * (4 * len(codes)))
        if all(code < 4 for code in codes[:, column]):
            for term, code in enumerate(codes[:, column]):
                row[4 * term + int(code)] += 1
    return [rows[key] for key in sorted(rows)]


WEIGHTS = {1: [1.0], 2: [1.0, -1.0], 4: [1.0, -1.0, -1.0, 1.0]}
"""A value, a difference, a difference of differences."""


@st.composite
def small_problems(draw, sizes=tuple(WEIGHTS)):
    n_series = draw(st.sampled_from(sizes))
    n = draw(st.integers(1, 30))
    code = st.sampled_from([0, 0, 1, 2, 2, 3, 255])
    codes = [draw(st.lists(code, min_size=n, max_size=n)) for _ in range(n_series)]
    scenario = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    return np.array(codes, dtype=np.uint8), np.array(scenario), np.array(scenario) % 2


def strata_of(codes, scenario, category, *, stratified):
    """For each stratum the units' counts."""
    if stratified:
        return [units_of(codes, scenario, category == k) for k in sorted(set(category))]
    return [units_of(codes, scenario, category >= 0)]


def patterns_of(codes, category, *, stratified):
    """For each stratum the patterns of outcomes that occur, and how often."""
    scored = (codes < 4).all(axis=0)
    strata = []
    for k in sorted(set(category[scored])) if stratified else [None]:
        members = scored & ((category == k) | (k is None))
        found = Counter(tuple(column[::-1]) for column in codes[:, members].T)
        # In the order of the patterns' numbers, in which the first series is the lowest digit.
        rows = [
            ([float(code == cell) for code in pattern[::-1] for cell in range(4)], found[pattern])
            for pattern in sorted(found)
        ]
        strata.append(rows)
    return strata


def expected_interval(measure, weights, observed, totals, n_units):
    """The twin's value, ends and number of resamples without a value."""

    def combined(total):
        terms = [twin.value(measure, total[i : i + 4]) for i in range(0, len(total), 4)]
        return sum(w * term for w, term in zip(weights, terms, strict=True))

    values, value = [combined(total) for total in totals], combined(observed)
    undefined = sum(map(math.isnan, values))
    constant = len({v for v in values if not math.isnan(v)} | {value}) == 1
    if math.isnan(value) or min(n_units) < 2 or constant or undefined == len(values):
        return [value, math.nan, math.nan], undefined
    return [value, *(twin.quantile(values, p) for p in (0.025, 0.975))], undefined


def assert_equal(estimates, undefined, *known):
    """Hold all measures of the only question against the twin."""
    for k, measure in enumerate(MEASURES):
        expected, n_undefined = expected_interval(measure, *known)
        np.testing.assert_allclose(estimates[0, 0, k, :3], expected, rtol=1e-12, atol=1e-12)
        assert undefined[0, 0, k] == n_undefined


@settings(deadline=None, max_examples=40)
@given(small_problems(), st.integers(0, 2**64 - 1), st.booleans())
def test_equals_the_twin(problem, seed, stratified):
    codes, scenario, category = problem
    weights = WEIGHTS[len(codes)]
    estimates, _, _, undefined, *_ = resample(
        codes, scenario, category, [weights], n_resamples=70, seed=seed, stratified=stratified
    )
    strata = strata_of(codes, scenario, category, stratified=stratified)
    observed = np.sum([row for units in strata for row in units], axis=0).tolist()
    totals = twin.resampled_totals(strata, 70, seed)
    sizes = [len(units) for units in strata]
    assert_equal(estimates, undefined, weights, observed, totals, sizes)


@settings(deadline=None, max_examples=40)
@given(small_problems(), st.integers(0, 2**64 - 1), st.booleans())
def test_draws_of_pairs_equal_the_twin(problem, seed, stratified):
    codes, scenario, category = problem
    weights = WEIGHTS[len(codes)]
    estimates, reasons, _, undefined, *_ = resample(
        codes, scenario, category, [weights], n_resamples=70, seed=seed, stratified=stratified,
        unit="pair",
    )  # fmt: skip
    strata = patterns_of(codes, category, stratified=stratified)
    if not strata or not strata[0]:
        assert set(reasons) == {"no_scored_pair"}
        return
    rows = [[n * x for x in counts] for patterns in strata for counts, n in patterns]
    observed = np.sum(rows, axis=0).tolist()
    totals = twin.resampled_patterns(strata, 70, seed)
    sizes = [sum(n for _, n in patterns) for patterns in strata]
    assert_equal(estimates, undefined, weights, observed, totals, sizes)


def test_large_draws_of_pairs_equal_the_twin():
    # More than a word of coins for each digit.
    rng = np.random.default_rng(1)
    codes, scenario = rng.choice(4, p=[0.7, 0.1, 0.15, 0.05], size=(1, 700)), np.arange(700)
    low, high = resample(codes, scenario, scenario * 0, unit="pair", seed=9)[0][0, 0, 0, 1:3]
    totals = twin.resampled_patterns(patterns_of(codes, scenario * 0, stratified=False), 200, 9)
    values = [twin.value("mar", total) for total in totals]
    expected = [twin.quantile(values, p) for p in (0.025, 0.975)]
    np.testing.assert_allclose([low, high], expected, rtol=1e-12)


@settings(deadline=None, max_examples=20)
@given(small_problems(sizes=(2,)), st.integers(0, 2**64 - 1))
def test_series_on_different_pairs_equal_the_twin(problem, seed):
    codes, scenario, category = problem
    estimates, *_, sizes, _ = resample(
        codes, scenario, category, [[1.0, -1.0]], ["mar_joint"], n_resamples=20, seed=seed,
        paired=False,
    )  # fmt: skip
    alone = [units_of(row[None], scenario, category >= 0) for row in codes]
    units = [first + second for first, second in zip(*alone, strict=True)]
    totals = twin.resampled_totals([units], 20, seed)
    observed = np.sum(units, axis=0).tolist()
    expected, _ = expected_interval("mar_joint", [1.0, -1.0], observed, totals, [len(units)])
    np.testing.assert_allclose(estimates[0, 0, 0, :3], expected, rtol=1e-12, atol=1e-12)
    n_scored = np.sum((codes < 4).any(axis=0))
    assert sizes[0, 0].tolist() == [len(units), n_scored, len(scenario) - n_scored]


def test_percentile_agrees_with_scipy_to_monte_carlo_error():
    codes, scenario, category = clustered()
    units = np.array(units_of(codes, scenario, category >= 0), dtype=float)

    def mar(a, c, axis=-1):
        return 100 * c.sum(axis) / (a + c).sum(axis)

    options = {"n_resamples": 40_000, "method": "percentile", "paired": True, "vectorized": True}
    other = scipy_stats.bootstrap((units[:, 0], units[:, 2]), mar, rng=1, batch=500, **options)
    low, high = resample(codes, scenario, category, n_resamples=40_000)[0][0, 0, 0, 1:3]
    # The 2.5 % quantile of B normal values has standard error sqrt(p q / B) / density(p) = 2.67
    # standard deviations / sqrt(B); two independent runs, four standard errors.
    slack = 4 * math.sqrt(2) * 2.67 * other.standard_error / math.sqrt(40_000)
    assert low == pytest.approx(other.confidence_interval.low, abs=slack)
    assert high == pytest.approx(other.confidence_interval.high, abs=slack)


def test_pairs_are_a_multinomial_draw():
    codes, scenario, category = clustered()
    counts = np.bincount(codes[0], minlength=4)
    draws = np.random.default_rng(2).multinomial(counts.sum(), counts / counts.sum(), 100_000)
    mar = 100 * draws[:, 2] / (draws[:, 0] + draws[:, 2])
    answer = resample(codes, scenario, category, unit="pair", n_resamples=100_000)[0][0, 0, 0, :3]
    slack = 4 * math.sqrt(2) * 2.67 * mar.std() / math.sqrt(100_000) + 1e-9
    np.testing.assert_allclose(answer[1:], np.quantile(mar, [0.025, 0.975]), atol=slack)


@pytest.mark.parametrize("unit", ["pair", "scenario"])
@pytest.mark.parametrize("stratified", [False, True])
def test_threads_cannot_change_a_bit(unit, stratified):
    codes, scenario, category = clustered(n_series=2)
    weights = [[1, 0], [0, 1], [1, -1]]
    options = {"unit": unit, "stratified": stratified, "n_resamples": 1_001}
    one, two, seven = (
        resample(codes, scenario, category, weights, n_threads=n, **options)[0] for n in (1, 2, 7)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, seven)


def test_a_series_is_resampled_alike_alone_and_among_others():
    codes, scenario, category = clustered(n_series=3)
    together = resample(codes, scenario, category)[0]
    alone = resample(codes[1:2], scenario, category)[0]
    np.testing.assert_array_equal(together[:, 1], alone[:, 0])


@pytest.mark.parametrize("unit", ["pair", "scenario"])
def test_a_slice_is_resampled_alike_alone_and_among_others(unit):
    codes, scenario, category = clustered()
    third = category == 2
    together = resample(codes, scenario, category, unit=unit)[0]
    alone = resample(codes[:, third], scenario[third], category[third] * 0, unit=unit)[0]
    np.testing.assert_array_equal(together[3], alone[0])


def test_the_order_of_pairs_cannot_change_a_bit():
    codes, scenario, category = clustered(n_series=2)
    order = np.random.default_rng(0).permutation(len(scenario))
    straight = resample(codes, scenario, category)[0]
    shuffled = resample(codes[:, order], scenario[order], category[order])[0]
    np.testing.assert_array_equal(straight, shuffled)


def test_too_many_pairs_for_a_count_are_refused():
    n = 70_000
    scenario = np.concatenate([np.zeros(n), np.arange(n)])
    with pytest.raises(DataError, match="at most 4294967295, got 70000 units of up to 70001 pairs"):
        resample(np.zeros(2 * n), scenario, np.zeros(2 * n))
    # Where series count their own pairs, any of them may be the one that passes.
    unscored = np.full(2 * n, 255)
    with pytest.raises(DataError, match="70000 units of up to 70001 pairs"):
        resample(
            [unscored, np.zeros(2 * n)], scenario, np.zeros(2 * n), [[1.0, -1.0]], paired=False
        )


def test_a_matrix_in_fortran_order_is_refused():
    codes = np.asfortranarray(np.zeros((2, 3), dtype=np.uint8))
    zeros = np.zeros(3, dtype=np.uint32)
    with pytest.raises(ArgumentError, match="codes must be a matrix in C order"):
        _core.resample(
            codes,
            zeros,
            zeros,
            np.eye(2),
            paired=True,
            measures=["mar"],
            unit="pair",
            by_category=True,
            stratified=False,
            method="percentile",
            confidence_level=0.9,
            n_resamples=1,
            seed=0,
            n_threads=None,
        )


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"unit": "prompt"}, "unit must be one of pair, scenario"),
        ({"method": "magic"}, "method must be one of percentile"),
        ({"measures": ["mad"]}, "measure must be one of .*mar_joint"),
        ({"measures": []}, "measures must be from 1 to 10, got 0"),
        ({"confidence_level": 1.0}, "confidence_level must be above 0 and below 1, got 1"),
        ({"n_resamples": 0}, "n_resamples must be from 1 to 1000000000000, got 0"),
        (
            {"n_resamples": None, "unit": "pair"},
            "n_resamples must be a number if the unit is the pair",
        ),
        ({"n_threads": 0}, "n_threads must be from 1 to 1024, got 0"),
        ({"paired": False, "unit": "pair"}, "paired must be 1 if the unit is the pair, got 0"),
        (
            {"codes": [[0, 1]] * 17, "weights": [[1] * 17]},
            "weights must weigh at most 16 series, got 17",
        ),
        ({"category": [0]}, "category must have 2 values"),
    ],
)
def test_bad_arguments_are_named(options, word):
    arguments = {"codes": [[0, 1]], "scenario": [0, 1], "category": [0, 0]} | options
    with pytest.raises(ArgumentError, match=word):
        resample(**arguments)


@pytest.mark.parametrize("unit", ["pair", "scenario"])
def test_the_order_of_slices_cannot_change_a_bit(unit):
    codes, scenario, category = clustered()
    straight = resample(codes, scenario, category, unit=unit)[0]
    renamed = np.array([2, 0, 1])[category]
    other = resample(codes, scenario, renamed, unit=unit)[0]
    np.testing.assert_array_equal(straight[0], other[0])
    for old, new in enumerate([2, 0, 1]):
        np.testing.assert_array_equal(straight[1 + old], other[1 + new])


@pytest.mark.parametrize("unit", ["pair", "scenario"])
@pytest.mark.parametrize("n_resamples", [2, 63, 64, 65, 129])
def test_any_number_of_resamples_ends_as_the_twin(unit, n_resamples):
    codes, scenario, category = clustered(n_scenarios=5)
    low, high = resample(
        codes, scenario, category * 0, measures=["accuracy_contrast"], unit=unit,
        n_resamples=n_resamples,
    )[0][0, 0, 0, 1:3]  # fmt: skip
    if unit == "pair":
        totals = twin.resampled_patterns(
            patterns_of(codes, category * 0, stratified=False), n_resamples, 0
        )
    else:
        totals = twin.resampled_totals([units_of(codes, scenario, scenario >= 0)], n_resamples, 0)
    values = [twin.value("accuracy_contrast", total) for total in totals]
    expected = [twin.quantile(values, p) for p in (0.025, 0.975)]
    np.testing.assert_allclose([low, high], expected, rtol=1e-12)


def test_counts_that_do_not_pack_are_summed_alike():
    # 12,000 pairs a scenario pass 16 bits in a resample; multiplied counts give the same rates.
    codes, scenario, category = clustered(n_scenarios=6)
    times = 1_000
    small = resample(codes, scenario, category)[0]
    large = resample(
        np.tile(codes, times), np.tile(scenario, times), np.tile(category, times)
    )[0]  # fmt: skip
    np.testing.assert_allclose(large[..., 1:3], small[..., 1:3], rtol=1e-12)
