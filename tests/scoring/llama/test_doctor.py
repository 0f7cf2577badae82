"""The doctor names what is wrong and what to change."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import ModelError
from misfired.scoring.llama import device, doctor

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.3)


def by_name(findings: list[doctor.Finding]) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings}


def test_a_sound_installation_has_no_problem() -> None:
    found = by_name(doctor.examine())
    assert {"misfired", "llama-cpp-python", "libllama", "devices", "threads"} <= set(found)
    assert "problem" not in {finding.status for finding in found.values()}
    assert "CPU" in found["devices"].value


def test_a_model_is_timed_and_checked(small_model: Path) -> None:
    found = by_name(doctor.examine(small_model, n_threads=1))
    rate = float(found["throughput"].value.split()[0].replace(",", ""))
    assert rate > 100
    assert "packed together" in found["batch invariance"].value


def test_rounded_activations_are_noticed(real_vocabulary_model) -> None:
    found = by_name(doctor.examine(real_vocabulary_model("gpt2")))
    assert found["batch invariance"].status == "note"
    assert "--mode fast" in found["batch invariance"].advice


def test_what_is_broken_is_a_problem(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = by_name(doctor.examine(tmp_path / "none.gguf"))
    assert found["model"].status == "problem"
    assert "no such model file" in found["model"].value

    def fail() -> None:
        raise ModelError("llama_batch: its size is 48 in the installed package, 56 here")

    monkeypatch.setattr(doctor, "load_library", fail)
    found = by_name(doctor.examine(small_model))
    assert found["libllama"].status == "problem"
    assert found["model"].value == "not tried, because of the problem above"


def test_too_many_threads_and_a_missing_gpu_are_noted(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "default_threads", lambda: 1)
    monkeypatch.setattr(device, "gpus", list)
    found = by_name(doctor.examine(small_model, n_threads=2, n_gpu_layers=-1))
    assert found["threads"].advice == "--n-threads 1"
    assert found["model"].status == "problem"
    assert found["model"].value.startswith("n_gpu_layers must be 0 where")


def test_the_command_prints_lines_or_json_and_fails_on_a_problem(tmp_path: Path) -> None:
    runner = CliRunner()
    rows = [
        json.loads(line) for line in runner.invoke(load("doctor"), ["--json"]).stdout.splitlines()
    ]
    assert {"name", "value", "status", "advice"} == set(rows[0])
    broken = runner.invoke(load("doctor"), [str(tmp_path / "none.gguf")])
    assert broken.exit_code == 1
    assert "PROBLEM model" in broken.stdout
