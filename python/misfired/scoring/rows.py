"""Answers that were written before, in a journal, a cache or a file: is each one sound?

Nothing is repaired: a row has all of its fields, of their types and within their limits, and its outcome
follows from its answer, or else it is refused with the first thing that is wrong.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from misfired.errors import DataError
from misfired.reading import shown
from misfired.scoring.answers import ANSWER_COLUMNS, measured_columns
from misfired.scoring.backend import Row
from misfired.scoring.protocol import Protocol

#: Outcomes of prompts that were answered, and of the others.
ANSWERED, UNANSWERED = ("correct", "wrong"), ("abstained", "unparseable", "error")
#: Field of an answer in a journal: its key in a cache, in hexadecimal.
KEY = "cache_key"
#: A server's sums of rounded probabilities may be anything; those of a model are not.
_ADDED = ("logp_", "mass")
_TYPES: dict[Any, tuple[type, ...]] = {
    pl.String: (str,),
    pl.Float64: (float, int),
    pl.Int64: (int,),
}
_WORDS = {pl.String: "a text", pl.Float64: "a number", pl.Int64: "a whole number"}


class _Field(NamedTuple):
    types: tuple[type, ...]
    least: float
    most: float
    rule: str


@dataclass(frozen=True)
class RowCheck:
    """What the rows of a run must look like.

    Attributes:
        protocol: The run's.
        server: True for the answers of a server, which may lack numbers.
    """

    protocol: Protocol
    server: bool = False

    @cached_property
    def _fields(self) -> dict[str, _Field]:
        columns = measured_columns(self.protocol, server=self.server)
        return {name: _field(name, dtype, server=self.server) for name, dtype in columns.items()}

    def read(self, content: Any, expected: str | None = None) -> Row:
        """Return a row that was read from JSON, unless something is wrong with it.

        Args:
            content: The row, with or without its key in a cache.
            expected: The right answer, if it is known.

        Raises:
            DataError: The message says what is wrong, and names neither file nor line.

        Example:
            >>> from misfired.scoring.protocol import GENERATE
            >>> RowCheck(GENERATE).read({"answer": "yes"})
            Traceback (most recent call last):
            misfired.errors.DataError: field outcome is missing
        """
        if not isinstance(content, dict):
            raise DataError(f"must be an answer with its fields, got {shown(content)}")
        for problem in self._problems(content, expected):
            raise DataError(problem)
        return content

    def _problems(self, row: Row, expected: str | None) -> Iterator[str]:
        fields = self._fields
        if row.keys() - {KEY} != fields.keys():
            yield from (f"field {name} is missing" for name in fields if name not in row)
            unknown = min(row.keys() - {KEY} - fields.keys())
            yield f"field {shown(unknown)} is unknown"
        for name, (types, least, most, rule) in fields.items():
            if (value := row[name]) is None:
                continue
            sound = type(value) in types and (types == (str,) or least <= value <= most)
            if not sound or (types == (str,) and not _is_text(value)):
                yield f"{name} must be {rule}, got {shown(value)}"
        if KEY in row and not _is_key(row[KEY]):
            yield f"{KEY} must be 64 hexadecimal digits, got {shown(row[KEY])}"
        yield from _disagrees(row, self.protocol.answers, expected)
        if row["outcome"] in ANSWERED and not self.server:
            numbers = (name for name, field in fields.items() if field.types != (str,))
            yield from (
                f"{name} must be a number, got null" for name in numbers if row[name] is None
            )


def _disagrees(row: Row, answers: Mapping[str, Any], expected: str | None) -> Iterator[str]:
    outcome, answer = row["outcome"], row["answer"]
    if outcome not in {*ANSWERED, *UNANSWERED}:
        allowed = ", ".join((*ANSWERED, *UNANSWERED))
        yield f"outcome must be one of {allowed}, got {shown(outcome)}"
    if (answer is None) == (outcome in ANSWERED) or (answer is not None and answer not in answers):
        rule = f"one of {', '.join(answers)}" if outcome in ANSWERED else "null"
        yield f"answer must be {rule} where outcome is {outcome}, got {shown(answer)}"
    if (
        outcome in ANSWERED
        and expected is not None
        and (outcome == "correct") != (answer == expected)
    ):
        right = f"answer {shown(answer)} where {shown(expected)} is expected"
        yield f"outcome must follow from {right}, got {outcome}"


def _field(name: str, dtype: Any, *, server: bool) -> _Field:
    least, most = limits_of(name, server=server)
    rule = _WORDS[dtype]
    if math.isfinite(least) and math.isfinite(most):
        rule += f" from {least:g} to {most:g}"
    elif math.isfinite(least) or math.isfinite(most):
        rule += f" of at least {least:g}" if math.isfinite(least) else f" of at most {most:g}"
    return _Field(_TYPES[dtype], least, most, rule)


def limits_of(name: str, *, server: bool) -> tuple[float, float]:
    """Return the least and the largest value of a sound answer's column.

    Example:
        >>> limits_of("unseen", server=True)
        (0.0, 1.001)
    """
    if server and name.startswith(_ADDED) and name != "logp_bound":
        return (0.0 if name == "mass" else -math.inf), math.inf
    found = next((each for each in ANSWER_COLUMNS if each.name == name), None)
    if found is None and name.startswith("logp_"):
        found = next(each for each in ANSWER_COLUMNS if each.name == "logp_{answer}")
    return (-math.inf, math.inf) if found is None else found.limits


def _is_text(value: str) -> bool:
    # JSON can spell halves of a character, which are no text.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
