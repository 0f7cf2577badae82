"""Variables are set before llama.cpp's library loads, and those of the user stay."""

import json
import os
import subprocess
import sys

import pytest

from misfired.errors import ArgumentError
from misfired.scoring import environment

#: Says what a variable was when llama.cpp's library was loaded.
WATCHED = """
import json, os, sys
seen = {}
class Watch:
    def find_spec(self, name, *_):
        if name == "llama_cpp":
            seen.update(os.environ)
sys.meta_path.insert(0, Watch())
"""


def environment_at_load(program: str, **variables: str) -> dict[str, str]:
    """Run a program in a fresh process; return the environment in which the library was loaded."""
    names = {environment.GRAPHS, "OMP_WAIT_POLICY", *environment.HIGHEST, *environment.SPINNING}
    own = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", f"{WATCHED}\n{program}\nprint('\\n' + json.dumps(seen))"],
        env=own | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables,
        capture_output=True,
        check=True,
        text=True,
    )
    seen: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    assert seen, "the library was not loaded"
    return seen


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "1"), ({environment.GRAPHS: "yes"}, "yes"), ({environment.GRAPHS: "0"}, None)],
)
def test_cuda_graphs_are_off_unless_the_user_keeps_them(variables, expected) -> None:
    seen = environment_at_load("import misfired.scoring.llama.library", **variables)
    assert seen.get(environment.GRAPHS) == expected


@pytest.mark.parametrize(
    "variables", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}], ids=str
)
def test_threads_spin_little_unless_the_user_says_how(variables) -> None:
    seen = environment_at_load("import misfired.scoring.llama.library", **variables)
    names = {"OMP_WAIT_POLICY", *environment.SPINNING}
    expected = variables or environment.SPINNING
    assert {name: seen[name] for name in names if name in seen} == expected


RUN = """
from misfired.runs.pipeline import run
from misfired.errors import ModelError
import polars as pl
from helpers import make_suite
try:
    run("none.gguf", make_suite(1), precision={precision!r})
except ModelError:
    pass
"""


@pytest.mark.parametrize("precision", ["default", "highest"])
def test_the_precision_is_set_before_the_library_loads(precision) -> None:
    seen = environment_at_load(RUN.format(precision=precision))
    expected = environment.HIGHEST if precision == "highest" else {}
    assert {name: seen[name] for name in environment.HIGHEST if name in seen} == expected


def test_a_variable_that_forbids_the_precision(monkeypatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with pytest.raises(ArgumentError, match="highest must go with NVIDIA_TF32_OVERRIDE=0, got '1'"):
        environment.before_loading("highest")


def test_one_precision_for_the_gpu_models_of_a_process(monkeypatch) -> None:
    for name in environment.HIGHEST:
        monkeypatch.setenv(name, environment.HIGHEST[name])
    monkeypatch.setattr(environment, "_fixed", [])
    environment.before_gpu("highest")
    environment.before_gpu("highest")
    with pytest.raises(ArgumentError, match=r"precision must be highest, as .*, got default"):
        environment.before_gpu("default")
