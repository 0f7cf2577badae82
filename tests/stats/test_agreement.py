import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa

from misfired.errors import ArgumentError, DataError
from misfired.stats import agreement
from reference import inference as twin


def ratings(n_items=40, n_raters=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n_items)
    noise = rng.integers(0, 3, (n_items, n_raters))
    return np.where(rng.random((n_items, n_raters)) < 0.6, truth[:, None], noise)


def test_krippendorff_published_example():
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: 4 observers, 12
    # units, missing values, nominal: alpha = 0.743.
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    found = agreement([list(column) for column in zip(*rows, strict=True)])
    assert found.value == pytest.approx(0.743, abs=0.0005)
    assert (found.n_items, found.n_raters) == (11, 4)
    assert found.low < found.value < found.high


@given(
    st.lists(
        st.lists(st.sampled_from(["yes", "no", None]), min_size=3, max_size=3),
        min_size=1,
        max_size=9,
    )
)
def test_krippendorff_equals_the_twin(items):
    found = agreement(items, n_resamples=10)
    expected = math.nan
    if any(sum(x is not None for x in item) > 1 for item in items):
        expected = twin.krippendorff(items)
    if math.isnan(expected):
        assert found.value is None
        assert found.reason in {"constant", "no_scored_pair"}
    else:
        assert found.value == pytest.approx(expected, abs=1e-12)


def test_cohen_agrees_with_statsmodels():
    rows = ratings(n_raters=2)
    table = np.zeros((3, 3))
    np.add.at(table, (rows[:, 0], rows[:, 1]), 1)
    assert agreement(rows, method="cohen").value == pytest.approx(cohens_kappa(table).kappa)


def test_fleiss_agrees_with_statsmodels():
    rows = ratings()
    expected = fleiss_kappa(aggregate_raters(rows)[0])
    assert agreement(rows, method="fleiss").value == pytest.approx(expected)


def test_the_interval_is_the_bootstrap_of_clusters():
    rows, cluster = ratings(60), np.repeat(np.arange(20), 3)
    found = agreement(rows, cluster=cluster, n_resamples=4_000)
    rng = np.random.default_rng(9)
    values = []
    for _ in range(600):
        drawn = rng.integers(0, 20, 20)
        values.append(
            twin.krippendorff(np.concatenate([rows[cluster == g] for g in drawn]).tolist())
        )
    # 2.67 sd / sqrt(B) is the standard error of a 2.5 % quantile; four of them.
    slack = 4 * 2.67 * np.std(values) / math.sqrt(600)
    assert found.low == pytest.approx(np.quantile(values, 0.025), abs=slack)
    assert found.high == pytest.approx(np.quantile(values, 0.975), abs=slack)


def test_threads_cannot_change_a_bit():
    rows = ratings()
    assert agreement(rows, n_threads=1) == agreement(rows, n_threads=7)


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([[1, 2], [1]], {}, DataError, "one column for each rater, got none or other lengths"),
        ([], {}, DataError, "got none"),
        ([[1, 2, 3]], {"method": "cohen"}, DataError, "must be of 2 raters for cohen, got 3"),
        ([[1, 2], [1, None]], {"method": "fleiss"}, DataError, "got 1 to 2 ratings"),
        ([[1, 2]], {"method": "scott"}, ArgumentError, "method must be one of .*, got 'scott'"),
        (
            [[1, 2]],
            {"confidence_level": 0},
            ArgumentError,
            "confidence_level must be between 0 and 1, got 0",
        ),
        ([[1, 2]], {"n_resamples": 0}, ArgumentError, "n_resamples must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(rows, options, error, message):
    with pytest.raises(error, match=message):
        agreement(rows, **options)


RATING = st.sampled_from(["yes", "no", "other"])


@pytest.mark.parametrize(("method", "n_raters"), [("cohen", 2), ("fleiss", 3)])
@settings(deadline=None)
@given(data=st.data())
def test_kappas_equal_the_twins(method, n_raters, data):
    row = st.lists(RATING, min_size=n_raters, max_size=n_raters)
    items = data.draw(st.lists(row, min_size=1, max_size=9))
    found = agreement(items, method=method, n_resamples=10)
    expected = getattr(twin, method)(items)
    if math.isnan(expected):
        assert (found.value, found.reason) == (None, "constant")
    else:
        assert found.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", ["cohen", "fleiss", "krippendorff"])
@pytest.mark.parametrize("seed", [0, 2**63])
def test_the_interval_equals_the_twin(method, seed):
    rows, cluster = ratings(30, n_raters=2, seed=4), np.repeat(np.arange(10), 3)
    found = agreement(rows, method=method, cluster=cluster, n_resamples=40, rng=seed)
    clusters = [rows[cluster == g].tolist() for g in range(10)]
    expected = twin.percentiles(clusters, getattr(twin, method), 40, seed)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-12)


def test_resamples_without_a_value_are_counted_and_named():
    # A resample of the three items that agree on y alone has no chance to disagree: (3/4)^4 of all.
    found = agreement([["y", "y"], ["y", "y"], ["y", "y"], ["n", "y"]], n_resamples=4_000)
    expected = 4_000 * 0.75**4
    assert found.n_undefined == pytest.approx(expected, abs=5 * math.sqrt(expected))
    assert "undefined_resamples" in found.warnings
