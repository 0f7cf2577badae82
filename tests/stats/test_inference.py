import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests

from misfired.errors import ArgumentError, DataError
from misfired.stats import adjust, mcnemar, permutation_test
from reference import inference as twin
from stats.codes import flags

ALTERNATIVES = ("two-sided", "greater", "less")


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from(ALTERNATIVES), st.booleans())
def test_mcnemar_equals_the_exact_fraction(b, c, alternative, mid_p):
    found = mcnemar(b, c, alternative=alternative, mid_p=mid_p)
    if b + c == 0:
        assert (found.p_value, found.reason) == (None, "no_discordant_pair")
    else:
        expected = float(twin.mcnemar(b, c, alternative, mid_p=mid_p))
        assert found.p_value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(5, 17), (600, 700), (0, 1030), (400, 2000)])
def test_mcnemar_agrees_with_scipy_and_statsmodels(b, c):
    for alternative in ALTERNATIVES:
        expected = scipy_stats.binomtest(c, b + c, alternative=alternative).pvalue
        assert mcnemar(b, c, alternative=alternative).p_value == pytest.approx(expected, rel=1e-9)
    two_sided = sm_mcnemar([[10, b], [c, 10]], exact=True).pvalue
    assert mcnemar(b, c).p_value == pytest.approx(two_sided, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(10**6, 10**6 + 4000), (3 * 10**9, 3 * 10**9 + 10**5)])
def test_mcnemar_is_right_at_any_count(b, c):
    expected = scipy_stats.binom.logsf(c - 1, b + c, 0.5)
    assert mcnemar(b, c, alternative="greater").log_p_value == pytest.approx(expected, rel=1e-7)


def test_a_p_value_below_the_smallest_double_keeps_its_logarithm():
    found = mcnemar(0, 5_000, alternative="greater")
    assert found.p_value == 0.0
    assert found.log_p_value == pytest.approx(-5_000 * math.log(2), rel=1e-12)


DIFFERENCES = st.lists(st.integers(-4, 4), min_size=1, max_size=9)


@settings(deadline=None)
@given(DIFFERENCES, st.sampled_from(ALTERNATIVES))
def test_asymmetry_equals_every_flip(differences, alternative):
    codes = np.concatenate([np.full(abs(d) + 1, 2 if d > 0 else 1) for d in differences])
    # One more pair of the other sort brings each scenario to its difference.
    codes = np.concatenate([codes, [1 if d > 0 else 2 for d in differences]])
    scenario = np.repeat(np.arange(len(differences)), np.abs(differences) + 1)
    scenario = np.concatenate([scenario, np.arange(len(differences))])
    found = permutation_test(*flags(codes), scenario=scenario, alternative=alternative)
    if any(differences):
        assert found.p_value == pytest.approx(twin.sign_flip(differences, alternative), rel=1e-12)
        assert found.statistic == pytest.approx(100 * sum(differences) / len(codes))
    else:
        assert (found.p_value, found.reason) == (None, "no_discordant_pair")


def test_asymmetry_of_single_pairs_is_the_binomial_test():
    codes = [2] * 31 + [1] * 14 + [0] * 100
    expected = scipy_stats.binomtest(31, 45).pvalue
    assert permutation_test(*flags(codes)).p_value == pytest.approx(expected, rel=1e-12)


def test_asymmetry_agrees_with_scipy_permutation_test():
    differences = np.array([3, -1, 2, 5, 0, -2, 1, 4, 1, -1])
    expected = scipy_stats.permutation_test(
        (differences,),
        np.sum,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
    ).pvalue
    codes = np.concatenate([np.full(abs(d), 2 if d > 0 else 1) for d in differences])
    scenario = np.repeat(np.arange(10), np.abs(differences))
    found = permutation_test(*flags(codes), scenario=scenario, alternative="greater")
    assert found.p_value == pytest.approx(expected, rel=1e-12)


def two_runs():
    rng = np.random.default_rng(5)
    codes = rng.choice(4, p=[0.6, 0.1, 0.2, 0.1], size=(2, 80))
    return codes, np.repeat(np.arange(10), 8)


