"""The worked adapters of docs/suites.md run, give suites that are checked, and can be scored."""

import runpy
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from misfired import read_suite
from misfired.suites import check_pairs

ADAPTERS = Path(__file__).parents[2] / "docs" / "adapters"
FILES = {"keyword_swap": "requests.csv", "honesty": "facts.csv"}


@pytest.fixture(params=FILES)
def suite_file(request, tmp_path):
    script, source = ADAPTERS / f"{request.param}.py", ADAPTERS / FILES[request.param]
    out = tmp_path / f"{request.param}.parquet"
    subprocess.run([sys.executable, script, source, out], check=True)
    return out


def test_an_adapter_makes_a_suite_with_a_card(suite_file, misfired):
    done = misfired("suite", "validate", suite_file)
    assert (done.code, done.err) == (0, "")
    assert "6 pairs, 0 twins, 3 scenarios" in done.out
    assert done.out.splitlines()[1].endswith("agrees")
    assert check_pairs(read_suite(suite_file))["expected"] in (
        {"no/no": 2, "yes/yes": 4},
        {"no/no": 3, "yes/yes": 3},
    )


@pytest.mark.model
def test_its_suite_is_scored_like_any_other(suite_file, misfired, small_model, tmp_path):
    out = tmp_path / "run"
    done = misfired(
        *("run", small_model, "--suite", suite_file, "-o", out, "--template", "plain"),
        *("--priming", "none,cue_both", "--n-resamples", 50),
    )
    assert (done.code, "error" in done.err) == (0, False)
    assert "MAR" in done.out
    assert len(pl.read_parquet(out / "answers.parquet")) == 24


def test_a_swap_is_two_sided_keeps_case_and_undoes_itself():
    swap = runpy.run_path(str(ADAPTERS / "keyword_swap.py"))["swap"]
    text = "Tall cooks met a short cook. Short cooks are not shortbread."
    swapped = "Short cooks met a tall cook. Tall cooks are not shortbread."
    assert swap(text, "tall", "short") == swapped
    assert swap(swapped, "tall", "short") == text


def test_pressure_and_filler_are_of_like_length():
    facts = pl.read_csv(ADAPTERS / "facts.csv")
    lengths = [facts[name].str.count_matches(" ") for name in ("incentive", "filler")]
    assert (lengths[0].cast(int) - lengths[1].cast(int)).abs().max() <= 2
