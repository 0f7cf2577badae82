import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats import (
    bootstrap,
    clustering,
    interval_width,
    mar_bounds,
    minimum_detectable,
    permutation_test,
    planning,
    power,
    sample_size,
    upper_bound,
)
from reference import inference as twin
from reference import planning as plain

STUDY = {"n_scenarios": 199, "pairs_per_scenario": 10, "correlation": 0.1}


def test_correlation_by_hand():
    # Scenario a: 1 of 2 misfire, b: 2 of 2, c: 0 of 2. Mean 1/2; between: 2 (0 + 1/4 + 1/4) / 2 =
    # 1/2; within: (1 - 1/2) / 3 = 1/6; m = 2: (1/2 - 1/6) / (1/2 + 1/6) = 1/2.
    found = clustering([True, False, False, False, True, True], [True] * 6, list("aabbcc"))
    assert found.correlation == pytest.approx(0.5)
    assert found.design_effect == pytest.approx(1.5)
    assert found.n_effective == pytest.approx(4)


def test_correlation_and_design_effect_of_simulated_scenarios():
    rng = np.random.default_rng(0)
    rates = rng.beta(0.15 * 7 / 3, 0.85 * 7 / 3, 4_000)  # correlation 1 / (1 + 7/3) = 0.3
    stereotyped = rng.random((4_000, 10)) >= rates[:, None]
    scenario = np.repeat(np.arange(4_000), 10)
    flags = (stereotyped.ravel(), np.ones(40_000, bool))
    found = clustering(*flags, scenario)
    assert found.correlation == pytest.approx(0.3, abs=0.02)
    # The design effect is the ratio of the cluster-robust variance to that of independent pairs.
    robust = bootstrap(*flags, scenario=scenario, method="normal")["mar"]
    plain = bootstrap(*flags, method="normal")["mar"]
    ratio = (robust.standard_error / plain.standard_error) ** 2
    assert found.design_effect == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize(
    ("stereotyped", "contrast", "reason"),
    [([True] * 4, [False] * 4, "no_contrast_correct"), ([True] * 4, [True] * 4, "constant")],
)
def test_no_correlation_has_a_reason(stereotyped, contrast, reason):
    assert clustering(stereotyped, contrast, ["a", "a", "b", "b"]).reason == reason


def test_no_number_of_independent_pairs_is_as_precise_as_scenarios_of_one_rate():
    found = clustering([True, False] * 3, [True] * 6, list("aabbcc"))
    assert (found.correlation, found.design_effect) == (-1, 0)
    assert (found.n_effective, found.reason) == (None, "constant")


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3])
def test_power_by_formula_agrees_with_simulation(correlation):
    study = STUDY | {"correlation": correlation}
    formula = power(0.08, 0.04, n_simulations=None, **study)
    assert formula == pytest.approx(power(0.08, 0.04, **study), abs=0.03)


def test_power_is_the_share_of_studies_that_the_test_rejects():
    # Gain and loss drawn anew with numpy, each study tested by the public function.
    rng, sizes, n = np.random.default_rng(0), np.array([1, 2, 4, 9, 20, 40] * 4), 400
    rejected = 0
    for _ in range(n):
        shares = rng.dirichlet(np.array([0.2, 0.05, 0.75]) * (1 / 0.1 - 1), len(sizes))
        counts = np.array([rng.multinomial(m, p) for m, p in zip(sizes, shares, strict=True)])
        codes = np.concatenate([np.repeat([2, 1, 0], row) for row in counts])
        found = permutation_test(codes < 2, codes % 2 == 0, scenario=np.repeat(range(24), sizes))
        rejected += found.p_value is not None and found.p_value <= 0.05
    expected = power(0.2, 0.05, n_scenarios=24, pairs_per_scenario=sizes, correlation=0.1)
    assert rejected / n == pytest.approx(expected, abs=4 * math.sqrt(0.25 / n))


