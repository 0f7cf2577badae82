import math

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from misfired.stats import bootstrap, compare_variants, proportion_interval
from misfired.stats.measures import MEASURES
from reference import intervals as twin
from reference import rates
from stats.codes import clustered, flags, units_of

RESAMPLED = ("percentile", "basic", "bca", "studentised")


UNIT = st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(lambda u: u[0] > 0 and u[2] > 0)


@pytest.mark.parametrize("method", RESAMPLED)
@settings(deadline=None, max_examples=25)
@given(units=st.lists(UNIT, min_size=3, max_size=4), measure=st.sampled_from(MEASURES))
def test_every_resample_of_a_small_case_gives_the_twin(method, units, measure):
    codes = np.concatenate([np.repeat(np.arange(4), unit) for unit in units])
    scenario = np.repeat(np.arange(len(units)), [sum(unit) for unit in units])
    found = bootstrap(
        *flags(codes), scenario=scenario, measures=[measure], method=method, n_resamples="all",
        confidence_level=0.8,
    )[measure]  # fmt: skip
    assume(found.low is not None)
    low, high = twin.interval(method, measure, [units], [1.0], twin.every_resample(units), 0.8)
    least = -100.0 if measure == "discrepancy" else 0.0
    # The twin's standard errors are numerical derivatives; everything else is exact.
    tolerance = 1e-6 if method == "studentised" else 1e-12
    expected = [max(low, least), min(high, 100.0)]
    np.testing.assert_allclose([found.low, found.high], expected, rtol=tolerance, atol=tolerance)


def test_bca_of_a_difference_by_every_resample():
    first = [[3, 1, 1, 0], [4, 0, 2, 1], [2, 2, 1, 0], [5, 0, 1, 1]]
    codes = [np.concatenate([np.repeat(np.arange(4), u) for u in first])]
    codes.append(np.roll(codes[0], 3))
    scenario = np.repeat(np.arange(4), [sum(u) for u in first])
    units = [
        [float(np.sum(c[scenario == g] == k)) for c in codes for k in range(4)] for g in range(4)
    ]
    found = bootstrap(
        *flags(codes), scenario=scenario, weights=[1, -1], measures=["mar"], method="bca",
        n_resamples="all",
    )["mar"]  # fmt: skip
    resamples = twin.every_resample(units)
    expected = twin.interval("bca", "mar", [units], [1.0, -1.0], resamples, 0.95)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)


def test_stratified_by_every_resample():
    groups = [[[3, 1, 1, 0], [4, 0, 2, 1], [1, 0, 2, 1]], [[2, 2, 1, 0], [5, 0, 1, 1]]]
    units = [unit for group in groups for unit in group]
    codes = np.concatenate([np.repeat(np.arange(4), u) for u in units])
    sizes = [sum(u) for u in units]
    resamples = [
        [list(x), list(y)]
        for (x,) in twin.every_resample(groups[0])
        for (y,) in twin.every_resample(groups[1])
    ]
    for method in RESAMPLED:
        found = bootstrap(
            *flags(codes), scenario=np.repeat(np.arange(5), sizes), stratified=True,
            category=np.repeat([0, 0, 0, 1, 1], sizes), measures=["mar"], method=method,
            n_resamples="all", confidence_level=0.8,
        )["mar"]  # fmt: skip
        low, high = twin.interval(method, "mar", groups, [1.0], resamples, 0.8)
        expected = [max(low, 0.0), min(high, 100.0)]
        np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["percentile", "basic", "BCa"])
def test_agrees_with_scipy_to_monte_carlo_error(method):
    codes, scenario = clustered()
    units = np.array(units_of(codes, scenario))

    def mar(a, c, axis=-1):
        return 100 * c.sum(axis) / (a + c).sum(axis)

    other = scipy_stats.bootstrap(
        (units[:, 0], units[:, 2]), mar, n_resamples=40_000, method=method, paired=True,
        vectorized=True, rng=1, batch=500,
    )  # fmt: skip
    found = bootstrap(
        *flags(codes), scenario=scenario, method=method.lower(), n_resamples=40_000,
        measures=["mar"],
    )["mar"]  # fmt: skip
    # The 2.5 % quantile of B normal values has standard error 2.67 sd / sqrt(B); two independent
    # runs, four standard errors, half as much again for the shift of BCa's points.
    slack = 1.5 * 4 * math.sqrt(2) * 2.67 * other.standard_error / math.sqrt(40_000)
    assert found.low == pytest.approx(other.confidence_interval.low, abs=slack)
    assert found.high == pytest.approx(other.confidence_interval.high, abs=slack)


