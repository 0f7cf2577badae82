import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from misfired.errors import ArgumentError, DataError
from misfired.stats.measures import MEASURES, Counts, measures, outcome_codes
from reference.resampling import value as twin_value

COUNT = st.integers(0, 10**6) | st.just(0)


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, COUNT)
def test_measures_equal_the_twin(a, b, c, d):
    answers = measures(Counts(a, b, c, d))
    for name in MEASURES:
        expected = twin_value(name, [a, b, c, d])
        if np.isnan(expected):
            assert answers[name].value is None
            assert answers[name].reason is not None
        else:
            assert answers[name].value == pytest.approx(expected, rel=1e-14)
            assert answers[name].reason is None


def test_published_figures_follow_from_counts():
    # GPT-5.4-nano in arXiv 2606.18656: accuracies 43.7 and 40.4, mar 18.9, br 25.0. As shares of n:
    # c = 0.189 * 0.404, a = 0.404 - c, b = 0.437 - a.
    c = 0.189 * 0.404
    a = 0.404 - c
    counts = Counts(*(round(1e6 * share) for share in (a, 0.437 - a, c, 1 - 0.437 - c)))
    answers = {name: answer.value for name, answer in measures(counts).items()}
    assert answers["mar"] == pytest.approx(18.9, abs=0.001)
    assert answers["br"] == pytest.approx(25.0, abs=0.15)


@pytest.mark.parametrize(
    ("counts", "measure", "reason"),
    [
        (Counts(0, 0, 0, 0), "mar_joint", "no_scored_pair"),
        (Counts(0, 1, 0, 1), "mar", "no_contrast_correct"),
        (Counts(0, 0, 1, 1), "br", "no_stereotyped_correct"),
    ],
)
def test_a_zero_denominator_has_a_named_reason(counts, measure, reason):
    answer = measures(counts)[measure]
    assert (answer.value, answer.reason) == (None, reason)


def test_a_negative_count_is_refused():
    with pytest.raises(ArgumentError, match="b: -1, expected at least 0"):
        Counts(1, -1, 0, 0)


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="contrast: 1 outcomes, expected 2"):
        outcome_codes(np.zeros(2), np.zeros(1))


def test_an_unscored_side_makes_the_pair_unscored():
    counts = Counts.from_outcomes([True, None, False, False], [False, True, None, False])
    assert counts == Counts(a=0, b=1, c=0, d=1, n_unscored=2)
