"""Suites as files: Parquet, JSONL or CSV, checked when read, written whole or not at all."""

import csv
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.files import replacing
from misfired.suites.card import YES_NO, card_path, check_card, read_card, write_card

PAIRS_SCHEMA = dict.fromkeys(
    (
        *("id", "suite", "category", "scenario", "stereotyped_group", "contrast_group", "cue"),
        *("stereotyped", "contrast", "expected_stereotyped", "expected_contrast"),
    ),
    pl.String(),
)
"""The columns of every suite. Only `cue` may be null; further columns are kept."""

MAX_PROMPT_CHARS = 1_000_000
"""The longest prompt; anything longer is a file in the wrong place."""

_SHOWN_CHARS = 60
#: Decodes bytes that are not UTF-8 into halves of characters, which no text holds. JSON can spell them.
_KEEP_BYTES = "surrogateescape"
_HALVES = re.compile("[\\ud800-\\udfff]")
#: Cells of one column, and what they hold, are of one kind.
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text"}
_KINDS |= {list: "a list", dict: "an object"}


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
    try:
        frame = read(file)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    card = read_card(card_path(file)) if card_path(file).exists() else None
    if answers is None:
        answers = YES_NO if card is None else card.answers
    suite = validate_suite(frame, source=str(file), answers=answers)
    if card is not None:
        check_card(card, suite, file)
    return suite


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
    with replacing(file) as temporary:
        write(suite, temporary)
    if licence is not None and source is not None:
        write_card(suite, file, licence=licence, source=source, answers=answers)


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
            answers; both prompts of a pair are equal. Rows are counted from 1.
    """
    for column, expected in PAIRS_SCHEMA.items():
        if column not in frame.columns:
            raise DataError(f"{source}: column {column} is missing")
        actual = frame.schema[column]
        if actual != expected and not (column == "cue" and actual == pl.Null()):
            raise DataError(f"{source}: column {column} must be {expected}, got {actual}")
    if frame.is_empty():
        raise DataError(f"{source}: must have at least 1 row, got 0")
    suite = frame.with_columns(pl.col("cue").cast(pl.String))
    for column, is_bad, rule in _rules(answers):
        rows = suite.select(is_bad.fill_null(value=False).arg_true()).to_series()
        if len(rows):
            got = _shown(suite[column][rows[0]])
            raise DataError(f"{source}, row {rows[0] + 1}: {column} must {rule}, got {got}")
    return suite.select(*PAIRS_SCHEMA, pl.exclude(*PAIRS_SCHEMA))


def _rules(answers: Collection[str]) -> Iterator[tuple[str, pl.Expr, str]]:
    """Yield a column, which of its cells are bad, and what they must be."""
    for column in PAIRS_SCHEMA:
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
    for column in ("expected_stereotyped", "expected_contrast"):
        yield column, ~pl.col(column).is_in(list(answers)), f"be one of {', '.join(answers)}"


def _shown(cell: object) -> str:
    text = repr(cell)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} letters)"


def _read_jsonl(file: Path) -> pl.DataFrame:
    # polars silently turns a number in a column of texts into a text, takes the first of two equal
    # keys, and reads half a character as NUL. So each line is checked first; none of them is kept.
    kinds = dict.fromkeys(PAIRS_SCHEMA, "text")
    _check_lines(file, lambda line: _check_json(line, kinds))
    return pl.read_ndjson(file, infer_schema_length=None)


def _read_csv(file: Path) -> pl.DataFrame:
    _check_lines(file, lambda line: _check_utf8(line, _csv_rows(file)))
    return pl.read_csv(file, infer_schema=False)


def _check_lines(file: Path, check: Callable[[bytes], None]) -> None:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                check(line.removesuffix(b"\n"))
            except DataError as error:
                raise DataError(f"{file}, line {number}: {error}") from None


def _check_json(line: bytes, kinds: dict[str, str]) -> None:
    """Refuse a line that is no row, or a cell that is not of its column's kind so far."""
    if not line.strip():
        return
    _check_utf8(line, _json_rows(line))
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DataError(f"broken JSON at column {error.colno}: {error.msg}") from None
    if not isinstance(row, dict):
        raise DataError(f"must be an object, got {_shown(row)}")
    if rb"\u" in line and (column := _damaged([row])):
        raise DataError(f"{column}holds half a character")
    for column in PAIRS_SCHEMA:
        if column not in row:
            raise DataError(f"field {column} is missing")
        if row[column] is None and column != "cue":
            raise DataError(f"{column} must be text, got None")
    for column, cell in row.items():
        _check_kind(cell, column, kinds)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"field {twice} must be given once, got it twice")
    return row


def _check_kind(cell: Any, column: str, kinds: dict[str, str]) -> None:
    if cell is None:
        return
    kind = _KINDS[type(cell)]
    if kinds.setdefault(column, kind) != kind:
        raise DataError(f"{column} must be {kinds[column]}, got {_shown(cell)}")
    if column.endswith(".[]") and isinstance(cell, int) and not -(2**63) <= cell < 2**63:
        # polars silently turns a list with such a number into texts.
        raise DataError(f"{column} must fit into 64 bits, got {_shown(cell)}")
    if isinstance(cell, dict):
        for name, each in cell.items():
            _check_kind(each, f"{column}.{name}", kinds)
    elif isinstance(cell, list):
        for each in cell:
            _check_kind(each, f"{column}.[]", kinds)


def _check_utf8(line: bytes, rows: Iterable[dict[str, Any]]) -> None:
    """Refuse bytes that are no text; `rows` may say in which column the first of them are."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{_damaged(rows)}byte {error.start + 1} is not UTF-8") from None


def _damaged(rows: Iterable[dict[str, Any]]) -> str:
    """Return "COLUMN: " of the first cell with half a character; "" if there is none."""
    for row in rows:
        for column, cell in row.items():
            if _HALVES.search(json.dumps(cell, ensure_ascii=False)):
                return f"{column}: "
    return ""


def _json_rows(line: bytes) -> Iterator[dict[str, Any]]:
    with suppress(json.JSONDecodeError):
        row = json.loads(line.decode(errors=_KEEP_BYTES))
        yield from [row] if isinstance(row, dict) else []


def _csv_rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8", errors=_KEEP_BYTES, newline="") as text:
        yield from csv.DictReader(text)


def _write_csv(frame: pl.DataFrame, file: Path) -> None:
    for name, kind in frame.schema.items():
        if kind.is_nested():
            raise DataError(f"column {name} must fit the cells of a CSV file, got {kind}")
    frame.write_csv(file)


_Format = tuple[Callable[[Path], pl.DataFrame], Callable[[pl.DataFrame, Path], None]]
_FORMATS: dict[str, _Format] = {
    ".parquet": (pl.read_parquet, lambda frame, file: frame.write_parquet(file)),
    ".jsonl": (_read_jsonl, lambda frame, file: frame.write_ndjson(file)),
    ".csv": (_read_csv, _write_csv),
}
_FORMATS[".ndjson"] = _FORMATS[".jsonl"]


def _format(path: Path) -> _Format:
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise ArgumentError(f"{path}: suffix must be one of {', '.join(_FORMATS)}, got {suffix!r}")
    return _FORMATS[suffix]