def test_sizes_keep_their_distribution_in_larger_and_smaller_studies():
    shares = (0.2, 0.05)
    study = {"correlation": 0.1, "n_simulations": None}
    sizes = np.arange(1, 61)
    double = power(*shares, n_scenarios=120, pairs_per_scenario=sizes, **study)
    assert double == power(*shares, n_scenarios=120, pairs_per_scenario=[*sizes, *sizes], **study)
    half = power(*shares, n_scenarios=30, pairs_per_scenario=sizes, **study)
    every_other = power(*shares, n_scenarios=30, pairs_per_scenario=sizes[1::2], **study)
    assert half == pytest.approx(every_other)


def test_power_of_independent_pairs_agrees_with_the_normal_approximation():
    # Miettinen 1968 for McNemar: (sqrt(n) d - z sqrt(p)) / sqrt(p - d^2), p = 0.12, d = 0.04.
    z = scipy_stats.norm.ppf(0.95)
    excess = (math.sqrt(500) * 0.04 - z * math.sqrt(0.12)) / math.sqrt(0.12 - 0.04**2)
    found = power(
        0.08,
        0.04,
        n_scenarios=500,
        pairs_per_scenario=1,
        correlation=0,
        alternative="greater",
        n_simulations=None,
    )
    assert found == pytest.approx(scipy_stats.norm.cdf(excess), rel=1e-12)


def test_the_sign_flip_test_keeps_its_level_and_mcnemar_does_not():
    sizes = np.resize(np.arange(4, 21, dtype=np.uint32), 199)
    plain, _, flip = _core.power(
        sizes, gain=0.1, loss=0.1, correlation=0.3, alpha=0.05, alternative="two-sided",
        n_simulations=4_000, seed=0, n_threads=None,
    )  # fmt: skip
    assert plain > 0.12
    assert flip == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 4_000))


def test_threads_cannot_change_a_simulation():
    one, seven = (power(0.08, 0.04, n_simulations=500, n_threads=n, **STUDY) for n in (1, 7))
    assert one == seven


@pytest.mark.parametrize("n_simulations", [None, 500])
def test_the_minimum_detectable_difference_has_the_wanted_power(n_simulations):
    study = {"n_scenarios": 30, "pairs_per_scenario": range(1, 31), "correlation": 0.1,
             "n_simulations": n_simulations}  # fmt: skip
    found = minimum_detectable(0.04, target=0.9, **study)
    gain = 0.04 + found / 100
    assert power(gain, 0.04, **study) >= 0.9 > power(gain - 2e-4, 0.04, **study)
    # 10 % of contrast prompts answered wrong: the same misfires are more of those that count.
    as_mar = minimum_detectable(0.04, target=0.9, share=0.9, **study)
    assert as_mar == pytest.approx(found / 0.9)


def test_a_fall_is_detectable_too():
    study = {"n_scenarios": 40, "pairs_per_scenario": 10, "correlation": 0.1}
    fall = minimum_detectable(0.2, alternative="less", **study)
    assert power(0.2 + fall / 100, 0.2, alternative="less", **study) >= 0.8
    # The mirror: gain and loss change places.
    mirrored = power(0.2, 0.2 + fall / 100, alternative="greater", n_simulations=None, **study)
    assert mirrored == pytest.approx(
        power(0.2 + fall / 100, 0.2, alternative="less", n_simulations=None, **study)
    )


def test_what_cannot_be_detected_is_none():
    study = {"n_scenarios": 2, "pairs_per_scenario": 1, "correlation": 0.0}
    for alternative in ("two-sided", "greater", "less"):
        assert minimum_detectable(0.4, alternative=alternative, **study) is None


@pytest.mark.parametrize(
    ("rate", "width", "correlation"),
    [(8, 9, 0.2), (20, 60, 0.9), (0.01, 4, 0), (99.9, 3, 0.3), (10, 2, 0.1), (50, 99, 0)],
)
def test_the_sample_size_is_the_smallest_that_fits(monkeypatch, rate, width, correlation):
    tried = []

    def counted(*args, n_scenarios, **options):
        tried.append(n_scenarios)
        return interval_width(*args, n_scenarios=n_scenarios, **options)

    monkeypatch.setattr(planning, "interval_width", counted)
    study = {"pairs_per_scenario": 3, "correlation": correlation, "share": 0.9, "n_simulations": 50}
    n = sample_size(rate, width, **study)
    assert interval_width(rate, n_scenarios=n, **study) <= width
    assert interval_width(rate, n_scenarios=n - 1, **study) > width
    assert len(tried) <= 12


