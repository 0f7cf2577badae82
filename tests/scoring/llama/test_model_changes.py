"""A model file that changes while it answers: no answer of another file stands under its hash."""

import json
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from helpers import final_files, make_suite
from misfired import ModelError, files, read_answers, run, score, write_suite
from misfired.background import Background
from misfired.runs.folder import JOURNAL
from misfired.scoring.llama import backend, ray
from misfired.scoring.llama.backend import LocalBackend
from misfired.scoring.model_file import LoadedFile
from misfired.scoring.options import ScoringOptions

pytestmark = pytest.mark.model

OPTIONS = {"n_batch": 32, "n_threads": 1, "n_resamples": 50}


@pytest.fixture
def model(small_model, tmp_path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copy(small_model, tmp_path / "model.gguf"))


def scramble(file: Path) -> None:
    """Change weights where they lie, as `dd conv=notrunc` does; done twice, they are as before."""
    with file.open("rb+") as changed:
        changed.seek(-120_000, os.SEEK_END)
        weights = bytes(byte ^ 0x11 for byte in changed.read())
        changed.seek(-120_000, os.SEEK_END)
        changed.write(weights)


def scramble_unseen(file: Path) -> None:
    stat = file.stat()
    scramble(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace(file: Path) -> None:
    other = file.with_name("other.gguf")
    shutil.copy(file, other)
    scramble(other)
    file.rename(file.with_name("first.gguf"))
    other.rename(file)


def at(n: int, act, file: Path):
    """Act on a file once `n` prompts are done."""
    done = []

    def progress(n_done: int, _: int) -> None:
        if n_done >= n and not done:
            done.append(True)
            act(file)

    return progress


@pytest.fixture(scope="module")
def calm(small_model, tmp_path_factory) -> Path:
    """The run of a file that stays as it is."""
    out = tmp_path_factory.mktemp("calm") / "run"
    run(small_model, make_suite(60), out=out, **OPTIONS)
    return out


@pytest.mark.parametrize(
    ("change", "cached"),
    [
        (scramble, False),
        pytest.param(scramble_unseen, False, marks=pytest.mark.ci),
        (replace, False),
        pytest.param(Path.unlink, False, marks=pytest.mark.ci),
        pytest.param(scramble, True, marks=pytest.mark.ci),
    ],
)
def test_a_changed_file_ends_the_run_and_no_answer_of_it_is_kept(
    change, cached, model, calm, tmp_path
) -> None:
    suite, out = make_suite(60), tmp_path / "run"
    first = tmp_path / "kept.gguf"
    shutil.copy(model, first)
    options = OPTIONS | ({"cache": tmp_path / "cache"} if cached else {})
    with pytest.raises(
        ModelError, match=r"model\.gguf: must stay (as|where) it is during a run"
    ) as told:
        run(model, suite, out=out, progress=at(30, change, model), **options)
    assert "\n" not in str(told.value)
    expected = {
        row["id"]: row for row in read_answers(calm).filter(condition="stereotyped").to_dicts()
    }
    lines = [json.loads(line) for line in (out / JOURNAL).read_bytes().splitlines()]
    assert 0 < len(lines) < 120
    for line in lines:
        if line["prompt"] == 0:
            assert line["logit_diff"] == expected[line["pair"]]["logit_diff"]
    shutil.copy(first, model)
    run(model, suite, out=out, **options)
    if not cached:
        found, expected = final_files(out), final_files(calm)
        del found["manifest"]["model"], expected["manifest"]["model"]
        assert found == expected


def touch(file: Path) -> None:
    os.utime(file)
    file.chmod(0o600)


def same_content(file: Path) -> None:
    shutil.copy(file, file.with_name("same.gguf"))
    file.with_name("same.gguf").replace(file)


@pytest.mark.parametrize("change", [touch, same_content])
def test_a_file_with_other_times_and_the_same_content_is_taken(change, model, tmp_path) -> None:
    calm = score(model, make_suite(40), n_batch=32, n_threads=1)
    found = score(model, make_suite(40), n_batch=32, n_threads=1, progress=at(20, change, model))
    assert found.answers.equals(calm.answers)


def test_a_change_during_the_check_after_the_run_is_found(model, monkeypatch) -> None:
    def changing(*arguments: object, **options: object):
        scramble(model)
        return checked(*arguments, **options)

    checked = backend.check_run
    monkeypatch.setattr(backend, "check_run", changing)
    with pytest.raises(ModelError, match="must stay as it is during a run"):
        score(model, make_suite(8), n_threads=1)


TRUNCATED = """
import os, sys
from misfired import read_suite, score

def cut(n_done, n):
    if n_done > 20 and os.path.getsize(sys.argv[1]) > 4096:
        os.truncate(sys.argv[1], 4096)

score(sys.argv[1], read_suite(sys.argv[2]), n_batch=32, n_threads=2, out=sys.argv[3], progress=cut)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a file that is cut short is SIGBUS on Linux")
def test_a_file_that_is_cut_short_ends_in_one_line(model, tmp_path) -> None:
    write_suite(make_suite(120), tmp_path / "suite.parquet")
    arguments = [
        sys.executable,
        "-c",
        TRUNCATED,
        model,
        tmp_path / "suite.parquet",
        tmp_path / "run",
    ]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "model file" in last or "must stay as it is" in last
    assert (tmp_path / "run" / JOURNAL).stat().st_size > 0


def test_a_worker_proves_what_it_has_loaded(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ray, "_kept", [])
    setup = model, ScoringOptions(n_threads=1), ()
    settings, proof = ray._work(setup, None, None, "settings")
    assert settings["model_sha256"] == proof.sha256 == LoadedFile(model).sha256
    assert ray._work(setup, proof, None, "count_tokens", ["a"])
    kept = ray._kept[0][1]
    assert ray._work(setup, proof, None, "count_tokens", ["a"])
    assert ray._kept[0][1] is kept, "the model stays loaded"
    replace(model)
    said = rf"model\.gguf: every node must hold the same file, got sha256 {proof.sha256[:12]}\.\.\. on "
    with pytest.raises(ModelError, match=said):
        ray._work(setup, ray.Proof("n1", proof.sha256), None, "count_tokens", ["a"])
    again, _ = ray._work(setup, None, None, "settings")
    assert again["model_sha256"] != proof.sha256, "another run takes the file that is there"
    ray._kept[0][1].close()


def test_a_backend_states_what_it_has_loaded_not_what_lies_there_now(model) -> None:
    opened = LocalBackend(model, ScoringOptions(n_threads=1))
    stated = opened.settings()["model_sha256"]
    replace(model)
    assert opened.settings()["model_sha256"] == stated
    with pytest.raises(ModelError, match="its SHA-256 was"):
        opened.session.model.file.check()
    opened.close()


def test_a_file_that_is_being_written_is_another(model, monkeypatch) -> None:
    loaded = LoadedFile(model)
    assert loaded.sha256
    scramble(model)
    hashed = files.file_sha256

    def hash_while_written(*paths: Path) -> str:
        found = hashed(*paths)
        os.utime(model)
        return found

    monkeypatch.setattr(files, "file_sha256", hash_while_written)
    with pytest.raises(ModelError, match="when it was loaded, and it is being written now"):
        loaded.check()


def test_a_failed_call_keeps_nothing_of_those_who_ask_for_it() -> None:
    """What is kept for later must not keep their frames, in which a model may be open."""

    def fail() -> None:
        raise ModelError("changed")

    call = Background(fail)
    for _ in range(2):
        with pytest.raises(ModelError, match="changed") as told:
            call.result()
        assert told.traceback[0].name == "test_a_failed_call_keeps_nothing_of_those_who_ask_for_it"
    assert call._error is not None
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(call._error.__traceback__)]
    assert frames == ["_run", "fail"]