def test_mid_ranks_of_ties():
    # 14 of 20 successes: z0 = -0.031 with half of the ties, -0.274 without (E. Gossmann's example
    # of ties, recomputed): P(X < 14) + P(X = 14)/2 for X ~ Bin(20, 0.7).
    share = scipy_stats.binom.cdf(13, 20, 0.7) + scipy_stats.binom.pmf(14, 20, 0.7) / 2
    assert scipy_stats.norm.ppf(share) == pytest.approx(-0.031, abs=0.0005)
    codes = [0] * 6 + [2] * 14
    found = bootstrap(*flags(codes), measures=["mar"], method="bca", n_resamples=400_000)["mar"]
    # The acceleration of a mean is the skewness over 6 sqrt(n): (1 - 2p) / sqrt(p q n) / 6.
    slope = -(0.3 - 0.7) / math.sqrt(0.21 * 20) / 6 * -1
    z = scipy_stats.norm.ppf(share)
    points = []
    for tail in (0.025, 0.975):
        step = z + scipy_stats.norm.ppf(tail)
        points.append(scipy_stats.norm.cdf(z + step / (1 - slope * step)))
    low, high = (5 * scipy_stats.binom.ppf(p, 20, 0.7) for p in points)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_the_standard_error_is_that_of_a_cluster_robust_regression():
    codes, scenario = clustered()
    keep = (codes == 0) | (codes == 2)
    misfire = (codes[keep] == 2).astype(float)
    fit = sm.OLS(misfire, np.ones(len(misfire))).fit(
        cov_type="cluster", cov_kwds={"groups": scenario[keep]}
    )
    found = bootstrap(*flags(codes), scenario=scenario, method="normal")["mar"]
    assert found.value == pytest.approx(100 * fit.params[0])
    assert found.standard_error == pytest.approx(100 * fit.bse[0], rel=1e-10)
    np.testing.assert_allclose([found.low, found.high], 100 * fit.conf_int()[0], rtol=1e-10)


def test_t_and_logit_from_the_standard_error():
    codes, scenario = clustered()
    t = scipy_stats.t.ppf(0.975, 59)
    normal = bootstrap(*flags(codes), scenario=scenario, method="normal")["mar"]
    found = bootstrap(*flags(codes), scenario=scenario, method="t")["mar"]
    step = t * normal.standard_error
    assert found.low == pytest.approx(found.value - step, rel=1e-9)
    # Delta method: the slope of ln(p / (1 - p)) is 1 / (p (1 - p)).
    p = found.value / 100
    centre, half = math.log(p / (1 - p)), t * normal.standard_error / 100 / (p * (1 - p))
    logit = bootstrap(*flags(codes), scenario=scenario, method="logit")["mar"]
    expected = [100 / (1 + math.exp(-(centre + side * half))) for side in (-1, 1)]
    np.testing.assert_allclose([logit.low, logit.high], expected, rtol=1e-9)


@pytest.mark.parametrize(("method", "name"), [("wilson", "wilson"), ("clopper_pearson", "beta")])
@pytest.mark.parametrize("hits", [0, 3, 50, 97, 100])
def test_plain_proportions_agree_with_statsmodels(method, name, hits):
    low, high = proportion_confint(hits, 100, 0.05, name)
    expected = [100 * np.nan_to_num(low), 100 * np.nan_to_num(high, nan=1.0)]
    found = proportion_interval(hits, 100, method=method)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    codes = [2] * hits + [0] * (100 - hits)
    by_pair = bootstrap(*flags(codes), measures=["mar"], method=method)["mar"]
    np.testing.assert_allclose([by_pair.low, by_pair.high], expected, rtol=1e-9, atol=1e-9)


