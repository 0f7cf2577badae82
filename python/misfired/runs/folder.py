"""Run folders: what a run leaves behind, and how an interrupted one goes on.

`manifest.json` says how the numbers were made, `pairs.parquet` what was asked; `answers.jsonl` grows
while a run is under way, a line per prompt, flushed after every batch; `answers.parquet` and
`summary.json` are written when it is complete. Whole files appear by rename, so that none is ever taken for complete when it is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import polars as pl

from misfired.errors import DataError, RunFolderError
from misfired.files import replacing
from misfired.scoring.answers import NO_TEXT

FORMAT = 1

MANIFEST = "manifest.json"
PAIRS = "pairs.parquet"
JOURNAL = "answers.jsonl"
ANSWERS = "answers.parquet"
SUMMARY = "summary.json"
_LOCK = ".lock"

#: Pairs that are written or hashed at a time: what a large suite takes beside itself is bounded by it.
N_ROWS = 4096


class RunFolder(AbstractContextManager["RunFolder"]):
    """A folder that belongs to one run, locked while this object is open.

    Args:
        path: The folder; it is made if missing, its parents too.
        settings: What decides the numbers. A folder that was made with others is refused.

    Raises:
        RunFolderError: The folder cannot be written, is in use by another process, or was made with
            other settings; the message names them.
        DataError: A file in it is damaged in a way that an interruption does not explain.
    """

    def __init__(self, path: Path | str, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.settings = settings
        with _named(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.path / _LOCK)
            try:
                self._lock.acquire(blocking=False)
            except filelock.Timeout:
                raise RunFolderError(f"{self.path}: another process is using this run") from None
        try:
            manifest = self._read_manifest()
            self.complete = manifest.get("status") == "complete"
            if not manifest:
                self.write_manifest({"status": "running"})
            recorded = self._read_journal()
            self.recorded = {n: row for n, row in recorded if row.get("outcome") != "error"}
            self._journal: IO[bytes] | None = None
        except BaseException:
            self.close()
            raise

    def _read_manifest(self) -> dict[str, Any]:
        file = self.path / MANIFEST
        if not file.exists():
            strangers = sorted(p.name for p in self.path.iterdir() if p.name != _LOCK)
            if strangers:
                raise RunFolderError(
                    f"{self.path}: not a run folder, and not empty (it holds {strangers[0]!r})"
                )
            return {}
        manifest = read_manifest(self.path)
        differences = list(_differences(manifest["settings"], _plain(self.settings)))
        if differences:
            raise RunFolderError(
                f"{self.path}: made with other settings: {'; '.join(differences)}. "
                "Name another folder, or repeat these."
            )
        return manifest

    def write_manifest(self, content: dict[str, Any]) -> None:
        """Write the manifest whole; the settings are part of it."""
        whole = {"format": FORMAT, **content, "settings": self.settings}
        self._replace(MANIFEST, (json.dumps(whole, indent=2, ensure_ascii=False) + "\n").encode())

    def keep_pairs(self, pairs: pl.DataFrame) -> None:
        """Write the pairs that are asked, unless they are there: the settings say that they are these."""
        file = self.path / PAIRS
        if not file.exists():
            with _named(file), replacing(file) as temporary:
                pairs.lazy().sink_parquet(temporary, row_group_size=N_ROWS)

    def append(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Hand answers to the system, at the journal's end."""
        with _named(self.path / JOURNAL):
            if self._journal is None:
                # Unbuffered: what a call has written outlives a kill, and nothing is left to fail later.
                self._journal = (self.path / JOURNAL).open("ab", buffering=0)
            lines = [json.dumps({"row": n, **row}, ensure_ascii=False) + "\n" for n, row in rows]
            self._journal.write("".join(lines).encode())

    def finish(
        self, answers: pl.DataFrame, manifest: dict[str, Any], summary: list[dict[str, Any]] | None
    ) -> None:
        """Write the final files, the manifest last, and drop the journal."""
        with _named(self.path), replacing(self.path / ANSWERS) as temporary:
            answers.write_parquet(temporary)
        if summary is not None:
            self._replace(SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
        self.write_manifest({"status": "complete", **manifest})
        self.complete = True
        self._close_journal()
        (self.path / JOURNAL).unlink(missing_ok=True)

    def take_up_errors(self, columns: Sequence[str]) -> bool:
        """Go on with a complete run some of whose answers are errors; whether it is such a one.

        Args:
            columns: What is measured of a prompt, as the journal has it.
        """
        answers = read_answers(self.path)
        is_error = pl.col("outcome") == "error"
        may_pass = answers.filter(is_error & (pl.col("reason") != NO_TEXT))
        # A journal beside complete files: an earlier attempt at the errors was interrupted.
        if may_pass.is_empty() and not self.recorded:
            return False
        answered = answers.with_row_index("_row").filter(~is_error)
        rows = answered.select(columns).iter_rows(named=True)
        self.recorded = dict(zip(answered["_row"], rows, strict=True)) | self.recorded
        self.complete = False
        return True

    def _replace(self, name: str, content: bytes) -> None:
        with _named(self.path / name), replacing(self.path / name) as temporary:
            temporary.write_bytes(content)

    def _read_journal(self) -> Iterator[tuple[int, dict[str, Any]]]:
        file = self.path / JOURNAL
        if not file.exists():
            return
        with _named(file):
            content = file.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                # A kill in the middle of a write leaves at most one torn line, the last.
                with file.open("r+b") as torn:
                    torn.truncate(whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                yield row.pop("row"), row
            except (ValueError, KeyError, AttributeError) as error:
                raise DataError(f"{file}: line {number}: not a recorded answer ({error})") from None

    def _close_journal(self) -> None:
        if getattr(self, "_journal", None) is not None:
            self._journal.close()  # type: ignore[union-attr]
            self._journal = None

    def close(self) -> None:
        """Close the journal and let other processes in."""
        self._close_journal()
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.close()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        DataError: There is none, it is no JSON, or of a format that this version does not know.
    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(f"{file}: not a manifest of format {FORMAT}")
    return manifest


def read_answers(path: Path | str) -> pl.DataFrame:
    """Answers of a run folder, or of an answers file (Parquet or JSONL).

    Raises:
        DataError: The run is not complete, or the file is missing or damaged.
    """
    path = Path(path)
    if path.is_dir():
        manifest = read_manifest(path)
        if manifest.get("status") != "complete":
            raise DataError(f"{path}: this run is not complete; give its command again to go on")
        path = path / ANSWERS
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in {".parquet", ".jsonl"}:
        raise DataError(f"{path}: expected a run folder, or a .parquet or .jsonl file")
    try:
        if path.suffix == ".jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def read_pairs(path: Path | str) -> pl.DataFrame:
    """The pairs that a run was made with.

    Raises:
        DataError: The folder has none, or they are not those that its manifest tells of.
    """
    path = Path(path)
    stated = read_manifest(path)["settings"]["suite_sha256"]
    try:
        pairs = pl.read_parquet(path / PAIRS)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path / PAIRS}: cannot be read: {str(error).splitlines()[0]}") from None
    if (found := pairs_sha256(pairs)) != stated:
        raise DataError(
            f"{path / PAIRS}: not the pairs of this run (sha256 {found[:12]}..., "
            f"the manifest has {stated[:12]}...)"
        )
    return pairs


def pairs_sha256(pairs: pl.DataFrame) -> str:
    """SHA-256 of the pairs as JSON Lines, in hexadecimal."""
    digest = hashlib.sha256()
    for some in pairs.iter_slices(N_ROWS):
        digest.update(some.write_ndjson().encode())
    return digest.hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn a failed system call into one line that names the file."""
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror or error}") from None


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
