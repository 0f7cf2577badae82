"""`bootstrap` as a function: what it takes, refuses and returns, and that threads change nothing."""

import numpy as np
import polars as pl
import pytest

from misfired.errors import ArgumentError, DataError
from misfired.stats import bootstrap
from misfired.stats.measures import MEASURES
from stats.codes import clustered, flags


def test_streams_of_a_million_are_exact(monkeypatch):
    codes, scenario = clustered(n_scenarios=12)
    few, many = (
        bootstrap(*flags(codes), scenario=scenario, method="percentile", n_resamples=n)["mar"]
        for n in (131_072, 131_073)
    )
    assert few.low == pytest.approx(many.low, abs=0.02)
    one, seven = (
        bootstrap(
            *flags(codes), scenario=scenario, method="bca", n_resamples=200_001, n_threads=n
        ).to_json()
        for n in (1, 7)
    )
    assert one == seven


@pytest.mark.parametrize("method", ["bca", "studentised"])
def test_threads_cannot_change_a_bit(method):
    codes, scenario = clustered()
    results = {
        bootstrap(*flags(codes), scenario=scenario, method=method, n_threads=n).to_json()
        for n in (1, 2, 7)
    }
    assert len(results) == 1


def test_a_frame_and_its_columns_give_the_same():
    codes, scenario = clustered()
    st_, co = flags(codes)
    frame = pl.DataFrame({"stereotyped": st_, "contrast": co, "scenario": scenario})
    assert bootstrap(frame) == bootstrap(st_, co, scenario=scenario)


def test_a_difference_of_differences():
    rng = np.random.default_rng(0)
    codes, scenario = clustered()
    series = np.stack([codes, rng.permutation(codes), rng.permutation(codes), codes])
    found = bootstrap(*flags(series), scenario=scenario, weights=[1, -1, -1, 1], measures=["mar"])
    rates = [100 * np.sum(row == 2) / np.sum(row % 2 == 0) for row in series]
    expected = rates[0] - rates[1] - rates[2] + rates[3]
    assert found["mar"].value == pytest.approx(expected, abs=1e-9)
    assert found["mar"].low < expected < found["mar"].high


def test_results_go_to_frames_and_json():
    codes, scenario = clustered()
    result = bootstrap(*flags(codes), scenario=scenario, rng=np.random.default_rng(3))
    frame = result.to_frame()
    assert frame["measure"].to_list() == list(MEASURES)
    assert f'"seed": {result.seed}' in result.to_json()
    again = bootstrap(*flags(codes), scenario=scenario, rng=result.seed)
    assert again == result
    with pytest.raises(KeyError):
        result["mad"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"contrast": None},
            ArgumentError,
            "contrast must have an outcome for each pair, got None",
        ),
        ({"contrast": [True]}, DataError, "contrast must have 2 outcomes, got 1"),
        ({"contrast": [True, "x"]}, DataError, "contrast must be true, false or missing"),
        (
            {"contrast": [1, 2]},
            DataError,
            "contrast: place 1 must be true, false or missing, got 2.0",
        ),
        ({"scenario": ["a"]}, DataError, "scenario must have 2 labels, one for each pair, got 1"),
        (
            {"scenario": ["a", None]},
            DataError,
            "scenario must have a label for each pair, got 1 of 2 without",
        ),
        ({"unit": "scenario"}, ArgumentError, "scenario must have a label .*, got None"),
        ({"weights": [1, -1]}, ArgumentError, "weights must be 1, got 2"),
        ({"weights": [0]}, ArgumentError, "weights must have one that is not 0, got all 0"),
        ({"n_resamples": "some"}, ArgumentError, "n_resamples must be a number, or .*, got 'some'"),
        ({"method": "best"}, ArgumentError, "method must be one of percentile, .*, got 'best'"),
        ({"n_resamples": "all"}, ArgumentError, "must be a number, or .*, got 'all'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    given_ = {"stereotyped": [True, False], "contrast": [True, True]} | arguments
    with pytest.raises(error, match=message):
        bootstrap(**given_)


def test_too_many_scenarios_to_take_every_resample():
    with pytest.raises(
        ArgumentError, match="n_resamples must be a number for more than 8 scenarios, got 9"
    ):
        bootstrap(*flags([0, 2, 0] * 3), scenario=range(9), method="bca", n_resamples="all")
