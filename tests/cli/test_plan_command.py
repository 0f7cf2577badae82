import json

import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import ArgumentError
from misfired.stats import interval_width, minimum_detectable, power, sample_size

DESIGN = {"n_scenarios": 25, "pairs_per_scenario": 8, "correlation": 0.2}
OPTIONS = ["--n-scenarios", "25", "--pairs-per-scenario", "8", "--correlation", "0.2"]


def run(*arguments):
    return CliRunner().invoke(load("plan"), list(map(str, arguments)))


def test_power_by_formula_and_by_simulation():
    shares = ["--gain", 0.2, "--loss", 0.1, *OPTIONS]
    found = json.loads(run("power", *shares, "--json").stdout)
    assert found == {"power": power(0.2, 0.1, **DESIGN)}
    simulated = json.loads(run("power", *shares, "--n-simulations", 300, "--json").stdout)
    assert simulated == {"power": power(0.2, 0.1, n_simulations=300, **DESIGN)}
    assert run("power", *shares).stdout.split() == ["power", f"{found['power']:.3g}"]


def test_detect_prints_points_of_mar_or_why_there_are_none():
    arguments = ["--loss", 0.05, "--share", 0.9, *OPTIONS, "--json"]
    found = json.loads(run("detect", *arguments).stdout)
    assert found["minimum_detectable"] == minimum_detectable(0.05, share=0.9, **DESIGN)
    hopeless = run("detect", "--loss", 0.4, "--n-scenarios", 2, "--pairs-per-scenario", 1)
    assert "no difference reaches this power" in hopeless.stdout


def test_size_prints_scenarios_and_the_width_they_give():
    design = {"pairs_per_scenario": 8, "correlation": 0.2, "share": 0.9}
    options = ["--pairs-per-scenario", 8, "--correlation", 0.2, "--share", 0.9]
    found = json.loads(run("size", "--rate", 8, "--width", 5, *options, "--json").stdout)
    n = sample_size(8, 5, **design)
    assert found == {"n_scenarios": n, "width": interval_width(8, n_scenarios=n, **design)}


@pytest.mark.parametrize("command", ["power", "detect", "size"])
def test_help_has_examples_in_80_columns(command):
    text = CliRunner(env={"COLUMNS": "80"}).invoke(load("plan"), [command, "--help"]).stdout
    assert f"misfired plan {command}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_number_out_of_range_is_named():
    failed = run("power", "--gain", 0.8, "--loss", 0.4)
    assert isinstance(failed.exception, ArgumentError)
    assert "gain must be between 0 and 1, and gain + loss at most 1, got 0.8" in str(
        failed.exception
    )
