"""Suites as files: Parquet, JSONL or CSV, checked when read, written whole or not at all."""

import os
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.files import replacing
from misfired.labels import label_columns
from misfired.reading import shown
from misfired.suites.card import (
    YES_NO,
    card_path,
    check_answers,
    check_card,
    make_card,
    read_card,
    write_card,
)
from misfired.tables import read_csv, read_jsonl, read_parquet
from misfired.types import checks_types

PAIRS_SCHEMA = dict.fromkeys(
    (
        *("id", "suite", "category", "scenario", "stereotyped_group", "contrast_group", "cue"),
        *("stereotyped", "contrast", "expected_stereotyped", "expected_contrast"),
    ),
    pl.String(),
)
"""The columns of every suite. Only `cue` may be null; further columns are kept."""

#: Columns that are read as text, whatever their type.
_LABELS = ("id", "category", "scenario", "stereotyped_group", "contrast_group")
#: Further columns that have a meaning: text, or null.
_MAY_BE_THERE = ("neutral", "placebo", "stereotyped_subject", "contrast_subject")

MAX_PROMPT_CHARS = 1_000_000
"""The longest prompt; anything longer is a file in the wrong place."""


@checks_types
def read_suite(
    path: str | os.PathLike[str], *, answers: Collection[str] | None = None
) -> pl.DataFrame:
    """Read a suite of pairs from Parquet, JSONL or CSV, by the file's suffix, and check it.

    In a CSV file (UTF-8, with a header) every column is text, and an empty cell is null. A card
    beside the file (`pairs.card.toml` for `pairs.parquet`) is checked against it.

    Args:
        path: The file.
        answers: Answers that prompts may expect. Default: the card's, else yes and no.

    Returns:
        One row per pair, with at least the columns of `PAIRS_SCHEMA`.

    Raises:
        ArgumentError: The suffix is not `.parquet`, `.jsonl`, `.ndjson` or `.csv`.
        DataError: The file is missing, empty or broken, does not hold a suite, or is not what its
            card says; the message names file, row and column.
    """
    file = Path(path)
    read, _ = _format(file)
    frame = read(file)
    card = read_card(card_path(file)) if card_path(file).exists() else None
    if answers is None:
        answers = YES_NO if card is None else card.answers
    suite = validate_suite(frame, source=str(file), answers=answers)
    if card is not None:
        check_card(card, suite, file)
    return suite


@checks_types
def write_suite(
    frame: pl.DataFrame,
    path: str | os.PathLike[str],
    *,
    answers: Collection[str] = YES_NO,
    licence: str | None = None,
    source: str | None = None,
) -> None:
    """Check a suite of pairs and write it as Parquet, JSONL or CSV, by the file's suffix.

    The file appears whole or not at all; one that was there before is replaced.

    Args:
        frame: One row per pair.
        path: The file.
        answers: Answers that prompts may expect.
        licence: Its terms of use. With `source`, a card is written beside the suite.
        source: Where it comes from.

    Raises:
        ArgumentError: The suffix is unknown (see `read_suite`), or only one of licence and source is
            given.
        DataError: As `validate_suite`, or rows of a suite with a card are of several suites.
        OSError: The folder is missing or cannot be written.

    Examples:
        >>> pair = dict(
        ...     id="tea_1", suite="drinks@1.0.0", category="Tea", scenario="tea",
        ...     stereotyped_group="cats", contrast_group="dogs", cue=None,
        ...     stereotyped="The cat drank tea. Did the cat drink tea?",
        ...     contrast="The dog drank tea. Did the dog drink tea?",
        ...     expected_stereotyped="yes", expected_contrast="yes",
        ... )
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_suite(pl.DataFrame([pair]), f"{folder}/drinks.jsonl")
        ...     read_suite(f"{folder}/drinks.jsonl")["id"].to_list()
        ['tea_1']
    """
    file = Path(path)
    _, write = _format(file)
    if (licence is None) != (source is None):
        raise ArgumentError("licence and source must be given together, got one of them")
    suite = validate_suite(frame, answers=answers)
    card = None
    with replacing(file) as temporary:
        with temporary.open("wb") as opened:
            write(suite, opened)
        if licence is not None and source is not None:
            # A card that is refused leaves no suite without one.
            card = make_card(suite, temporary, licence=licence, source=source, answers=answers)
    if card is not None:
        write_card(card, file)


@checks_types
def validate_suite(
    frame: pl.DataFrame, *, source: str = "frame", answers: Collection[str] = YES_NO
) -> pl.DataFrame:
    """Check that a frame holds a suite of pairs; a `cue` column of nulls only becomes text.

    Args:
        frame: One row per pair.
        source: Its name in messages, such as the file.
        answers: Answers that prompts may expect.

    Returns:
        The frame, the columns of `PAIRS_SCHEMA` first.

    Raises:
        DataError: No rows; a column is missing or not text; a cell is null, blank or too long; an
            id is repeated; a suite is not `name@version`; an expected answer is not one of the
            answers; both prompts of a pair are equal; a twin names no pair, or expects what
            its pair expects. Rows are counted from 1.
    """
    check_answers(answers)
    return check_frame(frame, source, answers)


