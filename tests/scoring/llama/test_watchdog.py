"""A crash and a hang of llama.cpp end in one line that says what to do, and nothing recorded is lost."""

import os
import subprocess
import sys

import pytest

from helpers import make_suite
from misfired import score, write_suite
from misfired.runs.folder import ANSWERS
from misfired.scoring.environment import GRAPHS
from misfired.scoring.llama import engine
from misfired.scoring.llama.model import Model
from misfired.scoring.llama.watchdog import workaround

pytestmark = pytest.mark.model

#: Runs a suite, and breaks off as PROBLEM does after some batches, as if a GPU took part.
PROGRAM = """
import ctypes, sys, time
from pathlib import Path
from misfired import read_suite, score
from misfired.scoring.llama import device, engine, watchdog
from misfired.scoring.llama.model import Model
from llama_cpp._ggml import libggml

Model.uses_gpu = True
engine.N_BLOCK = 256
model, suite, out, problem = sys.argv[1:]

class Broken:
    def __init__(self, scorer):
        self.scorer = scorer

    def __getattr__(self, name):
        return getattr(self.scorer, name)

    def step(self):
        if watchdog.STALL_SECONDS == 1.0:
            if problem == "abort":
                libggml.ggml_abort(b"ggml-cuda.cu", 98, b"CUDA error")
            time.sleep(60)
        journal = Path(out) / "answers.jsonl"
        if journal.exists() and journal.read_bytes().count(10) >= 20:
            # The limit of the next batch, which does not end.
            watchdog.STALL_SECONDS = 1.0
        return self.scorer.step()

original = engine.Scorer
engine.Scorer = lambda *arguments, **options: Broken(original(*arguments, **options))
score(model, read_suite(suite), out=out, n_threads=1)
"""


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("abort", "llama.cpp aborted (ggml-cuda.cu:98: CUDA error"),
        ("hang", "the GPU did not finish a batch within 1 s"),
    ],
)
def test_a_run_that_breaks_off_resumes(problem, said, small_model, tmp_path, monkeypatch) -> None:
    write_suite(make_suite(24), tmp_path / "suite.parquet")
    words = small_model, tmp_path / "suite.parquet", tmp_path / "out", problem
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (line,) = filter(None, done.stderr.splitlines())
    assert said in line
    assert "the same command resumes" in line
    assert "--device cpu" in line
    monkeypatch.setattr(Model, "uses_gpu", True)
    monkeypatch.setattr(engine, "N_BLOCK", 256)
    resumed = score(small_model, make_suite(24), out=tmp_path / "out", n_threads=1)
    assert resumed.manifest["times"]["n_resumed_from"] >= 20
    calm = score(small_model, make_suite(24), out=tmp_path / "calm", n_threads=1)
    assert resumed.answers.equals(calm.answers)
    left, right = ((tmp_path / name / ANSWERS).read_bytes() for name in ("out", "calm"))
    assert left == right


def test_the_workaround_names_what_is_not_set_yet(monkeypatch) -> None:
    monkeypatch.delenv(GRAPHS, raising=False)
    assert workaround("CUDA error").startswith(
        f"try {GRAPHS}=1 in the environment, then --device cpu"
    )
    monkeypatch.setenv(GRAPHS, "1")
    assert workaround("CUDA error").startswith("try --device cpu")
