"""A run folder resumes after any interruption and refuses what does not belong to it."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helpers import final_files, make_suite
from misfired import RunFolderError, read_answers, run, score, write_suite
from misfired.errors import DataError
from misfired.files import replacing
from misfired.runs.finished import PAIRS, SUMMARY, open_run
from misfired.runs.folder import JOURNAL, RunFolder, read_pairs
from misfired.runs.manifest import MANIFEST
from misfired.runs.plan import Plan
from misfired.scoring.protocol import get_protocol
from misfired.scoring.rows import RowCheck

pytestmark = pytest.mark.model


def test_a_run_leaves_its_files_and_reads_them_again(small_model, tmp_path) -> None:
    first = run(small_model, make_suite(), out=tmp_path / "run", n_resamples=200)
    again = run(small_model, make_suite(), out=tmp_path / "run", n_resamples=200)
    assert first.scores.answers.equals(again.scores.answers)
    assert first.summary.equals(again.summary)
    assert first.scores.answers.equals(read_answers(tmp_path / "run"))
    assert final_files(tmp_path / "run")["others"] == []
    assert len(first.scores.answers) == 48


def test_a_run_keeps_its_pairs(small_model, tmp_path) -> None:
    score(small_model, make_suite(), out=tmp_path)
    assert read_pairs(tmp_path).equals(make_suite())
    make_suite().reverse().write_parquet(tmp_path / PAIRS)
    with pytest.raises(DataError, match=r"pairs.parquet: not the pairs of this run \(sha256 "):
        read_pairs(tmp_path)
    (tmp_path / PAIRS).unlink()
    with pytest.raises(DataError, match=r"pairs.parquet: No such file"):
        read_pairs(tmp_path)


GENERATE = """
name = "generate-short"
version = "1"
instruction = "Answer with yes or no."
reading = "text"
n_generate = 12