def check_frame(
    frame: pl.DataFrame,
    source: str,
    answers: Collection[str] | None,
    *,
    optional: Collection[str] = (),
) -> pl.DataFrame:
    """Do what `validate_suite` does; without answers, prompts may expect any.

    Columns of `PAIRS_SCHEMA` that are `optional` may be missing.
    """
    if not frame.columns:
        raise DataError(f"{source}: must have at least 1 row, got 0")
    frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    # A blank id is told as such; a blank `twin_of` is none.
    other = [name for name in _LABELS if frame.schema.get(name, pl.String()) != pl.String()]
    twins = [name for name in ("twin_of",) if name in frame.columns]
    frame = label_columns(frame, [*other, *twins], source)
    for column in (*PAIRS_SCHEMA, *_MAY_BE_THERE):
        if column not in frame.columns:
            if column in PAIRS_SCHEMA and column not in optional:
                raise DataError(f"{source}: column {column} is missing")
            continue
        actual = frame.schema[column]
        may_be_null = column == "cue" or column in _MAY_BE_THERE
        if actual != pl.String() and not (may_be_null and actual == pl.Null()):
            raise DataError(f"{source}: column {column} must be String, got {actual}")
    if frame.is_empty():
        raise DataError(f"{source}: must have at least 1 row, got 0")
    own = [column for column in PAIRS_SCHEMA if column in frame.columns]
    suite = frame.with_columns(pl.col(own).cast(pl.String))
    for column, is_bad, rule in _rules(suite, answers):
        rows = suite.select(is_bad.fill_null(value=False).arg_true()).to_series()
        if len(rows):
            got = shown(suite[column][rows[0]])
            raise DataError(f"{source}, row {rows[0] + 1}: {column} must {rule}, got {got}")
    return suite.select(*own, pl.exclude(own))


def _rules(
    suite: pl.DataFrame, answers: Collection[str] | None
) -> Iterator[tuple[str, pl.Expr, str]]:
    """Yield a column, which of its cells are bad, and what they must be."""
    for column in filter(suite.columns.__contains__, PAIRS_SCHEMA):
        cell = pl.col(column)
        if column != "cue":
            yield column, cell.is_null(), "be text"
        yield column, ~cell.str.contains(r"\S"), "not be blank"
        too_long = cell.str.len_chars() > MAX_PROMPT_CHARS
        yield column, too_long, f"be at most {MAX_PROMPT_CHARS} characters"
    yield "id", ~pl.col("id").is_first_distinct(), "be unique, not the id of an earlier row"
    yield "suite", ~pl.col("suite").str.contains(r"^[^@\s]+@[^@\s]+$"), "be name@version"
    is_same = pl.col("stereotyped") == pl.col("contrast")
    yield "contrast", is_same, "be other than the stereotyped prompt"
    expected = ("expected_stereotyped", "expected_contrast")
    if answers is not None:
        for column in expected:
            yield column, ~pl.col(column).is_in(list(answers)), f"be one of {', '.join(answers)}"
    if "twin_of" in suite.columns:
        pairs = suite.filter(pl.col("twin_of").is_null())
        of_pair = pl.col("twin_of").is_in(pairs["id"].to_list())
        yield "twin_of", ~of_pair, "be the id of a pair that is no twin"
        its_pair = pl.col("twin_of").replace_strict
        same = [
            pl.col(name) == its_pair(pairs["id"], pairs[name], default=None) for name in expected
        ]
        yield expected[0], pl.all_horizontal(same), "be other than its pair's, or expected_contrast"


def _check_pair(row: dict[str, Any]) -> None:
    """Refuse a row of a JSONL file that lacks a field of a pair."""
    for column in PAIRS_SCHEMA:
        if column not in row:
            raise DataError(f"field {column} is missing")
        if row[column] is None and column != "cue":
            raise DataError(f"{column} must be text, got None")


def _write_csv(frame: pl.DataFrame, file: IO[bytes]) -> None:
    for name, kind in frame.schema.items():
        if kind.is_nested():
            raise DataError(f"column {name} must fit the cells of a CSV file, got {kind}")
    frame.write_csv(file)


_Format = tuple[Callable[[Path], pl.DataFrame], Callable[[pl.DataFrame, IO[bytes]], None]]
_FORMATS: dict[str, _Format] = {
    ".parquet": (read_parquet, lambda frame, file: frame.write_parquet(file)),
    ".jsonl": (
        partial(
            read_jsonl,
            check=_check_pair,
            kinds=dict.fromkeys(PAIRS_SCHEMA, "text"),
            labels=_LABELS,
        ),
        lambda frame, file: frame.write_ndjson(file),
    ),
    ".csv": (read_csv, _write_csv),
}
_FORMATS[".ndjson"] = _FORMATS[".jsonl"]


def _format(path: Path) -> _Format:
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise ArgumentError(f"{path}: suffix must be one of {', '.join(_FORMATS)}, got {suffix!r}")
    return _FORMATS[suffix]
