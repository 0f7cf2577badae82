"""Options reach signatures, and panels are those of the class that defines a field."""

import inspect
import typing

import pytest

import misfired
from misfired.cli.options import split_words
from misfired.errors import ArgumentError
from misfired.options import entries
from misfired.runs.options import RunOptions
from misfired.scoring.options import ScoringOptions
from misfired.stats.options import ResamplingOptions


@pytest.mark.parametrize("function", ["run", "score", "run_many"])
def test_a_function_names_its_options(function):
    function = getattr(misfired, function)
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    for name, each in entries(ScoringOptions).items():
        assert hints[name] == each.annotation
        assert parameters[name].default == each.default
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert "options" not in hints


def test_run_takes_the_options_of_both_stages_once():
    hints = typing.get_type_hints(misfired.run)
    assert hints["n_resamples"] is int
    assert hints["seed"] is int
    assert hints["return"] is misfired.Run


def test_an_unknown_option_is_named():
    with pytest.raises(ArgumentError, match="unknown option 'sed'"):
        ScoringOptions.of({"sed": 1})


def test_taking_options_removes_them_from_the_keywords():
    keywords = {"unit": "pair", "mode": "fast"}
    assert ResamplingOptions.take(keywords).unit == "pair"
    assert keywords == {"mode": "fast"}


def test_panels_are_those_of_the_class_that_defines_a_field():
    panels = {name: each.panel for name, each in entries(ScoringOptions).items()}
    assert panels["concurrency"] == "Server"
    assert panels["split_mode"] == "Devices"
    assert panels["cache_type_k"] == "K/V cache"
    assert panels["seed"] == panels["cache"] == "More"
    assert panels["protocol"] is panels["mode"] is None


def test_the_signature_of_run_is_what_run_accepts():
    own = {"model", "pairs", "out", "ray", "progress"}
    assert set(inspect.signature(misfired.run).parameters) - own == set(entries(RunOptions))
    assert "method" not in entries(RunOptions)


def test_words_of_the_command_line():
    assert entries(ResamplingOptions)["n_resamples"].flag == "--n-resamples"
    assert split_words("none, cue") == ["none", "cue"]
