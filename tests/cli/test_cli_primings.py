"""The primings of a run that names none are those that the suite has sentences for."""

import json

import polars as pl
import pytest

from helpers import make_suite
from misfired import write_suite


@pytest.mark.model
@pytest.mark.parametrize(("cue", "expected"), [(None, {"none"}), ("Be fair.", {"none", "cue"})])
def test_cues_are_asked_only_if_there_are_some(misfired, small_model, tmp_path, cue, expected):
    suite = make_suite(8).with_columns(cue=pl.when(pl.col("id") == "pair_0").then(pl.lit(cue)))
    write_suite(suite, tmp_path / "pairs.parquet")
    options = ("--suite", tmp_path / "pairs.parquet", "-o", tmp_path / "run", "--template", "plain")
    done = misfired("run", small_model, *options, "--n-resamples", 10, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert {row["priming"] for row in found["summary"]} - {"cue - none"} == expected
    assert found["outcomes"]["error"] == (0 if cue is None else 7)
