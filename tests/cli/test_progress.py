"""Without a terminal a command tells its stages, what it finds, and how far it is, on stderr."""

import re
import time

import pytest

from helpers import make_suite
from misfired import score, write_suite
from misfired.cli import progress
from misfired.progress import Listener

pytestmark = pytest.mark.model


class Heard(Listener):
    """Keeps all it hears, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, ...]] = []

    def stage(self, name: str) -> None:
        self.all.append(("stage", name))

    def tell(self, name: str, text: str) -> None:
        self.all.append(("tell", name, text))

    def end(self) -> None:
        self.all.append(("end",))

    def __call__(self, done: int, total: int) -> None:
        self.all.append(("count", str(done), str(total)))


def test_a_run_tells_stages_facts_and_counts(small_model) -> None:
    heard = Heard()
    score(small_model, make_suite(12), n_threads=1, progress=heard)
    stages = [each[1] for each in heard.all if each[0] == "stage"]
    assert stages == ["loading", "trial", "scoring", "check", "statistics"]
    told = {each[1]: each[2] for each in heard.all if each[0] == "tell"}
    assert list(told) == ["model", "device", "template", "pairs", "packing"]
    assert re.search(r"llama, [\d.]+[kM] parameters, .*B: f32 100 %", told["model"])
    assert told["device"] == "1 CPU thread"
    assert told["pairs"].endswith("24 prompts")
    assert heard.all[-4:-1] == [("count", "24", "24"), ("stage", "check"), ("stage", "statistics")]
    assert heard.all[-1] == ("end",)


def test_a_function_hears_the_counts(small_model) -> None:
    counts = []
    score(small_model, make_suite(4), n_threads=1, progress=lambda *count: counts.append(count))
    assert counts[-1] == (8, 8)


def test_a_command_without_a_terminal_writes_lines(small_model, tmp_path, misfired) -> None:
    write_suite(make_suite(12), tmp_path / "suite.parquet")
    done = misfired(
        "score", small_model, "--suite", tmp_path / "suite.parquet", "-o", tmp_path / "r"
    )
    lines = done.err.splitlines()
    assert lines[0] == "[0:00] loading"
    assert all(re.match(r"\[\d+:\d\d\] \S", line) for line in lines)
    names = [line.split(maxsplit=1)[1].split(":")[0] for line in lines]
    order = ["loading", "model", "device", "template", "pairs", "trial", "packing", "scoring"]
    assert names[: len(order)] == order
    assert names[-2:] == ["check", "statistics"]


def test_a_stage_that_says_nothing_is_told_after_a_while(capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.5)
    with progress.progress_shown() as shown:
        shown("base").stage("loading")
        shown("over").end()
        time.sleep(2.2)
    first, second, *more = capsys.readouterr().err.splitlines()
    assert first == "[0:00] base: loading"
    assert re.fullmatch(r"\[0:0[12]\] base: loading, for 0:0[12]", second)
    assert not any("over" in line for line in more)