[answers]
yes = ["Yes"]
no = ["No"]
"""


@pytest.mark.parametrize(
    ("protocol", "n_kills"),
    [
        ("logit", 4),
        pytest.param("generate", 3, marks=pytest.mark.ci),
        pytest.param("logit", 20, marks=pytest.mark.slow),
        pytest.param("generate", 20, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_the_run_ends_the_same(
    protocol: str, n_kills: int, small_model, tmp_path
) -> None:
    suite = tmp_path / "suite.parquet"
    write_suite(make_suite(120), suite)
    (tmp_path / "generate.toml").write_text(GENERATE)
    named = "logit" if protocol == "logit" else str(tmp_path / "generate.toml")

    def command(folder: Path) -> list[str]:
        options = f"--suite {suite} -o {folder} --protocol {named} --n-batch 32 --n-resamples 200"
        return [sys.executable, "-m", "misfired", "run", str(small_model), *options.split()]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command(tmp_path / "calm"), check=True, **quiet)
    n_rows = len(read_answers(tmp_path / "calm"))
    rng = random.Random(7)
    n_killed = 0
    # Every fourth dies at a random time, most often while it starts; the others once so many answers
    # are recorded, and a moment later, which falls within a batch or within a write.
    for number, n_lines in enumerate(sorted(rng.sample(range(1, n_rows), n_kills))):
        process = subprocess.Popen(command(tmp_path / "hurt"), **quiet)
        journal = tmp_path / "hurt" / JOURNAL
        deadline = time.monotonic() + rng.uniform(0.0, 2.0) if number % 4 == 3 else float("inf")
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and journal.read_bytes().count(b"\n") >= n_lines:
                time.sleep(rng.uniform(0.0, 0.01))
                break
            time.sleep(0.001)
        n_killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert n_killed >= 0.75 * n_kills, "the runs were over before they could be killed"
    subprocess.run(command(tmp_path / "hurt"), check=True, **quiet)
    assert final_files(tmp_path / "hurt") == final_files(tmp_path / "calm")


def test_a_torn_last_line_is_repaired(small_model, tmp_path) -> None:
    whole = run(small_model, make_suite(), out=tmp_path / "whole", n_resamples=200)
    settings = json.loads((tmp_path / "whole" / MANIFEST).read_text())["settings"]
    with RunFolder(tmp_path / "torn", settings) as folder:
        rows = whole.scores.answers.drop(
            "id", "category", "scenario", "priming", "condition", "expected"
        ).to_dicts()
        ids = whole.scores.answers["id"]
        folder.append(((ids[n], n % 2), rows[n]) for n in range(5))
    with (tmp_path / "torn" / JOURNAL).open("a") as journal:
        journal.write('{"pair": "pair_2", "prompt": 1, "answer": "ye')
    resumed = run(small_model, make_suite(), out=tmp_path / "torn", n_resamples=200)
    assert resumed.scores.manifest["times"]["n_resumed_from"] == 5
    assert final_files(tmp_path / "torn") == final_files(tmp_path / "whole")


def test_a_broken_line_in_the_middle_is_named(tmp_path) -> None:
    with RunFolder(tmp_path, {"x": 1}) as folder:
        folder.append([(("p", 0), {"answer": "yes"})])
    lines = ('{"pair": "p", "prompt": 0}', "not json", '{"pair": "p", "prompt": 1}')
    (tmp_path / JOURNAL).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"answers\.jsonl: line 2: not a recorded answer"):
        RunFolder(tmp_path, {"x": 1})


def test_other_settings_are_refused_by_name(small_model, tmp_path) -> None:
    score(small_model, make_suite(), out=tmp_path)
    with pytest.raises(RunFolderError, match=r"mode was \"exact\", is \"fast\""):
        score(small_model, make_suite(), out=tmp_path, mode="fast")
    with pytest.raises(RunFolderError, match="n_pairs was 24, is 12; suite_sha256 was"):
        score(small_model, make_suite(12), out=tmp_path)
    with pytest.raises(RunFolderError, match="statistics was null"):
        run(small_model, make_suite(), out=tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match=r"not a run folder.*thesis\.tex"):
        RunFolder(tmp_path, {})


def test_two_processes_exclude_each_other(tmp_path) -> None:
    with RunFolder(tmp_path, {}), pytest.raises(RunFolderError, match="another process"):
        RunFolder(tmp_path, {})
    RunFolder(tmp_path, {}).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file/run: "):
        RunFolder(tmp_path / "file" / "run", {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    with RunFolder(tmp_path / "run", {}) as folder:
        (tmp_path / "run" / JOURNAL).symlink_to("/dev/full")
        with pytest.raises(RunFolderError, match=r"answers\.jsonl: No space left on device"):
            folder.append([(("p", 1), {})])


def test_an_unfinished_run_is_not_read_as_a_whole_one(tmp_path) -> None:
    RunFolder(tmp_path, {}).close()
    with pytest.raises(DataError, match="not complete"):
        read_answers(tmp_path)


def test_shards_change_no_answer(small_model, tmp_path, monkeypatch) -> None:
    whole = score(small_model, make_suite(50), priming=["cue"])
    monkeypatch.setattr("misfired.prompts.prompt_set.N_SHARD", 7)
    sharded = score(small_model, make_suite(50), priming=["cue"], out=tmp_path)
    assert sharded.answers.select("id", "answer", "outcome").equals(
        whole.answers.select("id", "answer", "outcome")
    )
    logits = [frame["logit_diff"].to_numpy() for frame in (sharded.answers, whole.answers)]
    np.testing.assert_allclose(*logits, rtol=0, atol=1e-5)


JOURNAL_LINES = {
    "another key": '{"row": 0}',
    "no object": "[]",
    "a number": "3",
    "deep": "[" * 100_000,
    "NUL": "\x00",
    "prompt below 0": {"prompt": -1},
    "prompt beyond": {"prompt": 2},
    "prompt huge": {"prompt": 10**9},
    "prompt no integer": {"prompt": 1e9},
    "prompt true": {"prompt": True},
    "pair of another run": {"pair": "pair_99"},
    "pair no text": {"pair": ["pair_1"]},
    "outcome unknown": {"outcome": "banana"},
    "outcome null": {"outcome": None},
    "outcome no text": {"outcome": 1},
    "probability above 1": {"logp_yes": 0.5},
    "mass above 1": {"mass": 1.5},
    "not finite": {"logit_diff": float("nan")},
    "a text for a number": {"mass": "0.5"},
    "true for a number": {"top_logp": True},
    "no number": {"logp_no": None},
    "fewer tokens than none": {"n_prompt_tokens": -1},
    "half a character": {"top_token": "\ud800"},
    "no answer": {"answer": None},
    "an answer of no protocol": {"answer": "perhaps"},
    "outcome against the answer": {"outcome": "wrong", "answer": "yes"},
    "an unknown field": {"extra": 1},
    "a key that is none": {"cache_key": "zz"},
}


@pytest.fixture(scope="module")
def recorded(small_model, tmp_path_factory):
    """A finished run as (settings, lines of a journal), and how to open a folder of it."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    scores = score(small_model, make_suite(4), out=folder)
    plan, check = (
        Plan(pairs=make_suite(4), blocks=[make_suite(4)["id"]]),
        RowCheck(get_protocol("logit")),
    )
    settings = scores.manifest["settings"]
    kept = ("category", "scenario", "priming", "condition", "expected")
    rows = scores.answers.drop(kept).with_columns(prompt=pl.int_range(pl.len()).over("id"))
    lines = rows.rename({"id": "pair"}).to_dicts()

    def opened(path: Path, line: object) -> dict:
        line = line if isinstance(line, str) else json.dumps(lines[2] | line)
        RunFolder(path, settings).close()
        (path / JOURNAL).write_text("".join(f"{each}\n" for each in (json.dumps(lines[0]), line)))
        with RunFolder(path, settings, plan, check) as found:
            return found.recorded

    return opened


