"""What an annotator did, line by line: each line is on the disk before the next page is shown."""

import errno
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from misfired.errors import DataError
from misfired.reading import parse_json, read_bytes, shown

#: Lines of a journal: agreed to the consent text, a practice answer, a question shown, an answer, the end.
CONSENT, PRACTICE, SHOWN, ANSWER, END = "consent", "practice", "shown", "answer", "end"


class _Consent(msgspec.Struct, tag_field="event", tag=CONSENT):
    at: float
    text_sha256: str


class _Practice(msgspec.Struct, tag_field="event", tag=PRACTICE):
    at: float
    number: int
    answer: str


class _Shown(msgspec.Struct, tag_field="event", tag=SHOWN):
    at: float
    place: int
    item: str


class _Answer(msgspec.Struct, tag_field="event", tag=ANSWER):
    at: float
    place: int
    item: str
    answer: str
    revision: int
    shown: float | None


class _End(msgspec.Struct, tag_field="event", tag=END):
    at: float


#: What a line of a journal must be.
_LINE = _Consent | _Practice | _Shown | _Answer | _End

WITHDRAWN = ".withdrawn"
"""Suffix of the empty file that stands for an annotator who withdrew."""


@dataclass
class Record:
    """The journal of one annotator, and what follows from it.

    Lines are appended and synced one by one. A kill leaves at most a torn last line, which was never
    acknowledged, and which the next start removes.

    Attributes:
        file: The journal; it exists once the annotator has agreed to take part.
        mend: True cuts off a torn last line; False leaves it to the server, which may be writing it.
        consent: SHA-256 of the consent text, and when the annotator agreed to it; None before that.
        answers: By place, all revisions of the answer, the last one counts.
    """

    file: Path
    mend: bool = True
    consent: dict[str, Any] | None = None
    withdrawn: bool = False
    ended: bool = False
    practised: list[str] = field(default_factory=list)
    answers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    shown: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.withdrawn = self._marker.exists()
        if self.withdrawn and self.file.exists():
            self._delete()
        for number, line in enumerate(read_lines(self.file, mend=self.mend), start=1):
            if not self._fits(line):
                rule = "lines must follow those before, as a server writes them"
                raise DataError(f"{self.file}: {rule}, got {line['event']} in line {number}")
            self._take(line)

    @property
    def consented(self) -> bool:
        """True if the annotator has agreed to take part."""
        return self.consent is not None

    @property
    def place(self) -> int:
        """The first place without an answer; none is skipped."""
        return len(self.answers)

    def agree(self, text_sha256: str) -> None:
        """Record that the annotator read a consent text and takes part."""
        self._append({"event": CONSENT, "text_sha256": text_sha256})

    def practise(self, number: int, answer: str) -> None:
        """Record the answer to a practice item; a repeated one is ignored."""
        self._append({"event": PRACTICE, "number": number, "answer": answer})

    def show(self, place: int, item: str) -> None:
        """Record that a question is about to be shown."""
        self._append({"event": SHOWN, "place": place, "item": item})

    def answer(self, place: int, item: str, answer: str, revision: int) -> bool:
        """Record an answer; False if it is not the next revision, such as a form that is sent twice."""
        line = {"event": ANSWER, "place": place, "item": item, "answer": answer}
        return self._append(line | {"revision": revision, "shown": self.shown.get(place)})

    def end(self) -> None:
        """Record that the annotator has handed the answers in; from here on none is changed."""
        self._append({"event": END})

    def check(self, order: Sequence[str], allowed: Mapping[str, Collection[str]]) -> "Record":
        """Return the record of an annotator who has these questions.

        Args:
            order: The annotator's items.
            allowed: Answers that each item allows.

        Raises:
            DataError: It holds an answer to another question, as that of another study does, or one that
                the question does not allow.
        """
        for place, lines in self.answers.items():
            where = f"at place {place + 1} of {len(order)}"
            for line in lines:
                item, answer = line["item"], line["answer"]
                if place >= len(order) or item != order[place]:
                    rule = f"answers must be to the questions of this annotator, got {shown(item)} {where}"
                    raise DataError(f"{self.file}: {rule}")
                if answer not in allowed[item]:
                    rule = f"one of {', '.join(allowed[item])}, got {shown(answer)} {where}"
                    raise DataError(f"{self.file}: answers must be {rule}")
        return self

    def withdraw(self) -> None:
        """Delete everything that the annotator did; nothing but the fact remains."""
        try:
            self._marker.touch(mode=0o600)
            _sync_folder(self.file.parent)
        finally:
            # A full disk may refuse the mark; the answers go all the same.
            self._delete()
            self.consent, self.ended = None, False
            self.practised, self.answers, self.shown = [], {}, {}
        self.withdrawn = True

    @property
    def _marker(self) -> Path:
        return self.file.with_suffix(WITHDRAWN)

    def _delete(self) -> None:
        self.file.unlink(missing_ok=True)
        _sync_folder(self.file.parent)

    def _append(self, line: dict[str, Any]) -> bool:
        """Write a line; False if it does not fit what is there, and nothing is written."""
        line |= {"at": time.time()}
        if self.withdrawn or not self._fits(line):
            return False
        is_new = not self.file.exists()
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(descriptor).st_size
        try:
            content = (json.dumps(line, ensure_ascii=False) + "\n").encode()
            if os.write(descriptor, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file))
            os.fsync(descriptor)
        except OSError:
            # Part of a line would be joined to the next one.
            os.ftruncate(descriptor, size)
            raise
        finally:
            os.close(descriptor)
        if is_new:
            _sync_folder(self.file.parent)
        self._take(line)
        return True

    def _fits(self, line: dict[str, Any]) -> bool:
        """True if a line may follow those before: consent first, then no number or revision left out."""
        event = line["event"]
        if self.ended or self.consented == (event == CONSENT):
            return False
        if event == PRACTICE:
            return bool(line["number"] == len(self.practised))
        if event in {SHOWN, ANSWER} and not 0 <= line["place"] <= self.place:
            return False
        if event == ANSWER:
            return bool(line["revision"] == len(self.answers.get(line["place"], [])))
        return True

    def _take(self, line: dict[str, Any]) -> None:
        event = line["event"]
        if event == CONSENT:
            self.consent = {key: line[key] for key in ("text_sha256", "at")}
        elif event == PRACTICE:
            self.practised.append(line["answer"])
        elif event == SHOWN:
            self.shown[line["place"]] = line["at"]
        elif event == END:
            self.ended = True
        elif event == ANSWER:
            self.answers.setdefault(line["place"], []).append(line)


def read_lines(file: Path, *, mend: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a journal, none if there is no file; `mend` cuts a torn last line off.

    Raises:
        DataError: A line is damaged in a way that a kill does not explain.
    """
    if not file.exists():
        return
    content = read_bytes(file)
    whole = content.rfind(b"\n") + 1
    if mend and whole < len(content):
        os.truncate(file, whole)
    for number, text in enumerate(content[:whole].splitlines(), start=1):
        try:
            line = parse_json(text)
            msgspec.convert(line, _LINE)
        except (ValueError, TypeError) as error:
            raise DataError(f"{file}: line {number}: not a line of a journal ({error})") from None
        yield line


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a file that was made or deleted in it stays so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
