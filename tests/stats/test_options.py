"""Defaults stand once, signatures show them, and options out of range are named."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import polars as pl
import pytest

import misfired
from misfired import stats
from misfired.errors import ArgumentError
from misfired.stats import (
    agreement,
    bootstrap,
    by_expected,
    compare,
    compare_variants,
    leaderboard,
    priming_contrasts,
    signal_detection,
    summarize,
)
from misfired.stats.columns import COLUMNS
from misfired.stats.comparison import COMPARISON_SCHEMA, VARIANTS_SCHEMA
from misfired.stats.detection import DETECTION_SCHEMA, EXPECTED_SCHEMA
from misfired.stats.families import FAMILY_SCHEMA
from misfired.stats.gating import GATE_SCHEMA
from misfired.stats.options import DEFAULTS, ResamplingOptions, SamplingOptions
from misfired.stats.people import PEOPLE_SCHEMA
from misfired.stats.priming import CONTRASTS_SCHEMA
from misfired.stats.ranks import LEADERBOARD_SCHEMA
from misfired.stats.summary import SUMMARY_SCHEMA

EVERY = {"unit", "stratified", "method", "n_resamples", "confidence_level", "rng", "n_threads"}
TAKEN = {
    agreement: EVERY - {"unit", "stratified"},
    bootstrap: EVERY,
    by_expected: EVERY,
    compare: EVERY,
    compare_variants: EVERY - {"unit"},
    leaderboard: EVERY - {"method", "n_resamples", "rng"},
    priming_contrasts: EVERY,
    signal_detection: EVERY - {"stratified"},
    summarize: EVERY,
}


@pytest.mark.parametrize("number", [10_000, 0.95])
def test_a_default_stands_once(number):
    root = Path(stats.__file__).parent
    places = [
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == number
    ]
    assert places == ["options.py"]


@pytest.mark.parametrize("function", TAKEN)
def test_signatures_and_hints_show_the_options(function):
    parameters = inspect.signature(function).parameters
    assert set(parameters) & EVERY == TAKEN[function]
    for name in {"n_resamples", "confidence_level", "rng", "n_threads"} & TAKEN[function]:
        assert parameters[name].default == getattr(DEFAULTS, name)
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    hints = get_type_hints(function)
    assert set(hints) == {*parameters, "return"}
    assert hints["confidence_level"] is float


def test_a_run_and_the_functions_share_their_defaults():
    run = ResamplingOptions()
    for name in ("n_resamples", "unit", "confidence_level", "method"):
        assert getattr(run, name) == getattr(SamplingOptions(), name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 0}, "n_resamples must be at least 1, got 0"),
        ({"confidence_level": 1.0}, "confidence_level must be between 0 and 1, got 1.0"),
        ({"unit": "prompt"}, "unit must be one of scenario, pair, got 'prompt'"),
        ({"method": "magic"}, r"method must be one of percentile, .*, got 'magic'"),
        ({"n_resample": 9}, "unknown option 'n_resample'"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        SamplingOptions.of(options)


def test_an_option_without_meaning_is_refused():
    with pytest.raises(ArgumentError, match="unknown option 'stratified'"):
        signal_detection(pl.DataFrame(), stratified=True)
    with pytest.raises(ArgumentError, match="unknown option 'unit'"):
        compare_variants(pl.DataFrame(), pl.DataFrame(), unit="pair")


def test_a_generator_is_asked_once():
    expected = int(np.random.default_rng(3).integers(0, 2**63))
    options = SamplingOptions(rng=np.random.default_rng(3))
    assert (options.seed, options.seed) == (expected, expected)


def test_every_column_is_described_and_used():
    schemas = (
        SUMMARY_SCHEMA, COMPARISON_SCHEMA, LEADERBOARD_SCHEMA, DETECTION_SCHEMA, CONTRASTS_SCHEMA,
        VARIANTS_SCHEMA, FAMILY_SCHEMA, GATE_SCHEMA, PEOPLE_SCHEMA,
    )  # fmt: skip
    assert {name for schema in schemas for name in schema} == set(COLUMNS)
    assert EXPECTED_SCHEMA.names() == ["expected", *SUMMARY_SCHEMA]
    assert all(text for _, text in COLUMNS.values())


UNWANTED = (
    "diskcache", "jinja2", "llama_cpp", "matplotlib", "pandas", "pyarrow", "rich", "scipy",
    "sqlite3", "typer", "urllib3",
)  # fmt: skip


def loaded(code):
    """The top-level modules of others that a statement loads in a new interpreter."""
    program = f"import sys; {code}; print(*{{name.split('.')[0] for name in sys.modules}})"
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(found.stdout.split())


@pytest.mark.parametrize(
    "code", ["import misfired", "import misfired.stats", "from misfired.stats import *"]
)
def test_imports_load_only_what_tables_and_the_core_need(code):
    names = loaded(code)
    assert not names & set(UNWANTED)
    plain = loaded("import polars, numpy.random, numpy.typing")
    assert {name for name in names - plain if name not in sys.stdlib_module_names} <= {
        "misfired",
        "msgspec",
        "lazy_loader",
    }


def test_options_are_read_without_polars():
    assert "polars" not in loaded("import misfired.stats.options")


def test_every_name_is_loaded_when_asked_for():
    for name in stats.__all__:
        assert getattr(stats, name).__name__ == name
    with pytest.raises(AttributeError, match=r"No misfired.stats attribute nothing"):
        stats.nothing  # noqa: B018
    assert misfired.summarize is summarize