def test_change_of_joint_mar_is_exact():
    codes, scenario = two_runs()
    change = [
        int(np.sum(codes[0, scenario == g] == 2) - np.sum(codes[1, scenario == g] == 2))
        for g in range(10)
    ]
    found = permutation_test(*flags(codes), scenario=scenario)
    assert found.method == "sign_flip"
    assert found.p_value == pytest.approx(twin.sign_flip(change, "two-sided"), rel=1e-12)


def test_change_of_mar_is_sampled_and_close_to_every_swap():
    codes, scenario = two_runs()
    rows = np.array(
        [[np.bincount(row[scenario == g], minlength=4) for g in range(10)] for row in codes]
    )

    def change(swap):
        first = np.where(swap[:, None], rows[1], rows[0]).sum(0)
        second = np.where(swap[:, None], rows[0], rows[1]).sum(0)
        return first[2] / (first[0] + first[2]) - second[2] / (second[0] + second[2])

    swaps = (np.arange(2**10)[:, None] >> np.arange(10) & 1).astype(bool)
    values = np.array([change(swap) for swap in swaps])
    expected = np.mean(np.abs(values) >= abs(change(np.zeros(10, bool))) - 1e-12)
    found = permutation_test(*flags(codes), scenario=scenario, measure="mar", n_resamples=40_000)
    assert found.method == "sign_flip_sampled"
    assert found.seed == 0
    # Four standard errors of a sampled share.
    assert found.p_value == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 40_000))
    again = permutation_test(
        *flags(codes), scenario=scenario, measure="mar", n_resamples=40_000, n_threads=1
    )
    assert again.p_value == found.p_value


def test_identical_runs_cannot_be_tested():
    codes, scenario = two_runs()
    for measure in ("mar", "mar_joint"):
        same = flags(np.stack([codes[0], codes[0]]))
        found = permutation_test(*same, scenario=scenario, measure=measure)
        assert (found.p_value, found.reason) == (None, "no_discordant_pair")


def test_few_units_are_scenarios_that_can_flip():
    codes, scenario = np.zeros(200, dtype=int), np.repeat(np.arange(40), 5)
    codes[:25] = 2
    few = permutation_test(*flags(codes), scenario=scenario)
    assert (few.n, few.warnings) == (40, ("few_units",))
    codes[25:30] = 1
    assert permutation_test(*flags(codes), scenario=scenario).warnings == ()


P_VALUES = st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=20)


@given(P_VALUES, st.sampled_from(["bh", "by", "holm"]))
def test_adjusted_p_values_equal_the_twin(p_values, method):
    found = adjust(p_values, method=method)
    np.testing.assert_allclose(found, twin.adjust(p_values, method), rtol=1e-12)