def test_clustered_rates_use_the_effective_size():
    codes, scenario = clustered()
    error = bootstrap(*flags(codes), scenario=scenario, method="normal")["mar"].standard_error
    t = scipy_stats.t.ppf(0.975, 59)
    p, n = np.mean(codes[codes % 2 == 0] == 2), np.sum(codes % 2 == 0)
    size = min(n, p * (1 - p) / (error / 100) ** 2)
    wilson = bootstrap(*flags(codes), scenario=scenario, method="wilson")["mar"]
    centre = (p + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t / (1 + t**2 / size) * math.sqrt(p * (1 - p) / size + t**2 / (4 * size**2))
    np.testing.assert_allclose(
        [wilson.low, wilson.high], [100 * (centre - half), 100 * (centre + half)]
    )


@settings(deadline=None, max_examples=40)
@given(
    units=st.lists(UNIT, min_size=3, max_size=12), measure=st.sampled_from([*rates.CELLS]),
    level=st.sampled_from([0.8, 0.95]),
)  # fmt: skip
def test_the_default_interval_of_a_rate_equals_the_twin(units, measure, level):
    codes = np.concatenate([np.repeat(np.arange(4), unit) for unit in units])
    scenario = np.repeat(np.arange(len(units)), [sum(unit) for unit in units])
    found = bootstrap(
        *flags(codes), scenario=scenario, measures=[measure], confidence_level=level
    )[measure]  # fmt: skip
    expected = rates.interval(rates.clusters(measure, units), level)
    np.testing.assert_allclose([found.low, found.high], 100 * np.array(expected), rtol=1e-7)
    assert found.method == "clopper_pearson"


@settings(deadline=None, max_examples=40)
@given(
    tables=st.lists(st.lists(UNIT, min_size=4, max_size=4), min_size=3, max_size=9),
    measure=st.sampled_from([*rates.CELLS]),
    weights=st.sampled_from([[1, -1], [1, -1, -1, 1], [0.5, 0.25, 0.25], [-1]]),
)
def test_the_default_interval_of_a_sum_of_rates_equals_the_twin(tables, measure, weights):
    n = max(sum(unit) for table in tables for unit in table)
    tables = [[[unit[0] + n - sum(unit), *unit[1:]] for unit in table] for table in tables]
    series = range(len(weights))
    codes = np.stack([
        np.concatenate([np.repeat(np.arange(4), table[i]) for table in tables]) for i in series
    ])  # fmt: skip
    scenario = np.repeat(np.arange(len(tables)), n)
    found = bootstrap(*flags(codes), scenario=scenario, weights=weights, measures=[measure])
    estimate = found[measure]
    assert estimate.method == "mover"
    if estimate.reason == "constant":
        assert estimate.standard_error == 0
        return
    terms = [rates.clusters(measure, [table[i] for table in tables]) for i in series]
    expected = 100 * np.array(rates.mover(terms, weights, 0.95))
    least, most = (100 * sum(w for w in weights if w * sign > 0) for sign in (-1, 1))
    expected = np.clip(expected, least, most)
    np.testing.assert_allclose([estimate.low, estimate.high], expected, rtol=1e-7, atol=1e-9)


def test_independent_rates_are_newcombes_hybrid():
    # Newcombe 1998, table II, method 10 with exact limits for Wilson's: l1, u1 and l2, u2 of 56 of 70
    # and 48 of 80; the difference is sqrt((p1 - l1)^2 + (u2 - p2)^2) below, the mirror above.
    st_ = np.concatenate([np.arange(70) >= 56, np.full(80, np.nan)])
    other = np.concatenate([np.full(70, np.nan), np.arange(80) >= 48])
    outcomes = [
        pl.DataFrame({
            "id": [f"p{i}" for i in range(150)], "scenario": [f"q{i}" for i in range(150)],
            "category": "c", "priming": "none", "stereotyped": pl.Series(x).fill_nan(None).cast(bool),
            "contrast": True,
        })
        for x in (st_, other)
    ]  # fmt: skip
    row = compare_variants(*outcomes).filter(slice="overall", measure="mar").row(0, named=True)
    limits = [bootstrap(frame.drop_nulls(), method="mover")["mar"] for frame in outcomes]
    (one, two), gap = limits, 100 * (0.8 - 0.6)
    low = gap - math.hypot(one.value - one.low, two.high - two.value)
    high = gap + math.hypot(one.high - one.value, two.value - two.low)
    # No scenario has pairs of both, so that the rates are correlated by their shares alone: 0.
    # G / (G - 1) counts all scenarios there, and the run's own here.
    np.testing.assert_allclose([row["low"], row["high"]], [low, high], rtol=0.02)


def test_a_first_misfire_cannot_narrow_the_interval():
    scenario = np.repeat(np.arange(199), 10)
    ends = {}
    for misfires in (0, 1, 2, 1_988, 1_989, 1_990):
        codes = np.where(np.arange(1_990) < misfires, 2, 0)
        found = bootstrap(*flags(codes), scenario=scenario, measures=["mar"])["mar"]
        ends[misfires] = found.low, found.high
    assert ends[0][1] == pytest.approx(1.86, abs=0.01)
    for misfires in (1, 2):
        assert ends[0][1] <= ends[misfires][1] < 2
        # The mirror, where a run does nothing else but misfire.
        assert ends[1_990 - misfires][0] == pytest.approx(100 - ends[misfires][1])


def test_an_unbounded_interval_of_the_default_is_that_of_bca():
    # Few scenarios have a discordant pair: many resamples hold none and have no standard error.
    codes, scenario = np.zeros(160, dtype=int), np.repeat(np.arange(16), 10)
    codes[[3, 14]], codes[25] = 2, 1
    asked = {"scenario": scenario, "measures": ["discrepancy"]}
    found = bootstrap(*flags(codes), **asked)["discrepancy"]
    assert found == bootstrap(*flags(codes), **asked, method="bca")["discrepancy"]
    assert (found.method, found.reason) == ("bca", None)
    plain = bootstrap(*flags(codes), **asked, method="studentised")["discrepancy"]
    assert (plain.low, plain.reason) == (None, "unbounded")


def test_few_units_are_scenarios_with_a_pair_that_counts():
    # 30 scenarios; in 6 of them a contrast answer is right.
    codes, scenario = np.where(np.arange(120) < 24, 0, 3), np.arange(120) // 4
    codes[::9] = np.where(codes[::9] == 0, 2, 3)
    found = bootstrap(*flags(codes), scenario=scenario)
    assert "few_units" in found["mar"].warnings
    assert "few_units" not in found["mar_joint"].warnings


def test_no_misfire_among_scenarios_counts_each_scenario_once():
    codes, scenario = np.zeros(50, dtype=int), np.repeat(np.arange(10), 5)
    found = bootstrap(*flags(codes), scenario=scenario, measures=["mar"])["mar"]
    # Clopper and Pearson for 0 of n: 1 - 0.025^(1/n), n = 10 scenarios times (z / t)^2.
    n = 10 * (scipy_stats.norm.ppf(0.975) / scipy_stats.t.ppf(0.975, 9)) ** 2
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(100 * (1 - 0.025 ** (1 / n)))
    logit = bootstrap(*flags(codes), scenario=scenario, measures=["mar"], method="logit")["mar"]
    assert logit.high == pytest.approx(100 * (1 - 0.025 ** (1 / 10)))


@pytest.mark.parametrize("method", ["percentile", "basic", "bca", "studentised", "normal", "t"])
@pytest.mark.parametrize(
    ("codes", "scenario", "reason"),
    [
        ([0, 0, 0, 0], [0, 0, 1, 1], "constant"),
        ([2, 2, 2, 2], [0, 0, 1, 1], "constant"),
        ([0, 2, 0, 2], [0, 0, 0, 0], "one_unit"),
        ([2], [0], "one_unit"),
        ([1, 3, 1, 1], [0, 0, 1, 1], "no_contrast_correct"),
        ([255, 255], [0, 1], "no_scored_pair"),
        ([], [], "no_scored_pair"),
    ],
)
def test_degenerate_data_have_no_interval_and_a_reason(method, codes, scenario, reason):
    st_, co = flags(codes)
    missing = np.asarray(codes) == 255
    st_, co = np.where(missing, np.nan, st_), np.where(missing, np.nan, co)
    found = bootstrap(
        st_, co, scenario=np.asarray(scenario, dtype=int), measures=["mar"], method=method
    )
    estimate = found["mar"]
    assert estimate.reason == reason
    assert (estimate.low, estimate.high) == (None, None)
    assert (estimate.value is None) == reason.startswith("no_")
    assert "few_units" in estimate.warnings
    assert found.n_unscored == missing.sum()


def test_resamples_without_a_value_are_counted_and_named():
    codes, scenario = [0, 1, 1, 1, 1, 2], [0, 1, 2, 3, 4, 5]
    estimate = bootstrap(*flags(codes), scenario=scenario, measures=["mar"], method="percentile")[
        "mar"
    ]
    assert "undefined_resamples" in estimate.warnings
    assert (estimate.low, estimate.high) == (0.0, 100.0)


def test_a_rate_method_on_a_difference_says_that_it_is_no_rate():
    codes, scenario = clustered()
    found = bootstrap(*flags(codes), scenario=scenario, method="wilson")["discrepancy"]
    assert (found.low, found.reason) == (None, "not_a_rate")


def test_logit_is_the_cluster_robust_logistic_regression():
    codes, scenario = clustered()
    keep = codes % 2 == 0
    fit = sm.GLM(codes[keep] == 2, np.ones(keep.sum()), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": scenario[keep]}, tol=1e-14
    )
    step = scipy_stats.t.ppf(0.975, 59) * fit.bse[0]
    expected = scipy_stats.logistic.cdf([fit.params[0] - step, fit.params[0] + step])
    found = bootstrap(*flags(codes), scenario=scenario, method="logit")["mar"]
    np.testing.assert_allclose([found.low, found.high], 100 * expected, rtol=1e-8)
