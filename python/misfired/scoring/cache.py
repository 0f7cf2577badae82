"""Answers kept across runs; the key of each is made from everything that decides it."""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from misfired.errors import CacheError, DataError, MisfiredWarning
from misfired.files import make_folder
from misfired.reading import parse_json
from misfired.scoring.backend import Row
from misfired.scoring.forms import Form
from misfired.scoring.rows import KEY, RowCheck

if TYPE_CHECKING:
    from misfired.scoring.llama.engine import Job

FILE = "answers.sqlite3"
#: Changes whenever keys or rows are made in another way.
FORMAT = 1
#: Seconds that a process waits for another that writes.
PATIENCE = 60.0

#: Returns the sound row of a key, from what a cache holds under it.
Check = Callable[[bytes, Any], Row]


def _plain(_: bytes, content: Row) -> Row:
    return content


class AnswerCache:
    """A table from keys to answers in a folder, created if missing; several processes may share it.

    Each row carries a checksum of itself. Errors are never kept.

    Raises:
        CacheError: It cannot be created, read or written, or is damaged; the message names the file.
    """

    def __init__(self, folder: Path | str) -> None:
        self.file, self._wrong = Path(folder) / FILE, set[bytes]()
        try:
            make_folder(self.file.parent)
        except OSError as error:
            raise CacheError(f"{self.file.parent}: {error.strerror}") from None
        with self._named(), ExitStack() as stack:
            # Transactions begin by hand: one that Python begins cannot wait for a writer.
            self._connection = sqlite3.connect(self.file, timeout=PATIENCE, isolation_level=None)
            # As they lie there: text that is none is found by its row.
            self._connection.text_factory = bytes
            stack.callback(self.close)
            with self._writing():
                (found,) = self._connection.execute("PRAGMA user_version").fetchone()
                if found not in {0, FORMAT}:
                    raise CacheError(f"{self.file}: format must be {FORMAT}, got {found}")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS answers "
                    "(key BLOB PRIMARY KEY, row TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID"
                )
                self._connection.execute(f"PRAGMA user_version = {FORMAT}")
            stack.pop_all()

    def get(self, keys: Iterable[bytes], check: Check = _plain) -> dict[bytes, Row]:
        """Return the answers that are known and sound, by key.

        `check` returns the row of a key from its content, or raises a `DataError`. A row that is not sound
        is left out, and replaced when `put` gets its answer; one `MisfiredWarning` says what is wrong.
        """
        query, execute = "SELECT row, checksum FROM answers WHERE key = ?", self._connection.execute
        with self._named():
            rows = [(key, *row) for key in keys for row in execute(query, (key,))]
        known, wrong = {}, {}
        for key, text, checksum in rows:
            try:
                known[key] = check(key, _content(key, text, checksum))
            except DataError as error:
                wrong[key] = str(error)
        self._wrong |= wrong.keys()
        if wrong:
            key, problem = next(iter(wrong.items()))
            many = "" if len(wrong) == 1 else f", and {len(wrong) - 1} more"
            said = f"row {key.hex()[:12]}... is left out: {problem}{many}; the answer is computed again"
            warnings.warn(f"{self.file}: {said}", MisfiredWarning, stacklevel=2)
        return known

    def put(self, answers: Mapping[bytes, Row]) -> None:
        """Keep answers, except errors."""
        kept = [(key, row) for key, row in answers.items() if row["outcome"] != "error"]
        texts = [(key, json.dumps(row, ensure_ascii=False)) for key, row in kept]
        rows = [(key, text, _checksum(key, text.encode())) for key, text in texts]
        wrong = [(key,) for key, _ in kept if key in self._wrong]
        with self._named(), self._writing():
            self._connection.executemany("DELETE FROM answers WHERE key = ?", wrong)
            self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            is_busy = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
            hint = "it may be deleted: runs fill it again"
            if is_busy:
                hint = f"another program has held it for {PATIENCE:.0f} s"
            raise CacheError(f"{self.file}: {error} ({hint})") from None


class ShardCache:
    """What a cache knows of one shard, and what it shall learn; nothing without a cache.

    Prompts go by their number; `recorded` are an interrupted run's answers, with their keys.
    """

    def __init__(
        self,
        cache: AnswerCache | None,
        keys: Mapping[int, bytes],
        recorded: Mapping[int, Row],
        check: RowCheck,
        expected: Sequence[str],
    ) -> None:
        """Look the prompts with these keys up; `check` and the right answers say which rows are sound."""
        self._cache, self._recorded = cache, recorded
        self._fresh: list[Row] = []
        right = {key: expected[row] for row, key in keys.items()}
        found = {}
        if cache is not None:

            def sound(key: bytes, content: Any) -> Row:
                row = check.read(content, right[key])
                if row["outcome"] == "error":
                    raise DataError("outcome must be an answer's, got an error")
                return row

            found = cache.get(keys.values(), sound)
        self.known = {row: keyed(found[key], key) for row, key in keys.items() if key in found}

    def learn(self, answers: Iterable[Row]) -> None:
        """Remember fresh answers, which carry their keys."""
        self._fresh += answers

    def store(self) -> None:
        """Store what was learnt and what was recorded; the recorded answer wins where a key has both."""
        if self._cache is not None:
            answers = [row for row in (*self._fresh, *self._recorded.values()) if KEY in row]
            bare = [{name: row[name] for name in row if name != KEY} for row in answers]
            keys = [bytes.fromhex(row[KEY]) for row in answers]
            self._cache.put(dict(zip(keys, bare, strict=True)))

    @property
    def counts(self) -> dict[str, int]:
        """Number of answers from the cache, for the manifest."""
        return {} if self._cache is None else {"n_from_cache": len(self.known)}


def keyed(answer: Row, key: bytes) -> Row:
    """Return an answer with its key, for a journal that another machine may resume from."""
    return {**answer, KEY: key.hex()}


def job_keys(job: Job, scope: Mapping[str, Any]) -> dict[int, bytes]:
    """Return a key for each prompt of a job that has text.

    `scope` is everything that changes an answer beside token ids, answer forms, expected answers and
    baseline: model, protocol, settings, versions.
    """
    start = _digest({**scope, "baseline": job.baseline, "in_reasoning": job.in_reasoning})
    keys = {}
    for row, prompt in job.prompts.items():
        digest, ids = start.copy(), prompt.ids
        own = [len(ids), prompt.answers.keep, prompt.n_tokens, prompt.expected]
        digest.update(json.dumps(own).encode() + ids.astype("<i4").tobytes())
        digest.update(_forms(prompt.answers.forms))
        keys[row] = digest.digest()
    return keys


def key_of(decides: Mapping[str, Any]) -> bytes:
    """Return a key from everything that decides an answer; the order of fields does not matter."""
    return _digest(decides).digest()


def _digest(decides: Mapping[str, Any]) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode())


@functools.lru_cache(maxsize=64)
def _forms(forms: tuple[Form, ...]) -> bytes:
    return json.dumps([[form.answer, form.text, form.tokens] for form in forms]).encode()


def _content(key: bytes, text: Any, checksum: Any) -> Any:
    """Return the content of a row of the table; a `DataError` if it is none."""
    if not isinstance(text, bytes) or _checksum(key, text) != checksum:
        raise DataError("damaged, it does not match its checksum")
    return parse_json(text, allow_nan=True)


def _checksum(key: bytes, text: bytes) -> bytes:
    return hashlib.sha256(key + text).digest()[:16]
