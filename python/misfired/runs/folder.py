"""Run folders: the files of a run, and how an interrupted run resumes.

`manifest.json` says how the numbers were made, `pairs.parquet` what was asked. `answers.jsonl` grows
during a run by a line per prompt, flushed after every batch. `answers.parquet`, `summary.json` and
`analyses.json` are written at the end. They appear by rename, so that a partial file never looks complete.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import polars as pl

from misfired.errors import DataError, RunFolderError
from misfired.files import read_table, replacing
from misfired.runs.manifest import FORMAT, MANIFEST, N_ROWS, load_manifest, pairs_sha256
from misfired.scoring.answers import NO_TEXT

PAIRS, JOURNAL, ANSWERS = "pairs.parquet", "answers.jsonl", "answers.parquet"
SUMMARY, ANALYSES, _LOCK = "summary.json", "analyses.json", ".lock"


class RunFolder(AbstractContextManager["RunFolder"]):
    """The folder of one run, created if missing, and locked while this object is open.

    Attributes:
        manifest: What the manifest holds.
        complete: True if the run has ended.
        recorded: Answers of an interrupted run, by number of the prompt.

    Raises:
        RunFolderError: The folder cannot be written, is in use by another process, or was made with
            other settings; the message names them.
        DataError: A file is damaged in a way that an interruption does not explain.
    """

    def __init__(self, path: Path | str, settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self._journal: IO[bytes] | None = None
        with _named(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.path / _LOCK)
            try:
                self._lock.acquire(blocking=False)
            except filelock.Timeout:
                raise RunFolderError(f"{self.path}: another process is using this run") from None
        try:
            if not (self.path / MANIFEST).exists():
                strangers = sorted(p.name for p in self.path.iterdir() if p.name != _LOCK)
                if strangers:
                    holds = f"(it holds {strangers[0]!r})"
                    raise RunFolderError(f"{self.path}: not a run folder, and not empty {holds}")
                running = {"format": FORMAT, "status": "running", "settings": settings}
                self._write_json(MANIFEST, running)
            self.manifest = load_manifest(self.path)
            plain = json.loads(json.dumps(settings))
            if differences := "; ".join(_differences(self.manifest["settings"], plain)):
                raise RunFolderError(
                    f"{self.path}: made with other settings: {differences}. "
                    "Name another folder, or use the same settings."
                )
            self.complete = self.manifest.get("status") == "complete"
            recorded = self._read_journal()
            self.recorded = {n: row for n, row in recorded if row.get("outcome") != "error"}
        except BaseException:
            self.close()
            raise

    def keep_pairs(self, pairs: pl.DataFrame) -> None:
        """Write the measured pairs if they are missing; the settings hold their SHA-256."""
        file = self.path / PAIRS
        if not file.exists():
            with _named(file), replacing(file) as temporary:
                pairs.lazy().sink_parquet(temporary, row_group_size=N_ROWS)

    def append(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Append answers to the journal."""
        with _named(self.path / JOURNAL):
            if self._journal is None:
                # Unbuffered: written lines survive a kill, and closing cannot fail.
                self._journal = (self.path / JOURNAL).open("ab", buffering=0)
            lines = [json.dumps({"row": n, **row}, ensure_ascii=False) + "\n" for n, row in rows]
            self._journal.write("".join(lines).encode())

    def finish(
        self, answers: pl.DataFrame, manifest: Mapping[str, Any], tables: Mapping[str, Any]
    ) -> None:
        """Write the answers, tables (content for JSON by file name) and last the manifest; end the journal."""
        with _named(self.path), replacing(self.path / ANSWERS) as temporary:
            answers.write_parquet(temporary)
        for name, content in tables.items():
            self._write_json(name, content, indent=1, ensure_ascii=True)
        self._write_json(MANIFEST, manifest)
        self.complete = True
        if self._journal is not None:
            self._journal.close()
        (self.path / JOURNAL).unlink(missing_ok=True)

    def retry_errors(self, columns: Sequence[str]) -> bool:
        """Reopen a complete run, and return True, if prompts failed; `columns` are as in the journal."""
        answers = read_answers(self.path)
        is_error = pl.col("outcome") == "error"
        retried = answers.filter(is_error & (pl.col("reason") != NO_TEXT))
        # A journal beside complete files: an earlier retry was interrupted.
        if retried.is_empty() and not self.recorded:
            return False
        answered = answers.with_row_index("_row").filter(~is_error)
        rows = answered.select(columns).iter_rows(named=True)
        self.recorded = dict(zip(answered["_row"], rows, strict=True)) | self.recorded
        self.complete = False
        return True

    def _write_json(
        self, name: str, content: Any, *, indent: int = 2, ensure_ascii: bool = False
    ) -> None:
        text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii) + "\n"
        with _named(self.path / name), replacing(self.path / name) as temporary:
            temporary.write_bytes(text.encode())

    def _read_journal(self) -> Iterator[tuple[int, dict[str, Any]]]:
        file = self.path / JOURNAL
        if not file.exists():
            return
        with _named(file):
            content = file.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                # A kill during a write leaves at most one torn line, the last.
                with file.open("r+b") as torn:
                    torn.truncate(whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                yield row.pop("row"), row
            except (ValueError, KeyError, AttributeError) as error:
                raise DataError(f"{file}: line {number}: not a recorded answer ({error})") from None

    def close(self) -> None:
        """Close the journal and release the lock."""
        if self._journal is not None:
            self._journal.close()
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.close()


def read_answers(path: Path | str) -> pl.DataFrame:
    """Return the answers of a run folder, or of an answers file (Parquet or JSONL).

    Raises `DataError` if the run is not complete, or the file is missing or damaged.
    """
    path = Path(path)
    if path.is_dir():
        load_manifest(path, complete=True)
        path = path / ANSWERS
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in {".parquet", ".jsonl"}:
        raise DataError(f"{path}: must be a run folder, or a .parquet or .jsonl file")
    return read_table(path)


def read_pairs(path: Path | str) -> pl.DataFrame:
    """Return the pairs of a run; `DataError` if there are none or their SHA-256 is another."""
    file = Path(path) / PAIRS
    stated = load_manifest(file.parent)["settings"]["suite_sha256"]
    pairs = read_table(file)
    if (found := pairs_sha256(pairs)) != stated:
        hashes = f"sha256 {found[:12]}..., the manifest has {stated[:12]}..."
        raise DataError(f"{file}: not the pairs of this run ({hashes})")
    return pairs


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn a failed system call into an error of one line that names the file."""
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror or error}") from None


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        shown = (json.dumps(value, ensure_ascii=False) for value in (old, new))
        was, now = (text if len(text) <= 40 else text[:37] + "..." for text in shown)
        yield f"{name} was {was}, is {now}"
