"""Run folders: the files of a run, and how an interrupted run resumes.

`manifest.json` says how the numbers were made, `pairs.parquet` what was asked. `answers.jsonl` grows
during a run by a line per prompt, which names pair and place in the pair, flushed after every batch.
`answers.parquet`, `summary.json` and `analyses.json` are written at the end. They appear by rename, so that
a partial file never looks complete.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import polars as pl

from misfired.errors import DataError, RunFolderError
from misfired.files import clear_leftovers, is_leftover, make_folder, replacing
from misfired.labels import LABELS, labelled
from misfired.prompts.primings import CONDITIONS
from misfired.reading import check_file, parse_json, read_bytes
from misfired.runs.checks import check_table
from misfired.runs.extension import check_order, is_extension
from misfired.runs.finished import ANALYSES, ANSWERS, PAIRS, SUMMARY, covered, open_run
from misfired.runs.manifest import FORMAT, MANIFEST, N_ROWS, load_manifest, pairs_sha256
from misfired.runs.plan import Plan
from misfired.scoring.answers import NO_TEXT
from misfired.scoring.rows import RowCheck
from misfired.tables import read_table
from misfired.text import JSON_ESCAPES

JOURNAL, _LOCK = "answers.jsonl", ".lock"

#: Files that are replaced.
_NAMES = (MANIFEST, PAIRS, JOURNAL, ANSWERS, SUMMARY, ANALYSES)
#: Columns of answers that say which prompt was asked.
_OF_PROMPTS = ("id", "category", "scenario", "twin_of", "priming", "condition", "expected")
#: A prompt: id of its pair, and its place among the prompts of the pair, from 0.
Key = tuple[str, int]


class RunFolder(AbstractContextManager["RunFolder"]):
    """The folder of one run, created if missing, and locked while this object is open.

    Attributes:
        manifest: What the manifest holds.
        complete: True if the run has ended.
        recorded: Answers of an interrupted run, or of the one that is extended, by key of the prompt.

    Raises:
        RunFolderError: The folder cannot be written, is in use by another process, or was made with
            other settings; the message names them.
        DataError: A file is damaged in a way that an interruption does not explain.
    """

    def __init__(
        self,
        path: Path | str,
        settings: dict[str, Any],
        plan: Plan | None = None,
        check: RowCheck | None = None,
    ) -> None:
        """Open the folder of a run with these settings; `plan` and `check` say what a journal may hold."""
        self.path, self._check = Path(path), check
        self._journal: IO[bytes] | None = None
        with _named(self.path):
            make_folder(self.path)
            self._lock = filelock.FileLock(self.path / _LOCK)
            try:
                self._lock.acquire(blocking=False)
            except filelock.Timeout:
                raise RunFolderError(f"{self.path}: another process is using this run") from None
        try:
            clear_leftovers(self.path, _NAMES)
            if not (self.path / MANIFEST).exists():
                found = (p for p in self.path.iterdir() if not is_leftover(p, _NAMES))
                strangers = sorted(p.name for p in found if p.name != _LOCK)
                if strangers:
                    holds = f"(it holds {strangers[0]!r})"
                    raise RunFolderError(f"{self.path}: not a run folder, and not empty {holds}")
                self._write_json(MANIFEST, _running(settings))
            self.manifest = load_manifest(self.path)
            self.complete = self.manifest.get("status") == "complete"
            plain = json.loads(json.dumps(settings))
            extends = is_extension(self.path, self.manifest, plain, plan, self.path / PAIRS)
            rows = dict(self._read_journal(plan, plain))
            if extends and self.complete:
                rows = self._answered() | rows
            if extends or not self.complete:
                check_order(self.path, {pair for pair, _ in rows}, plan)
            self.recorded = {k: row for k, row in rows.items() if row.get("outcome") != "error"}
            if extends:
                self._reopen(self.recorded, plain)
        except BaseException:
            self.close()
            raise

    def keep_pairs(self, pairs: pl.DataFrame) -> None:
        """Write the pairs unless they are there; the settings hold their SHA-256."""
        file = self.path / PAIRS
        if not file.exists() or pairs_sha256(read_table(file)) != pairs_sha256(pairs):
            with _named(file), replacing(file) as temporary, temporary.open("wb") as opened:
                pairs.lazy().sink_parquet(opened, row_group_size=N_ROWS)

    def append(self, rows: Iterable[tuple[Key, dict[str, Any]]]) -> None:
        """Append answers to the journal."""
        with _named(self.path / JOURNAL):
            if self._journal is None:
                # Unbuffered: written lines survive a kill, and closing cannot fail.
                self._journal = (self.path / JOURNAL).open("ab", buffering=0)
            self._journal.write(_lines(rows))

    def finish(
        self, answers: pl.DataFrame, manifest: dict[str, Any], tables: Mapping[str, Any]
    ) -> None:
        """Write the answers, tables (content for JSON by file name) and last the manifest; end the journal.

        The manifest gets hash and rows of every file.
        """
        if self.manifest.get("status") == "complete":
            # Errors were asked again: killed from here on, the folder is a run to resume.
            self._reopen(dict(_by_key(answers)), self.manifest["settings"])
        # polars takes names of files as text, which a name of odd bytes is not.
        file = self.path / ANSWERS
        with _named(self.path), replacing(file) as temporary, temporary.open("wb") as opened:
            answers.write_parquet(opened)
        for name, content in tables.items():
            self._write_json(name, content, indent=1, ensure_ascii=True)
        n_rows = {ANSWERS: len(answers)} | {name: len(each) for name, each in tables.items()}
        with _named(self.path):
            manifest["files"] = covered(self.path, n_rows)
        self._write_json(MANIFEST, manifest)
        self.complete = True
        if self._journal is not None:
            self._journal.close()
        (self.path / JOURNAL).unlink(missing_ok=True)

    def retry_errors(self) -> bool:
        """Reopen a complete run, and return True, if prompts failed."""
        answered = self._answered()
        failed = {k: row for k, row in answered.items() if row["outcome"] == "error"}
        # A journal beside complete files: an earlier retry was interrupted.
        if all(row["reason"] == NO_TEXT for row in failed.values()) and not self.recorded:
            return False
        self.recorded = {k: row for k, row in answered.items() if k not in failed} | self.recorded
        self.complete = False
        return True

    def _answered(self) -> dict[Key, dict[str, Any]]:
        """Return the rows of `answers.parquet` as the journal has them."""
        return dict(_by_key(read_answers(self.path)))

    def _reopen(self, rows: Mapping[Key, dict[str, Any]], settings: dict[str, Any]) -> None:
        """Make the folder that of a running run with these settings, whose journal holds these rows.

        Killed at any moment, the folder is the run that it was or the new one: lines of the journal name
        their prompts, and so are true of both.
        """
        self._close_journal()
        with _named(self.path / JOURNAL), replacing(self.path / JOURNAL) as temporary:
            temporary.write_bytes(_lines(rows.items()))
        self.manifest = _running(settings)
        self._write_json(MANIFEST, self.manifest)
        self.complete = False
        for name in (ANSWERS, SUMMARY, ANALYSES):
            (self.path / name).unlink(missing_ok=True)

    def _write_json(
        self, name: str, content: Any, *, indent: int = 2, ensure_ascii: bool = False
    ) -> None:
        text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii) + "\n"
        with _named(self.path / name), replacing(self.path / name) as temporary:
            temporary.write_bytes(text.encode(errors=JSON_ESCAPES))

    def _read_journal(
        self, plan: Plan | None, settings: Mapping[str, Any]
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Yield the recorded answers; without a plan any prompt may have one."""
        file = self.path / JOURNAL
        if not file.exists():
            return
        with _named(file):
            content = read_bytes(file)
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                # A kill during a write leaves at most one torn line, the last.
                with file.open("r+b") as torn:
                    torn.truncate(whole)
        expected = _expected(plan, settings) if whole else None
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                yield self._recorded(parse_json(line, allow_nan=True), expected)
            except DataError as error:
                said = f"line {number}: not a recorded answer of this run: {error}"
                raise DataError(
                    f"{file}: {said} (without this line the prompt is asked again)"
                ) from None

    def _recorded(self, row: Any, expected: Mapping[Key, str] | None) -> tuple[Key, dict[str, Any]]:
        if not isinstance(row, dict) or not {"pair", "prompt"} <= row.keys():
            raise DataError("must be an object with pair and prompt")
        pair, prompt = row.pop("pair"), row.pop("prompt")
        if not isinstance(pair, str) or type(prompt) is not int:
            raise DataError("pair must be a text, and prompt a whole number")
        if expected is not None and (pair, prompt) not in expected:
            raise DataError(f"no prompt {prompt} of pair {pair[:40]!r} is asked")
        if self._check is not None:
            self._check.read(row, None if expected is None else expected[pair, prompt])
        return (pair, prompt), row

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = None

    def close(self) -> None:
        """Close the journal and release the lock."""
        self._close_journal()
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.close()


