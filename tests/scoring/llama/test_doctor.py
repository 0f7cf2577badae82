"""The doctor names what is wrong and what to change."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import ModelError
from misfired.scoring.llama import device, doctor
from misfired.scoring.llama.model import Model
from misfired.scoring.options import ScoringOptions
from random_model import make_model

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SECONDS", 0.1)
    monkeypatch.setattr(doctor, "THOROUGH_SECONDS", 0.3)


def by_name(findings: Iterable[doctor.Finding]) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings}


def test_a_sound_installation_has_no_problem() -> None:
    found = by_name(doctor.examine())
    assert {"misfired", "library", "device", "threads", "spinning"} <= set(found)
    assert "problem" not in {finding.status for finding in found.values()}
    assert found["device"].value.startswith("CPU (")


def test_a_model_is_timed_and_checked(small_model: Path) -> None:
    found = by_name(doctor.examine(small_model, n_threads=1))
    rate = float(found["speed"].value.split()[0].replace(",", ""))
    assert rate > 100
    assert found["mode exact"].value.startswith("prompts share batches")
    assert "batch invariance" not in found
    measured = by_name(doctor.examine(small_model, thorough=True, n_threads=1))
    assert "prompts share batches" in measured["batch invariance"].value


def test_rounded_activations_are_noticed(real_vocabulary_model) -> None:
    found = by_name(doctor.examine(real_vocabulary_model("gpt2"), thorough=True))
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
    assert found["library"].status == "problem"
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


def test_each_finding_comes_before_the_next_is_looked_for(tmp_path: Path) -> None:
    findings = doctor.examine(tmp_path / "none.gguf")
    assert next(findings).name == "misfired"
    assert [each.status for each in findings][-1] == "problem"


def test_a_build_that_dies_of_quantised_weights_is_said_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "has_amx", lambda: True)
    first, second, *_ = doctor.examine()
    assert (first.name, second.name) == ("misfired", "AMX")
    assert "SIGILL" in second.value
    assert "use_extra_bufts = False" in second.advice


#: What a build for a GPU says of itself.
CUDA_BUILD = (
    "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | PEER_MAX_BATCH_SIZE = 128 | CPU : SSE3 = 1 | AVX2 = 1 | "
    "F16C = 1 | FMA = 1 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 |"
)


def test_a_gpu_has_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu(device.Device):
        def memory(self) -> tuple[int, int]:
            return 80_000_000_000, 85_000_000_000

    gpu, cpu = Gpu("CUDA0", "made up", "gpu", 0), device.Device("CPU", "made up", "cpu", 0)
    monkeypatch.setattr(device, "found_devices", lambda: [gpu, cpu])
    monkeypatch.setattr(doctor, "found_devices", lambda: [gpu, cpu])
    monkeypatch.setattr(doctor, "driver_version", lambda: "580.65.06")
    made_by = doctor.versions() | {"llama_cpp_system": CUDA_BUILD}
    monkeypatch.setattr(doctor, "versions", lambda: made_by)
    monkeypatch.setenv(doctor.GRAPHS, "1")
    found = by_name(doctor.examine())
    assert found["device"].value == "CUDA0 (made up), driver 580.65.06"
    assert found["GPU memory"].value == "80GB free of 85GB"
    assert (found["CUDA graphs"].value, found["CUDA graphs"].status) == ("off", "ok")
    assert found["CPU"].value == "CPU (made up): SSE3 AVX2 F16C FMA"
    monkeypatch.delenv(doctor.GRAPHS)
    assert by_name(doctor.examine())["CUDA graphs"].status == "note"


@pytest.mark.parametrize(
    ("quantisation", "on_gpu", "options", "packing"),
    [
        ("f32", False, {}, "packed"),
        ("f16", False, {}, "solo"),
        ("f32", False, {"cache_type_k": "f16"}, "solo"),
        ("f32", False, {"flash_attention": "on"}, "fresh"),
        ("f32", True, {}, "fresh"),
        ("f16", True, {"mode": "fast"}, "packed"),
    ],
)
def test_what_exact_will_choose(
    *, quantisation, on_gpu, options, packing, tmp_path, monkeypatch
) -> None:
    path = make_model(tmp_path / "m.gguf", "llama", quantisation=quantisation)
    with Model(path) as model:
        monkeypatch.setattr(Model, "uses_gpu", on_gpu)
        assert doctor.expected_packing(model, ScoringOptions.of(options)) == packing


def test_the_command_prints_lines_or_json_and_fails_on_a_problem(tmp_path: Path) -> None:
    runner = CliRunner()
    rows = [
        json.loads(line) for line in runner.invoke(load("doctor"), ["--json"]).stdout.splitlines()
    ]
    assert {"name", "value", "status", "advice"} == set(rows[0])
    broken = runner.invoke(load("doctor"), [str(tmp_path / "none.gguf")])
    assert broken.exit_code == 1
    assert "PROBLEM model" in broken.stdout
