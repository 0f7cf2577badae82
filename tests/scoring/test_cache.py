"""Answers kept across runs: the same ones, under everything that decides them, never an error."""

import contextlib
import hashlib
import json
import pickle
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_suite
from misfired import score, write_suite
from misfired.errors import CacheError, MisfiredWarning
from misfired.runs.folder import JOURNAL
from misfired.scoring.cache import FILE, AnswerCache
from misfired.scoring.llama import backend as local
from misfired.scoring.llama import engine
from misfired.scoring.rows import KEY

pytestmark = pytest.mark.model

ROW = {"outcome": "correct", "answer": "yes", "logp_yes": -0.12345678901234567}


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def times(scores) -> dict:
    return scores.manifest["times"]


def kept(folder: Path) -> set[tuple[bytes, str]]:
    """All that a cache holds."""
    with sqlite3.connect(folder / FILE) as connection:
        rows = set(connection.execute("SELECT key, row FROM answers"))
    connection.close()
    return rows


def test_a_second_run_computes_nothing_and_gives_the_same(small_model, tmp_path) -> None:
    plain = score(small_model, make_suite(), template="plain")
    first = score(small_model, make_suite(), template="plain", cache=tmp_path)
    again = score(small_model, make_suite(), template="plain", cache=tmp_path)
    assert plain.answers.equals(first.answers)
    assert plain.answers.equals(again.answers)
    assert times(first)["n_from_cache"] == 0
    assert times(again)["n_from_cache"] == len(again.answers)
    assert "n_decoded_tokens" not in times(again)
    assert first.manifest["settings"] == plain.manifest["settings"], "a cache is no setting"


def test_a_larger_run_takes_what_is_known(small_model, tmp_path) -> None:
    pairs = make_suite(24)
    score(small_model, pairs.head(8), cache=tmp_path)
    larger = score(small_model, pairs, cache=tmp_path, priming=["none", "cue"])
    alone = score(small_model, pairs, priming=["none", "cue"])
    assert times(larger)["n_from_cache"] == 16
    assert larger.answers.drop("logp_yes", "logp_no", "logit_diff", "mass", "top_logp").equals(
        alone.answers.drop("logp_yes", "logp_no", "logit_diff", "mass", "top_logp")
    )
    # Packed with other prompts, what was scored in another run may differ by rounding.
    for column in ("logp_yes", "logp_no", "logit_diff"):
        assert (larger.answers[column] - alone.answers[column]).abs().max() < 1e-5


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "fast"},
        {"protocol": "logit-bare"},
        {"template": "plain", "n_shots": 1},
        {"n_batch": 64},
        {"cache_type_k": "f16"},
        {"protocol": "generate"},
    ],
)
def test_what_changes_an_answer_is_part_of_its_key(change, small_model, tmp_path) -> None:
    options = {"template": "plain", "cache": tmp_path}
    score(small_model, make_suite(8, per_scenario=2), **options)
    other = score(small_model, make_suite(8, per_scenario=2), **options | change)
    assert times(other)["n_from_cache"] == 0


def test_threads_and_context_size_are_not(small_model, tmp_path) -> None:
    options = {"cache": tmp_path}
    score(small_model, make_suite(8), n_threads=1, **options)
    other = score(small_model, make_suite(8), n_threads=2, n_ctx=2048, **options)
    assert times(other)["n_from_cache"] == 16


def test_texts_are_kept_too(small_model, tmp_path) -> None:
    first, again = (
        score(small_model, make_suite(8), protocol="generate", cache=tmp_path) for _ in range(2)
    )
    assert first.answers.equals(again.answers)
    assert times(again)["n_from_cache"] == 16