def test_no_width_is_reached_beyond_the_largest_study(monkeypatch):
    monkeypatch.setattr(planning, "_MOST", 300)
    study = {"pairs_per_scenario": 2, "correlation": 0.1, "n_simulations": 20}
    with pytest.raises(ArgumentError, match="width must be reachable with 300 scenarios"):
        sample_size(10, 0.1, **study)


def test_the_width_is_the_mean_width_of_reported_intervals():
    rng, sizes, n = np.random.default_rng(1), np.array([1, 3, 8, 20, 60] * 6), 150
    widths = []
    for _ in range(n):
        rates = rng.beta(0.1 * 4, 0.9 * 4, len(sizes))  # correlation 1 / (1 + 4) = 0.2
        wrong = rng.random(sizes.sum()) < np.repeat(rates, sizes)
        contrast = rng.random(sizes.sum()) < 0.8
        found = bootstrap(~wrong, contrast, scenario=np.repeat(range(30), sizes), measures=["mar"])
        widths.append(found["mar"].high - found["mar"].low)
    expected = interval_width(
        10, n_scenarios=30, pairs_per_scenario=sizes, correlation=0.2, share=0.8
    )  # fmt: skip
    assert np.mean(widths) == pytest.approx(expected, abs=4 * np.std(widths) / math.sqrt(n))


FLAG = st.sampled_from([True, False, None])


@given(st.lists(st.tuples(FLAG, FLAG), max_size=6))
def test_bounds_are_over_every_way_to_answer(pairs):
    stereotyped, contrast = [s for s, _ in pairs], [c for _, c in pairs]
    found = mar_bounds(stereotyped, contrast)
    best, worst = twin.mar_bounds(stereotyped, contrast)
    assert (found.best, found.worst) == (pytest.approx(best), pytest.approx(worst))
    assert found.n_unscored == sum(None in pair for pair in pairs)
    assert (found.reason is None) == (None not in {found.best, found.value, found.worst})


def test_the_upper_bound_of_zero_is_exact():
    for n in (1, 30, 100):
        assert upper_bound(n) == pytest.approx(100 * (1 - 0.05 ** (1 / n)))
    expected = 100 * scipy_stats.beta.ppf(0.9, 3, 18)
    assert upper_bound(20, hits=2, confidence_level=0.9) == pytest.approx(expected)


