"""Two models of one file name are told apart wherever they meet, or refused by naming both."""

import json
import shutil

import polars as pl
import pytest

from helpers import make_suite
from misfired import ArgumentError, run, run_many
from misfired.report.measured import read_measured
from misfired.runs.names import model_names, run_names


def touch(file, content=b""):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_a_file_has_its_name_then_its_folder_then_its_hash(tmp_path):
    deep = [touch(tmp_path / side / "x/m.gguf", side.encode()) for side in "ab"]
    names = run_names([*deep, touch(tmp_path / "c/n.gguf")])
    assert names == ["x-m-ca978112", "x-m-3e23e816", "n"]
    # The longer name of one may be the name of another.
    given = [touch(tmp_path / place) for place in ("x/m.gguf", "y/m.gguf", "z/x-m.gguf")]
    assert len(set(run_names(given))) == 3


def test_models_that_cannot_be_told_apart_are_refused_by_both_paths(tmp_path):
    alike = [touch(tmp_path / side / "x/m.gguf", b"same") for side in "ab"]
    with pytest.raises(
        ArgumentError, match=r"models must differ, got .*/a/x/m.gguf and .*/b/x/m.gguf"
    ):
        run_names(alike)
    link = tmp_path / "link.gguf"
    link.symlink_to(alike[0])
    with pytest.raises(ArgumentError, match=r"'x-m' is named twice: .*/a/x/m\.gguf"):
        run_names([alike[0], link])


def test_servers_of_one_host_are_told_apart_by_their_paths():
    named = run_names(["http://h:1/v1", "http://h:1/other/v1", "http://h:2/v1"])
    assert named == ["h-1-v1", "h-1-other-v1", "h-2"]


def test_folders_of_models_and_templates_never_meet(tmp_path):
    given = [touch(tmp_path / "a.gguf"), touch(tmp_path / "a-b.gguf")]
    with pytest.raises(ArgumentError, match="names that differ, got 'a-b-c' twice"):
        run_many(given, make_suite(), out=tmp_path, templates=["b-c.jinja", "c.jinja"])


@pytest.mark.model
def test_tests_of_two_runs_keep_models_of_one_name_apart(
    small_model, recurrent_model, tmp_path, misfired
):
    options = {"n_resamples": 100, "priming": ["none"], "protocol": "logit-bare"}
    runs = []
    for place, model in (("x", small_model), ("y", recurrent_model)):
        (tmp_path / place).mkdir()
        copy = shutil.copy(model, tmp_path / place / "m.gguf")
        runs.append(tmp_path / "runs" / place)
        run(copy, make_suite(), out=runs[-1], template="plain", **options)
    assert model_names(runs) == ["x-m", "y-m"]
    found = misfired("stats", *runs, "--table", "tests", "--json")
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert {row["model"] for row in rows if row["family"] == "asymmetry"} == {"x-m", "y-m"}
    moved = shutil.copytree(runs[0], tmp_path / "moved")
    assert model_names([runs[0], moved]) == ["m", "m"]
    alike = [shutil.copytree(runs[0], tmp_path / side / "runs/x") for side in "ab"]
    assert [each.name for each in read_measured([*runs, *alike])] == [
        str(runs[0].resolve()), "runs/y", *(str(each.resolve()) for each in alike)
    ]  # fmt: skip
    refused = misfired("stats", runs[0], moved, "--table", "tests")
    assert refused.code == 2
    assert f"got {runs[0]} and {moved}, both of model 'm'" in refused.err
    twice = misfired("leaderboard", runs[0], runs[0])
    assert (twice.code, twice.err) == (
        2,
        f"error: runs must differ, got {runs[0]} and {runs[0]}, one place\n",
    )


def test_files_of_one_name_are_models_of_their_own(tmp_path, misfired):
    rows = {"id": ["p", "q"], "category": "Age", "scenario": ["s", "t"], "priming": "none"}
    frame = pl.DataFrame(rows | {"stereotyped": [True, False], "contrast": True})
    files = [touch(tmp_path / side / "outcomes.parquet") for side in "ab"]
    for file in files:
        frame.write_parquet(file)
    found = misfired("stats", *files, "--table", "tests", "--csv")
    assert "a-outcomes" in found.out
    assert "b-outcomes" in found.out