def test_errors_are_never_kept(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put({key(1): ROW, key(2): ROW | {"outcome": "error"}})
    assert cache.get([key(1), key(2), key(3)]) == {key(1): ROW}
    cache.close()


def test_more_keys_than_a_query_takes(tmp_path) -> None:
    cache = AnswerCache(tmp_path)
    cache.put({key(number): ROW | {"number": number} for number in range(1234)})
    found = cache.get([key(number) for number in range(2000)])
    assert [found[key(number)]["number"] for number in range(1234)] == list(range(1234))
    cache.close()


def test_damage_is_said_with_the_file(small_model, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / FILE).write_bytes(b"no database at all, but long enough to be read" * 99)
    with pytest.raises(CacheError, match=r"answers\.sqlite3: file is not a database"):
        score(small_model, make_suite(4), cache=tmp_path / "none")
    cache = AnswerCache(tmp_path)
    cache.put({key(1): ROW})
    cache.close()
    with sqlite3.connect(tmp_path / FILE) as changed:
        changed.execute("UPDATE answers SET row = replace(row, 'yes', 'no')")
    changed.close()
    cache = AnswerCache(tmp_path)
    with pytest.warns(
        MisfiredWarning, match="row 000000000000... is left out: damaged, it does not"
    ):
        assert cache.get([key(1)]) == {}
    cache.put({key(1): ROW})
    assert cache.get([key(1)]) == {key(1): ROW}, "what is left out is replaced"
    cache.close()


#: What stands in the table for one answer: row and checksum, from the row as it was.
DAMAGED = {
    "no number": lambda row: json.dumps(row | {"logp_yes": float("nan")}),
    "infinite": lambda row: json.dumps(row | {"mass": float("inf")}),
    "above 1": lambda row: json.dumps(row | {"logp_no": 3.5}),
    "outcome": lambda row: json.dumps(row | {"outcome": "banana"}),
    "another outcome": lambda row: json.dumps(
        row | {"outcome": {"correct": "wrong", "wrong": "correct"}[row["outcome"]]}
    ),
    "an error": lambda row: json.dumps(dict.fromkeys(row) | {"outcome": "error", "reason": "?"}),
    "answer": lambda row: json.dumps(row | {"answer": "perhaps"}),
    "field": lambda row: json.dumps({**row, "more": 1}),
    "missing": lambda row: json.dumps({k: v for k, v in row.items() if k != "mass"}),
    "a list": lambda _: "[]",
    "text": lambda _: "no JSON",
    "deep": lambda _: "[" * 100_000,
    "type": lambda row: json.dumps(row | {"mass": "much"}),
    "pickle": pickle.dumps,
    "integer": lambda _: 7,
}


@pytest.fixture(scope="module")
def filled(small_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    score(small_model, make_suite(4), cache=folder)
    return folder


@pytest.mark.parametrize("name", DAMAGED)
def test_a_row_that_no_run_writes_is_left_out_in_one_line(
    name, filled, small_model, tmp_path
) -> None:
    shutil.copy(filled / FILE, tmp_path / FILE)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as changed, changed:
        each, row = changed.execute("SELECT key, row FROM answers").fetchone()
        value = DAMAGED[name](json.loads(row))
        content = value if isinstance(value, bytes) else str(value).encode()
        changed.execute(
            "UPDATE answers SET row = ?, checksum = ? WHERE key = ?",
            (value, hashlib.sha256(each + content).digest()[:16], each),
        )
    whole = score(small_model, make_suite(4))
    with pytest.warns(MisfiredWarning) as told:
        found = score(small_model, make_suite(4), cache=tmp_path)
    kept = ["id", "answer", "outcome"]
    assert found.answers.select(kept).equals(whole.answers.select(kept))
    assert (found.answers["logit_diff"] - whole.answers["logit_diff"]).abs().max() < 1e-5
    assert times(found)["n_from_cache"] == 7
    (line,) = (str(one.message) for one in told)
    assert f"{tmp_path / FILE}: row {each.hex()[:12]}... is left out: " in line
    assert "\n" not in line
    assert len(line) < 500
    again = score(small_model, make_suite(4), cache=tmp_path)
    assert times(again)["n_from_cache"] == 8, "the sound answer has taken its place"


def test_a_cache_that_another_program_holds_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("misfired.scoring.cache.PATIENCE", 0.1)
    AnswerCache(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CacheError, match=r"database is locked \(another program has held"):
            AnswerCache(tmp_path)


def test_another_format_and_a_folder_that_cannot_be_made(tmp_path) -> None:
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(CacheError, match="format must be 1, got 99"):
        AnswerCache(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="file/cache: Not a directory"):
        AnswerCache(tmp_path / "file" / "cache")


def test_two_processes_share_it(tmp_path) -> None:
    code = (
        "import sys\n"
        "from misfired.scoring.cache import AnswerCache\n"
        "own = int(sys.argv[2])\n"
        "cache = AnswerCache(sys.argv[1])\n"
        "for turn in range(40):\n"
        "    rows = {(n * 2 + own).to_bytes(32, 'big'): {'outcome': 'correct', 'n': n, 'by': own}\n"
        "            for n in range(turn * 10, turn * 10 + 10)}\n"
        "    cache.put(rows)\n"
        "    assert len(cache.get(list(rows))) == 10\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(own)]) for own in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    cache = AnswerCache(tmp_path)
    assert len(cache.get([key(number) for number in range(800)])) == 800
    cache.close()


def test_a_killed_run_with_a_cache_ends_as_one_that_was_not(small_model, tmp_path) -> None:
    """The cache learns of a shard when it is done, so that a repeated one plans the same batches."""
    pairs = make_suite(24)
    for name in ("calm", "hurt"):
        score(small_model, pairs.head(8), cache=tmp_path / f"cache-{name}")
    calm = score(small_model, pairs, out=tmp_path / "calm", cache=tmp_path / "cache-calm")

    class Killed(BaseException):
        pass

    def kill(n_done: int, _: int) -> None:
        if n_done > 30:
            raise Killed

    with pytest.raises(Killed):
        score(
            small_model,
            pairs,
            out=tmp_path / "hurt",
            cache=tmp_path / "cache-hurt",
            n_batch=None,
            progress=kill,
        )
    hurt = score(small_model, pairs, out=tmp_path / "hurt", cache=tmp_path / "cache-hurt")
    assert calm.answers.equals(hurt.answers)
    left, right = (
        json.loads(Path(tmp_path / name / "manifest.json").read_text()) for name in ("calm", "hurt")
    )
    assert times(hurt)["n_from_cache"] == 16
    del left["times"], right["times"]
    assert left == right


#: Decoded tokens a block: a suite of 24 pairs has several.
N_BLOCK = 512

KILLED = f"""
import os, signal, sys
from misfired import read_suite, score
from misfired.scoring.llama import engine
from misfired.scoring.rows import KEY
model, suite, out, cache, n_kept = sys.argv[1:]
engine.N_BLOCK = {N_BLOCK}
def die(n_done, _):
    if n_done >= int(n_kept):
        os.kill(os.getpid(), signal.SIGKILL)
score(model, read_suite(suite), out=out, cache=cache or None, progress=die)
"""


def killed_run(model: Path, folder: Path, *, cache: Path | str, n_kept: int = 25) -> int:
    """Kill a run with SIGKILL once that many answers are recorded; return how many were."""
    write_suite(make_suite(24), folder / "suite.parquet")
    arguments = [model, folder / "suite.parquet", folder / "hurt", cache, n_kept]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert done.returncode == -9
    return len((folder / "hurt" / JOURNAL).read_bytes().splitlines())


def test_what_a_killed_run_recorded_reaches_the_cache(small_model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(engine, "N_BLOCK", N_BLOCK)
    pairs = make_suite(24)
    calm = score(small_model, pairs, cache=tmp_path / "cache-calm")
    n_recorded = killed_run(small_model, tmp_path, cache=tmp_path / "cache-hurt")
    assert 25 <= n_recorded < 48
    assert kept(tmp_path / "cache-hurt") == set(), "the cache learns of whole shards"
    hurt = score(small_model, pairs, out=tmp_path / "hurt", cache=tmp_path / "cache-hurt")
    assert times(hurt)["n_decoded_tokens"] < times(calm)["n_decoded_tokens"], "blocks were skipped"
    assert hurt.answers.equals(calm.answers)
    assert kept(tmp_path / "cache-hurt") == kept(tmp_path / "cache-calm")
    again = score(small_model, pairs, cache=tmp_path / "cache-hurt")
    assert times(again)["n_from_cache"] == 48
    assert again.answers.equals(calm.answers)


def test_a_run_killed_without_a_cache_and_resumed_with_one(
    small_model, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(engine, "N_BLOCK", N_BLOCK)
    killed_run(small_model, tmp_path, cache="")
    hurt = score(small_model, make_suite(24), out=tmp_path / "hurt", cache=tmp_path / "cache")
    again = score(small_model, make_suite(24), cache=tmp_path / "cache")
    assert times(again)["n_from_cache"] == 48
    assert again.answers.equals(hurt.answers)
    assert KEY not in hurt.answers.columns


def test_what_another_machine_recorded_is_kept_as_that_ones(
    small_model, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(engine, "N_BLOCK", N_BLOCK)
    cache = tmp_path / "cache"
    n_recorded = killed_run(small_model, tmp_path, cache=cache)
    here = local.computed_on
    other = {"devices": ["another device"]}
    monkeypatch.setattr(local, "computed_on", lambda devices: here(devices) | other)
    score(small_model, make_suite(24), out=tmp_path / "hurt", cache=cache)
    there = score(small_model, make_suite(24), cache=cache)
    monkeypatch.setattr(local, "computed_on", here)
    again = score(small_model, make_suite(24), cache=cache)
    assert times(again)["n_from_cache"] == n_recorded
    assert 0 < times(there)["n_from_cache"] < 48