def _running(settings: dict[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, "status": "running", "settings": settings}


def _by_key(answers: pl.DataFrame) -> Iterable[tuple[Key, dict[str, Any]]]:
    keys = answers.select("id", pl.int_range(pl.len()).over("id")).rows()
    rows = answers.drop(_OF_PROMPTS, strict=False).iter_rows(named=True)
    return zip(keys, rows, strict=True)


def _expected(plan: Plan | None, settings: Mapping[str, Any]) -> dict[Key, str] | None:
    """Return the right answer of every prompt of a plan, by key."""
    if plan is None:
        return None
    sides = [
        side for p in settings["primings"] for side in sorted(p["sides"], key=CONDITIONS.index)
    ]
    right = (plan.pairs[f"expected_{side}"] for side in sides)
    ids = plan.pairs["id"].to_list()
    columns = enumerate(column.to_list() for column in right)
    return {
        (pair, n): answer for n, column in columns for pair, answer in zip(ids, column, strict=True)
    }


def read_answers(path: Path | str) -> pl.DataFrame:
    """Return the answers of a run folder, or of a file of answers or outcomes (Parquet or JSONL).

    Raises `DataError` if the run is not complete, or if the file is missing, damaged, not of its folder's
    run, or holds a value that no run writes.
    """
    path = Path(path)
    if path.is_dir():
        return open_run(path).answers
    if path.name == ANSWERS and (path.parent / MANIFEST).exists():
        return open_run(path.parent).answers
    check_file(path)
    if path.suffix.lower() not in {".parquet", ".jsonl", ".ndjson"}:
        raise DataError(f"{path}: must be a run folder, or a .parquet or .jsonl file")
    table = labelled(read_table(path, labels=LABELS), LABELS - {"twin_of"}, str(path))
    return check_table(table, path)


def read_pairs(path: Path | str) -> pl.DataFrame:
    """Return the pairs of a run; `DataError` as `open_run`, or if there are none."""
    pairs = open_run(path).pairs
    if pairs is None:
        raise DataError(f"{Path(path) / PAIRS}: No such file or directory")
    return pairs


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn a failed system call into an error of one line that names the file."""
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        raise RunFolderError(f"{error.filename or path}: {error.strerror or error}") from None


def _lines(rows: Iterable[tuple[Key, dict[str, Any]]]) -> bytes:
    lines = ({"pair": pair, "prompt": prompt, **row} for (pair, prompt), row in rows)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