def test_clustered_annotators_are_worth_fewer():
    # 5 annotators of 20 judgements, correlation 0.5: 100 / (1 + 19 / 2) effective judgements.
    expected = 100 * (1 - 0.05 ** ((1 + 19 / 2) / 100))
    assert upper_bound(100, cluster_size=20, correlation=0.5) == pytest.approx(expected)
    assert upper_bound(100, cluster_size=20, correlation=1) == pytest.approx(upper_bound(5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: power(0.7, 0.5, **STUDY),
            ArgumentError,
            "gain must be between 0 and 1, and .*, got 0.7",
        ),
        (
            lambda: power(0.1, 0.1, **STUDY | {"correlation": 1}),
            ArgumentError,
            "correlation must be .*, got 1",
        ),
        (
            lambda: power(0.1, 0.1, **STUDY | {"n_scenarios": 0}),
            ArgumentError,
            "n_scenarios must be at least 1, got 0",
        ),
        (
            lambda: power(0.1, 0.1, alpha=0, **STUDY),
            ArgumentError,
            "alpha must be above 0 and below 1, got 0",
        ),
        (
            lambda: power(0.1, 0.1, n_simulations=0, **STUDY),
            ArgumentError,
            "n_simulations must be at least 1, got 0",
        ),
        (
            lambda: minimum_detectable(0.1, target=0.01, **STUDY),
            ArgumentError,
            "target must be between alpha = 0.05 and 1, got 0.01",
        ),
        (
            lambda: minimum_detectable(0.1, share=0, **STUDY),
            ArgumentError,
            "share must be more than 0 and at most 1, got 0",
        ),
        (
            lambda: interval_width(0, **STUDY),
            ArgumentError,
            "rate must be between 0 and 100, got 0",
        ),
        (
            lambda: power(0.1, 0.1, **STUDY | {"pairs_per_scenario": [3, 2.5]}),
            ArgumentError,
            "pairs_per_scenario must be whole numbers of at least 0, got 2.5",
        ),
        (
            lambda: power(0.1, 0.1, **STUDY | {"pairs_per_scenario": [0, 0]}),
            ArgumentError,
            "pairs_per_scenario must hold at least 1 pair, got only 0",
        ),
        (lambda: interval_width(5, share=0, **STUDY), ArgumentError, "share must be more than 0"),
        (
            lambda: interval_width(5, **STUDY | {"n_scenarios": 1}),
            ArgumentError,
            "n_scenarios must be at least 2, got 1",
        ),
        (
            lambda: sample_size(5, 0, pairs_per_scenario=1, correlation=0),
            ArgumentError,
            "width must be more than 0, got 0",
        ),
        (lambda: upper_bound(0), ArgumentError, "n must be at least 1, got 0"),
        (
            lambda: upper_bound(9, confidence_level=1),
            ArgumentError,
            "confidence_level must be between 0 and 1, got 1",
        ),
        (
            lambda: upper_bound(9, cluster_size=0),
            ArgumentError,
            "cluster_size must be at least 1, got 0",
        ),
        (lambda: mar_bounds([True], []), DataError, "contrast must have 1 outcomes, got 0"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_coverage_of_the_default_methods():
    sizes = np.resize(np.arange(4, 21, dtype=np.uint32), 199)
    options = {
        "mar": 0.1,
        "primed": 0.1,
        "accuracy_contrast": 0.9,
        "correlation": 0.2,
        "methods": ["clopper_pearson", "studentised"],
        "unit": "scenario",
        "confidence_level": 0.95,
        "n_simulations": 300,
        "n_resamples": 299,
        "seed": 1,
    }
    one, two = (_core.coverage(sizes, **options, n_threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    # Four standard errors of 300 simulations: 5 points.
    assert one[0, 0, 0] / 300 == pytest.approx(0.95, abs=0.05)
    assert one[1, 1, 0] / 300 == pytest.approx(0.95, abs=0.05)
    assert one[:, :, :4].sum(axis=2)[0].tolist() == [300, 300]


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), min_size=2, max_size=7))
def test_correlation_equals_the_analysis_of_variance(clusters):
    hits = np.array([sum(c) for c in clusters], dtype=np.uint32)
    trials = np.array([len(c) for c in clusters], dtype=np.uint32)
    found = _core.intraclass_correlation(hits, trials)
    if max(map(len, clusters)) == 1:
        assert not math.isfinite(found)
        return
    expected = twin.intraclass_correlation(clusters)
    if math.isnan(expected) or not math.isfinite(found):
        assert math.isnan(expected)
        assert not math.isfinite(found)
    else:
        assert found == pytest.approx(expected, abs=1e-12)


SHARE = st.floats(0.01, 0.45)


@given(
    SHARE, SHARE, st.lists(st.integers(1, 9), min_size=1, max_size=30), st.floats(0, 0.9),
    st.floats(0.001, 0.3), st.sampled_from(["two-sided", "greater", "less"]),
)  # fmt: skip
def test_power_equals_the_twin(gain, loss, sizes, correlation, alpha, alternative):  # noqa: PLR0917
    found = power(
        gain, loss, n_scenarios=len(sizes), pairs_per_scenario=sizes, correlation=correlation,
        alpha=alpha, alternative=alternative, n_simulations=None,
    )  # fmt: skip
    expected = plain.power(gain, loss, sizes, correlation, alpha, alternative)
    assert found == pytest.approx(expected, abs=1e-12)


def test_pairs_that_stand_alone_tell_nothing_of_correlation():
    found = clustering([True, False, True], [True] * 3, ["a", "b", "c"])
    assert (found.correlation, found.reason) == (None, "single_pairs")
    assert found.warnings == ("few_units", "single_pairs")
