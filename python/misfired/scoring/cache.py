"""Answers kept across runs; the key of each is made from everything that decides it."""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from misfired.errors import CacheError
from misfired.scoring.backend import Row
from misfired.scoring.forms import Form

if TYPE_CHECKING:
    from misfired.scoring.llama.engine import Job

FILE = "answers.sqlite3"

#: Changes whenever keys or rows are made in another way.
FORMAT = 1

#: Field of an answer in a journal: its key, in hexadecimal.
KEY = "cache_key"

#: Seconds that a process waits for another that writes.
PATIENCE = 60.0

#: Keys a query; SQLite takes 999 in its oldest builds.
_N_KEYS = 500


class AnswerCache:
    """A table from keys to answers in a folder; several processes may share it.

    Each row carries a checksum of itself. Errors are never kept.

    Args:
        folder: Created if missing.

    Raises:
        CacheError: It cannot be created, read or written, or is damaged; the message names the file.
    """

    def __init__(self, folder: Path | str) -> None:
        self.file = Path(folder) / FILE
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"{self.file.parent}: {error.strerror}") from None
        with self._named():
            # Transactions begin by hand: one that Python begins cannot wait for a writer.
            self._connection = sqlite3.connect(self.file, timeout=PATIENCE, isolation_level=None)
        try:
            with self._named():
                self._create()
        except BaseException:
            self.close()
            raise

    def _create(self) -> None:
        with self._writing():
            (found,) = self._connection.execute("PRAGMA user_version").fetchone()
            if found not in {0, FORMAT}:
                raise CacheError(f"{self.file}: format must be {FORMAT}, got {found}")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(key BLOB PRIMARY KEY, row TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID"
            )
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the answers that are known, by key."""
        found: dict[bytes, Row] = {}
        for start in range(0, len(keys), _N_KEYS):
            some = keys[start : start + _N_KEYS]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, row, checksum FROM answers WHERE key IN ({marks})"  # noqa: S608
            with self._named():
                rows = self._connection.execute(query, some).fetchall()
            for key, text, checksum in rows:
                if _checksum(key, text) != checksum:
                    raise CacheError(f"{self.file}: damaged: an answer does not match its checksum")
                found[key] = json.loads(text)
        return found

    def put(self, answers: Mapping[bytes, Row]) -> None:
        """Keep answers, except errors."""
        texts = {
            key: json.dumps(row, ensure_ascii=False)
            for key, row in answers.items()
            if row["outcome"] != "error"
        }
        rows = [(key, text, _checksum(key, text)) for key, text in texts.items()]
        with self._named(), self._writing():
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
            raise CacheError(
                f"{self.file}: {error} (it may be deleted: runs fill it again)"
            ) from None


class ShardCache:
    """What a cache knows of one shard, and what it shall learn; nothing without a cache.

    Args:
        cache: The cache, if there is one.
        keys: Key of each prompt's answer, by number of the prompt.
        recorded: Answers that an interrupted run has recorded, with their keys.
    """

    def __init__(
        self, cache: AnswerCache | None, keys: Mapping[int, bytes], recorded: Mapping[int, Row]
    ) -> None:
        self._cache, self._recorded = cache, recorded
        self._fresh: list[Row] = []
        found = {} if cache is None else cache.get(list(keys.values()))
        self.known = {row: keyed(found[key], key) for row, key in keys.items() if key in found}

    def learn(self, answers: Iterable[Row]) -> None:
        """Remember fresh answers, which carry their keys."""
        if self._cache is not None:
            self._fresh += answers

    def store(self) -> None:
        """Store what was learnt and what was recorded; the recorded answer wins where a key has both."""
        if self._cache is not None:
            answers = [*self._fresh, *self._recorded.values()]
            self._cache.put(dict(_unkeyed(answer) for answer in answers if KEY in answer))

    @property
    def counts(self) -> dict[str, int]:
        """Number of answers from the cache, for the manifest."""
        return {} if self._cache is None else {"n_from_cache": len(self.known)}


def keyed(answer: Row, key: bytes) -> Row:
    """Return an answer with its key, for a journal that another machine may resume from."""
    return {**answer, KEY: key.hex()}


def _unkeyed(answer: Row) -> tuple[bytes, Row]:
    return bytes.fromhex(answer[KEY]), {name: answer[name] for name in answer if name != KEY}


def job_keys(job: Job, scope: Mapping[str, Any]) -> dict[int, bytes]:
    """Return a key for each prompt of a job that has text.

    Args:
        job: Gives token ids, answer forms, expected answers, baseline.
        scope: Everything else that changes an answer: model, protocol, settings, versions.
    """
    common = {"baseline": job.baseline, "in_reasoning": job.in_reasoning}
    start = _digest({**scope, **common})
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


def _checksum(key: bytes, text: str) -> bytes:
    return hashlib.sha256(key + text.encode()).digest()[:16]
