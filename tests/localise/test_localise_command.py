"""`misfired localise` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import DataError

pytestmark = pytest.mark.model

FEW = ["--n-pairs", "6", "--n-resamples", "100", "--n-threads", "1", "--n-random", "1", "--anyway"]


@pytest.fixture
def command(run_folder: Path, model_file: Callable[..., Path], tmp_path: Path) -> list[str]:
    model = str(model_file("llama"))
    out = str(tmp_path / "out")
    return [model, "--run", str(run_folder), "-o", out, *FEW]


def test_tables_figures_and_a_summary(command: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(load("localise"), command)
    assert result.exit_code == 0, result.output
    assert "onset_of_recovery" in result.stdout
    assert "Noise floor: " in result.stdout
    assert "what follows may be a leaning." in " ".join(result.stdout.split())
    for measure in ("accuracy_contrast", "yes_rate", "choice_accuracy_k", "recovery_rate"):
        assert measure in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()[:-1]) <= 80
    for name in ("layers", "gap", "recovery", "heads", "attention"):
        root = ET.parse(tmp_path / "out" / f"{name}.svg").getroot()  # noqa: S314  our own file
        assert root.tag.endswith("svg")
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    table = pl.read_parquet(tmp_path / "out" / "head_map.parquet")
    assert table["method"].n_unique() == 4
    page = tmp_path / "page.html"
    words = [command[2], "--localise", str(tmp_path / "out"), "-o", str(page)]
    assert CliRunner().invoke(load("report"), words).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "Inside the model" in text
    for name in ("layers", "gap", "recovery", "heads", "attention"):
        assert f'id="l1-{name}-title"' in text


def test_json(command: list[str]) -> None:
    options = ["--json", "--no-figures", "--probe", "heads", "--methods", "zero"]
    result = CliRunner().invoke(load("localise"), [*command, *options])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["n_failures"] == document["n_controls"]
    assert len(document["head_map"]) == 12
    assert document["check"]["instruct"]["identity"] == 0


def test_equal_figures_are_equal_files(command: list[str], tmp_path: Path) -> None:
    files = []
    for _ in range(2):
        assert CliRunner().invoke(load("localise"), [*command, "--probe", "lens"]).exit_code == 0
        files.append((tmp_path / "out" / "layers.svg").read_bytes())
    assert files[0] == files[1]


def test_a_localisation_replaces_the_one_before(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words in (["--probe", "lens"], ["--probe", "heads", "--methods", "zero"]):
        assert CliRunner().invoke(load("localise"), [*command, *words]).exit_code == 0
    names = {path.stem for path in out.iterdir()}
    assert names == {"manifest", "cases", "head_map", "heads_rows", "heads", "ablation"}


def test_a_run_is_not_overwritten(command: list[str]) -> None:
    folder = Path(command[2])
    before = (folder / "manifest.json").read_bytes()
    command[command.index("-o") + 1] = str(folder)
    result = CliRunner().invoke(load("localise"), [*command, "--probe", "lens"])
    assert isinstance(result.exception, DataError)
    assert str(result.exception).endswith("manifest.json: not the manifest of a localisation")
    assert (folder / "manifest.json").read_bytes() == before


def test_a_mistake_is_one_line(command: list[str]) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from misfired.cli import main; main()",
            "localise",
            *command,
            "--probe",
            "x",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert (
        "probes must be one of lens, patch, heads, attention, substitution, got 'x'"
        in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
