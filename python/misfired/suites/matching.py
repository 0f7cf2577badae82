"""Matching: pairs of texts of two sides that differ least."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import match_texts
from misfired.errors import ArgumentError, DataError
from misfired.types import checks_types

#: Columns of the pairs, beside those that group the rows.
_RESULT = ("left_row", "right_row", "distance", "exact_swap", "differing_words")

_Side = tuple[list[str], npt.NDArray[np.uint32], list[list[str]]]


@checks_types
def match_pairs(
    left: pl.DataFrame,
    right: pl.DataFrame,
    *,
    by: str | Sequence[str],
    text: str,
    people: Sequence[str] | None = None,
    max_pairs: int | None = None,
) -> pl.DataFrame:
    """Pair the texts of two sides so that they differ least.

    A group is the rows of both sides that agree in `by`. Its pairs are a minimum-cost assignment: the
    most exact swaps, then the least sum of distances. The distance counts tokens to insert, delete or
    replace; tokens are words and marks in lower case. With `people`, the two people of a text are
    masked by role, the article "an" before one counts as "a", and each person who is not the other
    side's person in the other role costs one more edit (not counted in `distance`). Ties go by row, so
    the same frames give the same pairs.

    Args:
        left: One row per text.
        right: The other side, with the same columns.
        by: Columns whose values group the rows.
        text: Column of the texts.
        people: Columns of the person whom a text is about and of the other one, in the text's words.
        max_pairs: Most pairs of a group: exact swaps first, then by distance.

    Returns:
        One row per pair, groups in the order of `left`: the columns of `by`; `left_row` and
        `right_row` (int64, from 0); `distance` (int64); `exact_swap` (bool: distance 0 and, with
        `people`, each the other's counterpart); `differing_words` ("soccer -> softball; a -> b").

    Raises:
        ArgumentError: `by` is empty or names a column of the result, `people` are not two columns, or
            `max_pairs` is below 1.
        DataError: A column is missing, is not text, differs in type between the sides, or holds null or
            NaN.

    Examples:
        >>> left = pl.DataFrame({"q": [1], "text": ["The cat saw a dog."], "a": ["cat"], "b": ["dog"]})
        >>> right = pl.DataFrame({"q": [1], "text": ["The dog saw a cat."], "a": ["dog"], "b": ["cat"]})
        >>> match_pairs(left, right, by="q", text="text", people=("a", "b")).row(0)
        (1, 0, 0, 0, True, '')

    Source:
        Jonker and Volgenant 1987, Computing 38, 325-340; Hyyrö 2003, Nordic J. of Computing 10.
    """
    keys = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    if not keys:
        raise ArgumentError("by must name at least one column, got none")
    if people is not None and (isinstance(people, str) or len(people) != 2):
        raise ArgumentError(f"people must be two columns, got {people!r}")
    if max_pairs is not None and max_pairs < 1:
        raise ArgumentError(f"max_pairs must be at least 1, got {max_pairs}")
    if taken := next((key for key in keys if key in _RESULT), None):
        raise ArgumentError(f"by must not name a column of the result, got {taken!r}")
    texts = [text, *(people or ())]
    for name, frame in (("left", left), ("right", right)):
        _check_cells(frame, name, keys, texts)
    for key in keys:
        if (kind := left.schema[key]) != (other := right.schema[key]):
            raise DataError(f"right: column {key} must be {kind} as in left, got {other}")
    groups = left.select(keys).unique(maintain_order=True).with_row_index("_group")
    left_rows, left_side = _side(left, groups, texts)
    right_rows, right_side = _side(right, groups, texts)
    most = len(left) + 1 if max_pairs is None else max_pairs
    lefts, rights, distance, exact_swap, differing = match_texts(left_side, right_side, most)
    words = pl.Series(differing, dtype=pl.String)
    columns = left_rows[lefts], right_rows[rights], distance, exact_swap, words
    found = pl.DataFrame(dict(zip(_RESULT, columns, strict=True)))
    return left.select(keys)[found["left_row"]].hstack(found)


def _check_cells(frame: pl.DataFrame, name: str, keys: list[str], texts: list[str]) -> None:
    for column in (*keys, *texts):
        if column not in frame.columns:
            raise DataError(f"{name}: column {column} is missing")
        missing = frame[column].is_null()
        if frame.schema[column].is_float():
            missing |= frame[column].is_nan()
        if len(rows := missing.arg_true()):
            got = "null" if (value := frame[column][rows[0]]) is None else value
            raise DataError(f"{name}, row {rows[0] + 1}: {column} must have a value, got {got}")
        if column in texts and (kind := frame.schema[column]) != pl.String():
            raise DataError(f"{name}: column {column} must be String, got {kind}")


def _side(
    frame: pl.DataFrame, groups: pl.DataFrame, columns: list[str]
) -> tuple[npt.NDArray[np.int64], _Side]:
    """Return the rows whose group the left side has, and what `match_texts` takes of them."""
    keys = groups.columns[1:]
    numbered = frame.select(keys).with_row_index("_row").join(groups, on=keys).sort("_row")
    rows = numbered["_row"].cast(pl.Int64)
    texts, *people = [frame[column].gather(rows).to_list() for column in columns]
    codes = np.ascontiguousarray(numbered["_group"].to_numpy(), dtype=np.uint32)
    return rows.to_numpy(), (texts, codes, people)