@pytest.mark.parametrize(("method", "name"), [("bh", "fdr_bh"), ("by", "fdr_by"), ("holm", "holm")])
def test_adjusted_p_values_agree_with_statsmodels(method, name):
    p_values = np.random.default_rng(1).uniform(0, 0.2, 50)
    expected = multipletests(p_values, method=name)[1]
    np.testing.assert_allclose(adjust(p_values, method=method), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mcnemar(-1, 2), ArgumentError, "b must be at least 0, got -1"),
        (
            lambda: mcnemar(1, 2, alternative="more"),
            ArgumentError,
            "alternative must be one of .*, got 'more'",
        ),
        (lambda: adjust([1.5]), ArgumentError, "p_values must be from 0 to 1, got 1.5"),
        (
            lambda: adjust([0.5], method="sidak"),
            ArgumentError,
            "method must be one of bh, by, holm, got 'sidak'",
        ),
        (
            lambda: permutation_test([True], [True, False]),
            DataError,
            "contrast must have 1 outcomes, got 2",
        ),
        (lambda: permutation_test([True], [True], measure="mar"), ArgumentError, "two series"),
        (
            lambda: permutation_test([[True]] * 3, [[True]] * 3),
            ArgumentError,
            "stereotyped must have 1 or 2 series, got 3",
        ),
        (
            lambda: permutation_test([True], [True], n_resamples=0),
            ArgumentError,
            "n_resamples must be at least 1, got 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_test_result_goes_to_a_frame_and_json():
    result = mcnemar(3, 9)
    assert result.to_frame()["p_value"][0] == result.p_value
    assert '"alternative": "two-sided"' in result.to_json()


SIDE = st.lists(st.integers(0, 4), min_size=4, max_size=4)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=70),
    st.sampled_from(ALTERNATIVES),
    st.integers(0, 2**64 - 1),
)
def test_the_sampled_swap_test_equals_the_twin(clusters, alternative, seed):
    # Both series must score the same pairs, so each scenario holds as many of either.
    first = [one for one, _ in clusters]
    second = [
        [*two[:3], two[3] + sum(one) - sum(two)] if sum(two) < sum(one) else one
        for one, two in clusters
    ]
    codes = np.stack([np.concatenate([np.repeat(np.arange(4), row) for row in side])
        for side in (first, second)])  # fmt: skip
    scenario = np.repeat(np.arange(len(first)), [sum(row) for row in first])
    found = permutation_test(
        *flags(codes), scenario=scenario, measure="mar", alternative=alternative, n_resamples=30,
        rng=seed,
    )  # fmt: skip
    if found.p_value is None:
        assert found.reason in {"no_value", "no_discordant_pair"}
        return
    occupied = [i for i, row in enumerate(first) if sum(row)]
    rows = ([first[i] for i in occupied], [second[i] for i in occupied])
    expected = twin.swap_test(*rows, "mar", alternative, 30, seed)
    assert found.p_value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [10**6, 6 * 10**9])
@pytest.mark.parametrize("z", [0.5, 4, 30])
def test_mid_p_is_right_at_any_count(n, z):
    # P(C > c) + P(C = c) / 2, from scipy's tail and probability, as logarithms.
    c = n // 2 + round(z * math.sqrt(n) / 2)
    tails = [scipy_stats.binom.logsf(c, n, 0.5), scipy_stats.binom.logpmf(c, n, 0.5) - math.log(2)]
    expected = np.logaddexp(*tails)
    if not math.isfinite(tails[0]):
        pytest.skip("scipy's tail underflows here")
    found = mcnemar(n - c, c, alternative="greater", mid_p=True)
    assert found.log_p_value == pytest.approx(expected, rel=1e-6)
    two_sided = mcnemar(n - c, c, mid_p=True)
    assert two_sided.log_p_value == pytest.approx(math.log(2) + expected, rel=1e-6)


def test_few_clusters_cannot_reject_and_the_result_says_so():
    found = permutation_test(*flags([2] * 5), scenario=range(5))
    assert (found.p_value, found.warnings) == (0.0625, ("few_units",))
    assert permutation_test(*flags([2] * 6), scenario=range(6)).warnings == ()


@pytest.mark.parametrize("clustered", [False, True])
def test_a_p_value_that_underflows_keeps_its_logarithm(clustered):
    # 1,200 misfires and no reverse: one pattern of 2^1200, by pair and by scenarios of one pair.
    scenario = np.arange(1_200) if clustered else None
    found = permutation_test(
        np.zeros(1_200), np.ones(1_200), scenario=scenario, alternative="greater"
    )
    assert found.p_value == 0.0
    assert found.log_p_value == pytest.approx(-1_200 * math.log(2))


def test_fifty_thousand_single_pairs_are_a_binomial():
    rng = np.random.default_rng(4)
    wrong = rng.random((2, 50_000)) < 0.51
    stereotyped, contrast = wrong[0], ~wrong[0]
    found = permutation_test(stereotyped, contrast)
    n_for = int(np.sum(~stereotyped & contrast))
    expected = scipy_stats.binomtest(n_for, 50_000).pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    assert found.log_p_value == pytest.approx(math.log(expected), rel=1e-9)