def test_a_sound_journal_is_taken(recorded, tmp_path) -> None:
    assert set(recorded(tmp_path, {})) == {("pair_0", 0), ("pair_1", 0)}


@pytest.mark.parametrize("name", JOURNAL_LINES)
def test_a_line_that_no_run_writes_is_named(name, recorded, tmp_path) -> None:
    with pytest.raises(DataError, match=r"answers\.jsonl: line 2: not a recorded answer") as error:
        recorded(tmp_path, JOURNAL_LINES[name])
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("place", range(5))
def test_a_stop_while_a_finished_run_is_written_anew_loses_nothing(
    place, small_model, tmp_path, monkeypatch
) -> None:
    """Between the new answers and the new manifest, the folder is a run to resume."""
    whole = score(small_model, make_suite(4), out=tmp_path)
    n_files = itertools.count()

    def stopping(path: Path):
        if next(n_files) == place:
            raise OSError(28, "No space left on device")
        return replacing(path)

    with RunFolder(tmp_path, whole.manifest["settings"]) as again, monkeypatch.context() as patched:
        patched.setattr("misfired.runs.folder.replacing", stopping)
        with pytest.raises(RunFolderError, match="No space left"):
            again.finish(whole.answers, dict(whole.manifest), {SUMMARY: []})
    assert score(small_model, make_suite(4), out=tmp_path).answers.equals(whole.answers)
    assert open_run(tmp_path).answers.equals(whole.answers)


def test_a_folder_whose_first_manifest_was_never_written_is_usable(tmp_path) -> None:
    (tmp_path / f".{MANIFEST}.7b287516.part").write_text('{"format": 1, "st')
    (tmp_path / ".lock").touch()
    RunFolder(tmp_path, {"x": 1}).close()
    assert {file.name for file in tmp_path.iterdir()} == {MANIFEST, ".lock"}
    (tmp_path / f".{PAIRS}.0123abcd.part").touch()
    RunFolder(tmp_path, {"x": 1}).close()
    assert {file.name for file in tmp_path.iterdir()} == {MANIFEST, ".lock"}


def test_a_leftover_of_another_program_is_a_stranger(tmp_path) -> None:
    (tmp_path / ".thesis.tex.7b287516.part").touch()
    with pytest.raises(RunFolderError, match=r"not a run folder.*thesis\.tex"):
        RunFolder(tmp_path, {})
