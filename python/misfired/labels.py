"""Labels as text: ids, categories, scenarios, groups and ratings are compared by what they say.

A table's reader guesses a type for each column: 1, 1.0 and "1" in three columns are one label.
"""

import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.types import is_flag

LABELS = frozenset(
    ("id", "category", "scenario", "priming", "condition", "twin_of", "model", "protocol")
)
"""Columns of answers and outcomes that hold labels."""

_TEXTS = (pl.Categorical, pl.Enum)
_TEXT = (lambda kind: kind == pl.String or kind in _TEXTS, "String")
_NUMBER = (lambda kind: kind.is_numeric(), "numeric")
_FLAG = (lambda kind: kind == pl.Boolean, "Boolean")
#: What the columns of answers and outcomes that are no labels hold.
_KINDS: dict[str, tuple[Callable[[pl.DataType], bool], str]] = (
    dict.fromkeys(("outcome", "reason", "answer", "expected"), _TEXT)
    | dict.fromkeys(("logit_diff", "least_gap", "margin"), _NUMBER)
    | dict.fromkeys(("stereotyped", "contrast"), _FLAG)
)
#: How pandas spells what is missing.
_MISSING_KINDS = {"NAType", "NaTType"}


def label_text(value: Any) -> str | None:
    """Return a label as text, None where it is missing: None, NaN, and a text of blanks.

    A whole number is its digits, whatever its type, and a flag is `true` or `false`.

    Example:
        >>> [label_text(value) for value in (1, 1.0, "1", "007", 0.5, True, None, float("nan"), " ")]
        ['1', '1', '1', '007', '0.5', 'true', None, None, None]
    """
    if isinstance(value, str):
        return str(value) if value.strip() else None
    if value is None or type(value).__name__ in _MISSING_KINDS:
        return None
    if is_flag(value):
        return "true" if value else "false"
    if isinstance(value, numbers.Number | np.generic):
        if value != value:  # noqa: PLR0124  NaN of any type
            return None
        whole = _whole(value)
        return str(value if whole is None else whole)
    return str(value) if str(value) != "NaT" else None


def _whole(value: Any) -> int | None:
    try:
        return int(value) if value == int(value) else None
    except (OverflowError, TypeError, ValueError):
        return None


def label_texts(values: Iterable[Any]) -> list[str | None]:
    """Return labels as text; see `label_text`."""
    return [label_text(value) for value in values]


def label_column(column: pl.Series) -> pl.Series:
    """Return a column of labels as text, null where one is missing; see `label_text`.

    Example:
        >>> label_column(pl.Series("id", [1.0, None, 2.5])).to_list()
        ['1', None, '2.5']
    """
    kind = column.dtype
    if kind in _TEXTS or kind.is_integer():
        column = column.cast(pl.String)
    elif kind != pl.String():
        return pl.Series(column.name, label_texts(column.to_list()), pl.String)
    blank = ~column.str.contains(r"\S")
    return column.set(blank.fill_null(value=False), None) if blank.any() else column


def label_columns(frame: pl.DataFrame, columns: Iterable[str], name: str) -> pl.DataFrame:
    """Return a frame whose columns of labels are text; a `DataError` if one holds lists or objects.

    Example:
        >>> label_columns(pl.DataFrame({"id": [1.0, None]}), ["id"], "runs")["id"].to_list()
        ['1', None]
    """
    for column in columns:
        if frame.schema[column].is_nested():
            raise _nested(name, column, frame)
    return frame.with_columns(label_column(frame[column]) for column in columns)


def _nested(name: str, column: str, frame: pl.DataFrame) -> DataError:
    got = frame.schema[column]
    return DataError(f"{name}: column {column!r} must be text or numbers, got {got}")


def labelled(frame: pl.DataFrame, columns: Iterable[str], name: str) -> pl.DataFrame:
    """Return a frame whose columns of labels are text.

    Args:
        frame: It need not have the columns.
        columns: Those that hold labels.
        name: The frame's in messages.

    Raises:
        DataError: Rows have no label; the message counts them.

    Example:
        >>> labelled(pl.DataFrame({"id": [1, 2]}), ["id"], "runs")["id"].to_list()
        ['1', '2']
        >>> labelled(pl.DataFrame({"id": ["a", None, ""]}), ["id"], "runs")
        Traceback (most recent call last):
        misfired.errors.DataError: runs: id must be given in each row, got 2 of 3 without (first row 2)
    """
    found = [column for column in columns if column in frame.columns]
    frame = label_columns(frame, found, name)
    for column in frame.select(found):
        if column.null_count():
            lacking = f"{column.null_count()} of {len(column)} without"
            first = column.is_null().arg_true()[0] + 1
            rule = f"{column.name} must be given in each row, got {lacking} (first row {first})"
            raise DataError(f"{name}: {rule}")
    return frame


def checked(frame: pl.DataFrame, columns: Iterable[str], name: str) -> pl.DataFrame:
    """Return a frame that has the columns, the `LABELS` among them as text.

    Raises:
        DataError: A column is missing or mistyped, or a row has no label (but `twin_of`, which pairs
            lack).
    """
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"{name} must be a polars DataFrame, got a {type(frame).__name__}")
    needed = list(columns)
    for column, kind in frame.schema.items():
        if column in LABELS and kind.is_nested():
            raise _nested(name, column, frame)
        # A column of nothing but nulls has no type of its own.
        if column not in _KINDS or kind == pl.Null():
            continue
        holds, word = _KINDS[column]
        if not holds(kind):
            raise DataError(f"{name}: column {column!r} must be {word}, got {kind}")
    for column in needed:
        if column not in frame.columns:
            raise DataError(f"{name}: column {column!r} is missing")
    if "twin_of" in frame.columns:
        frame = label_columns(frame, ["twin_of"], name)
    return labelled(frame, [column for column in needed if column in LABELS], name)


def check_once(frame: pl.DataFrame, keys: Sequence[str], name: str, *, told: Sequence[str]) -> None:
    """Refuse a frame in which several rows have the same keys.

    Args:
        frame: It has the columns.
        keys: Columns that are one row's own, taken together.
        name: The frame's in messages.
        told: Columns that the message tells of the first such row.

    Raises:
        DataError: Several rows have the same keys.

    Example:
        >>> check_once(pl.DataFrame({"id": ["a", "a"]}), ["id"], "runs", told=["id"])
        Traceback (most recent call last):
        misfired.errors.DataError: runs: id 'a': more than one row
    """
    twice = frame.filter(pl.struct(keys).is_duplicated())
    if len(twice):
        row = ", ".join(f"{key} {twice[key][0]!r}" for key in told)
        raise DataError(f"{name}: {row}: more than one row")
