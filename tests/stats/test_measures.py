import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from misfired._core import measure_values
from misfired.errors import DataError
from misfired.stats.measures import MEASURES, outcome_codes
from reference.resampling import value as twin_value

COUNT = st.integers(0, 10**6) | st.just(0)


def measured(*counts):
    """The value and the reason of each measure of (a, b, c, d)."""
    values, reasons = measure_values(np.array([counts], dtype=np.float64), list(MEASURES))
    return dict(zip(MEASURES, zip(values[0].tolist(), reasons, strict=True), strict=True))


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, COUNT)
def test_measures_equal_the_twin(a, b, c, d):
    for name, (value, reason) in measured(a, b, c, d).items():
        expected = twin_value(name, [a, b, c, d])
        if np.isnan(expected):
            assert np.isnan(value)
            assert reason is not None
        else:
            assert value == pytest.approx(expected, rel=1e-14)
            assert reason is None


def test_published_figures_follow_from_counts():
    # GPT-5.4-nano in arXiv 2606.18656: accuracies 43.7 and 40.4, mar 18.9, br 25.0. As shares of n:
    # c = 0.189 * 0.404, a = 0.404 - c, b = 0.437 - a.
    c = 0.189 * 0.404
    a = 0.404 - c
    counts = (round(1e6 * share) for share in (a, 0.437 - a, c, 1 - 0.437 - c))
    found = measured(*counts)
    assert found["mar"][0] == pytest.approx(18.9, abs=0.001)
    assert found["br"][0] == pytest.approx(25.0, abs=0.15)


def test_measures_of_whole_numbers():
    assert measured(80, 5, 20, 5)["mar"] == (20.0, None)


@pytest.mark.parametrize(
    ("counts", "measure", "reason"),
    [
        ((0, 0, 0, 0), "mar_joint", "no_scored_pair"),
        ((0, 1, 0, 1), "mar", "no_contrast_correct"),
        ((0, 5, 0, 5), "mar", "no_contrast_correct"),
        ((0, 0, 1, 1), "br", "no_stereotyped_correct"),
    ],
)
def test_a_zero_denominator_has_a_named_reason(counts, measure, reason):
    value, found = measured(*counts)[measure]
    assert np.isnan(value)
    assert found == reason


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="contrast must have 2 outcomes, got 1"):
        outcome_codes(np.zeros(2), np.zeros(1))


def test_an_unscored_side_makes_the_pair_unscored():
    nan = np.nan
    codes = outcome_codes(np.array([1, nan, 0, 0]), np.array([0, 1, nan, 0]))
    assert codes.tolist() == [1, 255, 255, 3]
