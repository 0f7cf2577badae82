import json

import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import ArgumentError, DataError
from misfired.stats import interval_width, minimum_detectable, power, sample_size, upper_bound

DESIGN = {"n_scenarios": 25, "pairs_per_scenario": 8, "correlation": 0.2}
OPTIONS = ["--n-scenarios", "25", "--pairs-per-scenario", "8", "--correlation", "0.2"]


def run(*arguments):
    return CliRunner().invoke(load("plan"), list(map(str, arguments)))


def test_power_of_a_design_and_of_a_suite(tmp_path):
    shares = ["--gain", 0.2, "--loss", 0.1, "--n-simulations", 300]
    found = json.loads(run("power", *shares, *OPTIONS, "--json").stdout)
    assert found == {"power": power(0.2, 0.1, n_simulations=300, **DESIGN)}
    assert run("power", *shares, *OPTIONS).stdout.split() == ["power", f"{found['power']:.3g}"]
    sizes = [1, 5, 60, 9, 30, 14]
    suite = tmp_path / "pairs.csv"
    names = [f"q{i}" for i, n in enumerate(sizes) for _ in range(n)]
    rows = [f"p{i},{name},\np{i}_no,{name},p{i}" for i, name in enumerate(names)]
    suite.write_text("\n".join(["id,scenario,twin_of", *rows]) + "\n")
    of_suite = json.loads(run("power", *shares, "--suite", suite, "--json").stdout)
    design = {"n_scenarios": 6, "pairs_per_scenario": sizes, "correlation": 0.1}
    assert of_suite == {"power": power(0.2, 0.1, n_simulations=300, **design)}
    listed = run(
        "power", *shares, "--pairs-per-scenario", "1,5,60,9,30,14", "--n-scenarios", 6, "--json"
    )
    assert json.loads(listed.stdout) == of_suite
    failed = run("power", *shares, "--suite", tmp_path / "absent.csv")
    assert isinstance(failed.exception, DataError)


def test_detect_prints_points_of_mar_or_why_there_are_none():
    arguments = ["--loss", 0.05, "--share", 0.9, *OPTIONS, "--n-simulations", 200, "--json"]
    found = json.loads(run("detect", *arguments).stdout)
    expected = minimum_detectable(0.05, share=0.9, n_simulations=200, **DESIGN)
    assert found["minimum_detectable"] == expected
    hopeless = run("detect", "--loss", 0.4, "--n-scenarios", 2, "--pairs-per-scenario", 1)
    assert "no difference reaches this power" in hopeless.stdout


def test_size_prints_scenarios_and_the_width_they_give():
    design = {"pairs_per_scenario": 8, "correlation": 0.2, "share": 0.9, "n_simulations": 100}
    options = ["--pairs-per-scenario", 8, "--correlation", 0.2, "--share", 0.9]
    options += ["--n-simulations", 100]
    found = json.loads(run("size", "--rate", 8, "--width", 9, *options, "--json").stdout)
    n = sample_size(8, 9, **design)
    assert found == {"n_scenarios": n, "width": interval_width(8, n_scenarios=n, **design)}


def test_zero_prints_the_rule_of_three():
    # 1 - 0.05^(1 / 300), about 3 / 300.
    assert run("zero", "--n", 300).stdout.split() == ["upper_bound", "0.994"]
    options = ["--n", 100, "--cluster-size", 20, "--correlation", 0.5, "--confidence-level", 0.9]
    found = json.loads(run("zero", *options, "--json").stdout)
    expected = upper_bound(100, cluster_size=20, correlation=0.5, confidence_level=0.9)
    assert found == {"upper_bound": expected}


@pytest.mark.parametrize("command", ["power", "detect", "size", "zero"])
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
