"""A finished run folder: read as one, and checked against its manifest before anything uses it.

Every command that reads a run reads it here. The manifest holds the SHA-256 and the rows of each file; a
folder of an older version has none, and is checked against the prompts that its pairs and primings make.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import DataError, MisfiredWarning
from misfired.files import file_sha256
from misfired.labels import LABELS
from misfired.prompts.prompt_set import prompt_keys
from misfired.runs.checks import check_table
from misfired.runs.manifest import MANIFEST, Manifest, load_manifest, pairs_sha256
from misfired.tables import read_table

PAIRS, ANSWERS, SUMMARY, ANALYSES = (
    "pairs.parquet",
    "answers.parquet",
    "summary.json",
    "analyses.json",
)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        path: Its folder.
        content: The manifest, as it stands in the file.
        manifest: The same, for readers.
        pairs: What was asked; None if the file was taken away, as from a folder that is published.
        answers: One row per prompt.
    """

    path: Path
    content: Mapping[str, Any]
    manifest: Manifest
    pairs: pl.DataFrame | None
    answers: pl.DataFrame


def open_run(path: Path | str) -> FinishedRun:
    """Return a finished run, read from its folder and checked.

    A folder without hashes, made by an older version, gives a `MisfiredWarning`.

    Raises:
        DataError: There is no such folder, its run has not finished, or a file is missing, damaged, or
            not of this run; the message names the file.
    """
    path = Path(path)
    content = load_manifest(path, complete=True)
    manifest = Manifest.of(content, path / MANIFEST)
    _check_files(path, manifest)
    pairs = _pairs(path, manifest) if (path / PAIRS).exists() else None
    answers = check_table(read_table(path / ANSWERS, labels=LABELS), path / ANSWERS)
    for problem in _disagreements(manifest, pairs, answers):
        raise DataError(f"{path / ANSWERS}: {problem}")
    if manifest.files is None:
        warnings.warn(
            f"{path}: the manifest holds no hashes (made by an older version): prompts, rows and "
            "outcomes agree, but a changed number would not show",
            MisfiredWarning,
            stacklevel=2,
        )
    return FinishedRun(path, content, manifest, pairs, answers)


def covered(folder: Path, n_rows: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return what a manifest holds of the files of a folder, whose numbers of rows are given by name."""
    return {name: {"sha256": file_sha256(folder / name), "n_rows": n} for name, n in n_rows.items()}


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, stated in (manifest.files or {}).items():
        file = folder / name
        if Path(name).name != name:
            raise DataError(f"{folder / MANIFEST}: files must be names of files, got {name!r}")
        if name != ANSWERS and not file.exists():
            continue
        if (found := file_sha256(file)) != stated.sha256:
            hashes = f"sha256 {found[:12]}..., the manifest has {stated.sha256[:12]}..."
            raise DataError(f"{file}: not the file of this run ({hashes})")


def _pairs(folder: Path, manifest: Manifest) -> pl.DataFrame:
    file, stated = folder / PAIRS, manifest.settings.suite_sha256
    pairs = read_table(file)
    if (found := pairs_sha256(pairs)) != stated:
        hashes = f"sha256 {found[:12]}..., the manifest has {stated[:12]}..."
        raise DataError(f"{file}: not the pairs of this run ({hashes})")
    return pairs


def _disagreements(manifest: Manifest, pairs: pl.DataFrame | None, answers: pl.DataFrame) -> Any:
    """Yield what the answers have that manifest and pairs do not, most telling first."""
    settings = manifest.settings
    n_prompts = settings.n_pairs * sum(len(priming.sides) for priming in settings.primings)
    stated = (manifest.files or {}).get(ANSWERS)
    for n in (n_prompts, n_prompts if stated is None else stated.n_rows):
        if len(answers) != n:
            yield f"must have {n} rows, as the manifest says, got {len(answers)}"
    found = dict(answers["outcome"].value_counts().iter_rows())
    if found != (told := {name: n for name, n in manifest.outcomes.items() if n}):
        yield f"outcomes must be those of the manifest, {told}, got {found}"
    if pairs is not None:
        asked = prompt_keys(pairs, settings.primings)
        if not asked.equals(answers.select(asked.columns)):
            differ = [name for name in asked.columns if not asked[name].equals(answers[name])]
            yield f"must have the prompts of {PAIRS} in their order, column {differ[0]!r} differs"
