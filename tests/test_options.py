"""Options reach signatures, and panels are those of the class that defines a field."""

import importlib
import inspect
import math
import pkgutil
import re
import typing
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import misfired
from misfired.cli import COMMANDS, load
from misfired.cli.options import split_words
from misfired.errors import ArgumentError
from misfired.options import Options, entries
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


def all_classes(base=Options):
    for each in base.__subclasses__():
        yield each
        yield from all_classes(each)


def numbers() -> dict[str, tuple[type[Options], str, type]]:
    """Every option that is a number, by its class and name."""
    for module in pkgutil.walk_packages(misfired.__path__, "misfired."):
        if module.name.endswith("options") or module.name == "misfired.cli.plan":
            importlib.import_module(module.name)
    found = {}
    for cls in all_classes():
        for name, each in entries(cls).items():
            kinds = {each.annotation, *typing.get_args(each.annotation)}
            if name != "rng" and typing.get_origin(each.annotation) is not tuple:
                found |= {f"{cls.__name__}.{name}": (cls, name, k) for k in kinds & {int, float}}
    return found


@pytest.mark.parametrize("which", numbers())
def test_every_number_has_limits_that_are_said(which):
    cls, name, kind = numbers()[which]
    beyond = [10**30, -(10**30)]
    beyond += [math.nan, math.inf, -math.inf, 1e300] if kind is float else []
    for value in beyond:
        with pytest.raises(ArgumentError, match=f"^{name} must be .*, got {re.escape(str(value))}"):
            cls(**{name: value})


def commands() -> list[tuple[str, str, list[Any]]]:
    """Every command with its words and its options that are numbers."""
    found = []
    for name in COMMANDS:
        main = typer.main.get_command(load(name))
        for word, each in getattr(main, "commands", {"": main}).items():
            kinds = [(one.opts[0], one.type_descriptor.annotation) for one in each.params]
            options = [(flag, kind) for flag, kind in kinds if kind in (int, float)]
            found += [(name, word, options)] if options else []
    return found


@pytest.mark.parametrize(("name", "word", "options"), commands())
def test_a_number_of_the_command_line_is_read_in_one_way(name, word, options):
    app = load(name)
    for place, (flag, kind) in enumerate(options):
        # All of them on the first option, one on each other.
        values = ["1e30", "9" * 5_000, "x"] if kind is int else ["nan", "-inf", "1e999", "x"]
        for value in values if not place else values[:1]:
            result = CliRunner().invoke(app, [*filter(None, [word]), f"{flag}={value}"])
            said = " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())
            assert result.exit_code == 2, flag
            rule = r"must (be a (whole |finite )?number|have at most 25 digits)"
            assert re.search(rule, said), said
