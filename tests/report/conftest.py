"""Invented runs, read once for all tests of reports."""

from pathlib import Path

import pytest

from invented_run import hostile_pairs, invented_pairs, write_run
from misfired.report.measured import Measured, read_measured

QUICK = {"statistics": {"n_resamples": 200, "unit": "scenario", "confidence_level": 0.95}}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 pairs of eight categories under three primings, some unscored."""
    folder = tmp_path_factory.mktemp("runs") / "alpha"
    return write_run(folder, invented_pairs(400), model="alpha.gguf", unscored=0.03, **QUICK)


@pytest.fixture(scope="session")
def measured(run_folder: Path) -> Measured:
    return read_measured([run_folder])[0]


@pytest.fixture(scope="session")
def several(run_folder: Path) -> list[Measured]:
    """Three runs on the same pairs; the last has no margins, as people have none."""
    beta, people = (run_folder.parent / name for name in ("beta", "people"))
    pairs = invented_pairs(400)
    write_run(beta, pairs, model="beta.gguf", seed=1, harm=0.5, **QUICK)
    write_run(people, pairs, model="people.gguf", seed=2, harm=0.0, margins=False, **QUICK)
    return read_measured([run_folder, beta, people])


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    return read_measured(
        [write_run(folder, hostile_pairs(), model="<script>hit</script>.gguf", **QUICK)]
    )[0]
