"""Tables from Parquet, JSONL and CSV files: every cell is what the file says, or its row is named."""

import json
import os
import re
import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import DataError
from misfired.labels import label_column, label_columns, label_text
from misfired.reading import (
    MOST_OF_A_TABLE,
    Digits,
    JsonError,
    PathLike,
    any_whole,
    decode,
    is_finite,
    opened,
    parse_json,
    read_bytes,
    shown,
    unified,
)

_Row = dict[str, Any]


class _Every(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


EVERY = _Every()
"""All columns."""

_N_ROWS = 10_000  # of a piece of a CSV file, as it becomes a frame
#: Decodes bytes that are not UTF-8 into halves of characters, which no text holds. JSON can spell them.
_KEEP_BYTES = "surrogateescape"
_HALVES = re.compile("[\\ud800-\\udfff]")
#: Cells of one column, and what they hold, are of one kind.
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text"}
_KINDS |= {list: "a list", dict: "an object", Digits: "a number"}

_LINE_END = re.compile(r"\r\n|\n|\r")
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_PLAIN = re.compile(r"[^,\r\n]*")
_CELL_END = re.compile(r",|\r\n|\n|\r|\Z")
#: How tools write a label that is a number: missing, and whole though its column is not.
_NAN, _WHOLE = re.compile(r"[nN]a[nN]"), re.compile(r"(-?(?:0|[1-9]\d*))\.0+")


def read_table(path: PathLike, *, labels: Container[str] = ()) -> pl.DataFrame:
    """Return a table from a .parquet, .jsonl, .ndjson or .csv file.

    In a CSV file (with a header) every cell is text, and an empty one null.

    Args:
        path: The file.
        labels: Columns whose cells are read as text (`misfired.labels`); `EVERY` for all of them. In a
            CSV file they may be NaN, which is missing, and 1.0, which is 1.

    Raises:
        DataError: The file has another suffix, cannot be read, or is broken; the message names file,
            row and column.
    """
    suffix = Path(path).suffix.lower()
    if suffix in {".jsonl", ".ndjson"}:
        return read_jsonl(path, labels=labels)
    if suffix == ".csv":
        frame = read_csv(path)
        chosen = [name for name in frame.columns if name in labels]
        return frame.with_columns(label_column(_from_numbers(frame[name])) for name in chosen)
    if suffix == ".parquet":
        frame = read_parquet(path)
        return label_columns(frame, [name for name in frame.columns if name in labels], str(path))
    raise DataError(f"{path}: must be a .csv, .jsonl or .parquet file")


def read_parquet(path: PathLike) -> pl.DataFrame:
    """Return the table of a Parquet file; a `DataError` if it is none or damaged."""
    with opened(path) as file:
        try:
            with _quiet():
                return pl.read_parquet(file)
        # A panic of polars is no `Exception`.
        except (pl.exceptions.PanicException, Exception) as error:
            said = " ".join(str(error).split())
            detail = f" ({said[:120]})" if isinstance(error, pl.exceptions.ComputeError) else ""
            raise DataError(f"{path}: not a Parquet file, or a damaged one{detail}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the report of a panic in polars off stderr: its exception is told in one line."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):
        yield
        return
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def read_jsonl(
    path: PathLike,
    *,
    check: Callable[[_Row], None] = lambda _: None,
    kinds: dict[str, str] | None = None,
    labels: Container[str] = (),
) -> pl.DataFrame:
    """Return the table of a file with a JSON object on each line; blank lines are skipped.

    Args:
        path: The file.
        check: Raises `DataError` where a row is not as it should be.
        kinds: What cells of a column must be ("text"); other columns are what their first cell is.
        labels: As in `read_table`.

    Raises:
        DataError: A line is not an object, a cell is of another kind than those above it, or `check`
            refuses a row; the message names file, line and column.
    """
    # polars silently turns a number in a column of texts into a text, takes the first of two equal
    # keys, and reads half a character as NUL. So each line is checked first.
    known = dict(kinds or {})
    lines = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip("\ufeff \t"):
            continue
        try:
            lines.append(_checked_line(line.lstrip("\ufeff"), check, known, labels))
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
    if not lines:
        return pl.DataFrame()
    try:
        with _quiet():
            return pl.read_ndjson(BytesIO("\n".join(lines).encode()), infer_schema_length=None)
    except (pl.exceptions.PanicException, Exception):
        rule = "cells of a column must be of one kind; write them as text where they are not"
        raise DataError(f"{path}: cannot be read as a table: {rule}") from None


def _lines(path: PathLike) -> Iterator[str]:
    content = read_bytes(path, MOST_OF_A_TABLE)
    try:
        text = decode(path, content)
    except DataError as error:
        raise _with_column(error, path, content, _json_cells) from None
    return iter(unified(text).split("\n"))


def _checked_line(
    line: str, check: Callable[[_Row], None], kinds: dict[str, str], labels: Container[str]
) -> str:
    """Return a line that is sound, its labels as text."""
    row = parse_json(line, parse_int=any_whole)
    if not isinstance(row, dict):
        raise DataError(f"must be an object, got {shown(row)}")
    if "\\u" in line and (column := _damaged(row)):
        raise DataError(f"{column}: holds half a character")
    changed = False
    for column, cell in row.items():
        if column in labels and not isinstance(cell, str):
            row[column] = _label(column, cell)
            changed = True
    check(row)
    for column, cell in row.items():
        _check_cell(cell, column, kinds)
    return json.dumps(row, ensure_ascii=False) if changed else line


def _label(column: str, cell: Any) -> str | None:
    if isinstance(cell, list | dict):
        raise DataError(f"{column} must be text or a number, got {shown(cell)}")
    return label_text(cell)


def _check_cell(cell: Any, column: str, kinds: dict[str, str]) -> None:
    """Refuse a cell that is not of its column's kind so far, or a number that no column holds."""
    if cell is None:
        return
    kind = _KINDS[type(cell)]
    if kinds.setdefault(column, kind) != kind:
        raise DataError(f"{column} must be {kinds[column]}, got {shown(cell)}")
    if kind == "a number":
        # polars silently turns a list with such a number into texts.
        low, high = -(2**63), 2**63 if column.endswith(".[]") else 2**64
        if isinstance(cell, Digits) or (isinstance(cell, int) and not low <= cell < high):
            raise DataError(f"{column} must fit into 64 bits, got {shown(cell)}")
        if not is_finite(cell):
            raise DataError(f"{column} must be a finite number, got {shown(cell)}")
    if isinstance(cell, dict):
        for name, each in cell.items():
            _check_cell(each, f"{column}.{name}", kinds)
    elif isinstance(cell, list):
        for each in cell:
            _check_cell(each, f"{column}.[]", kinds)


def _damaged(row: _Row) -> str | None:
    """Return the first column whose name or cell holds half a character."""
    for column, cell in row.items():
        if _HALVES.search(json.dumps([column, cell], ensure_ascii=False)):
            return column.encode("utf-8", "replace").decode()
    return None


def _with_column(
    error: DataError,
    path: PathLike,
    content: bytes,
    cells: Callable[[PathLike, str], Iterator[_Row]],
) -> DataError:
    """Return the error of a byte that is not UTF-8 with the column of its cell, if it can be told."""
    with suppress(DataError):
        for row in cells(path, decode(path, content, errors=_KEEP_BYTES)):
            if column := _damaged(row):
                place, _, said = str(error).removeprefix(str(path)).partition(": ")
                return DataError(f"{path}{place}: {column}: {said}")
    return error


def _json_cells(_: PathLike, text: str) -> Iterator[_Row]:
    for line in unified(text).split("\n"):
        if _HALVES.search(line):
            with suppress(JsonError):
                row = parse_json(line)
                yield row if isinstance(row, dict) else {}
            return


def read_csv(path: PathLike) -> pl.DataFrame:
    """Return the table of a CSV file with a header, every cell as text; see `csv_rows`.

    Raises:
        DataError: There is no header, a column is named twice, or a row is broken; the message names
            file, row and column.
    """
    content = read_bytes(path, MOST_OF_A_TABLE)
    try:
        text = decode(path, content)
    except DataError as error:
        raise _with_column(error, path, content, _csv_cells) from None
    rows = csv_rows(path, text)
    header = _header(path, next(rows, None))
    schema = dict.fromkeys(header, pl.String)
    pieces, piece = [pl.DataFrame(schema=schema)], []
    for row in rows:
        piece.append(row)
        if len(piece) == _N_ROWS:
            pieces.append(pl.DataFrame(piece, schema=schema, orient="row"))
            piece = []
    return pl.concat([*pieces, pl.DataFrame(piece, schema=schema, orient="row")])


def _header(path: PathLike, cells: list[str | None] | None) -> list[str]:
    if cells is None:
        raise DataError(f"{path}: must have a header, got nothing")
    names = [cell or "" for cell in cells]
    for place, name in enumerate(names):
        if name in names[:place]:
            first = names.index(name) + 1
            got = f"{shown(name)} in columns {first} and {place + 1}"
            raise DataError(f"{path}, header: a column must be named once, got {got}")
    if len(names) == 1 and (found := re.search(r"[;\t|]", names[0])):
        raise DataError(f"{path}, header: cells must stand between commas, got {found[0]!r}")
    return names


def csv_rows(path: PathLike, text: str) -> Iterator[list[str | None]]:
    r"""Yield the rows of a CSV text (RFC 4180), the header first; None for an empty cell.

    Rows end at any line end; a blank line is skipped where rows have more than one cell. A quoted cell
    may hold line ends, commas and doubled quotes, and is a text even if it is empty. A cell without
    quotes around it may hold pairs of quotes.

    Raises:
        DataError: A row has more or fewer cells than the header, or a quote is out of place.

    Example:
        >>> list(csv_rows("f.csv", 'a,b\n"x, y",\n'))
        [['a', 'b'], ['x, y', None]]
        >>> list(csv_rows("f.csv", "a,b\n1,2\n3\n"))
        Traceback (most recent call last):
        misfired.errors.DataError: f.csv, row 2: 1 field, the header has 2
    """
    at, number, header = 0, 0, list[str | None]()
    line_end = _line_ends(text)
    while at < len(text):
        stop, after = line_end(at)
        line = text[at:stop]
        if '"' in line:
            cells, after = _quoted_row(path, text, at, (number, header))
        elif not line and len(header) != 1:
            at = after
            continue
        else:
            cells = [*line.split(",")]
            if "" in cells:
                cells = [cell or None for cell in cells]
        at = after
        if number and len(cells) != len(header):
            many = f"{len(cells)} field{'s' * (len(cells) > 1)}, the header has {len(header)}"
            raise DataError(f"{path}, row {number}: {many}")
        header = header or cells
        number += 1
        yield cells


def _line_ends(text: str) -> Callable[[int], tuple[int, int]]:
    """Return what finds where the line of a place ends, and where the next one begins."""
    n = len(text)

    def any_end(at: int) -> tuple[int, int]:
        found = _LINE_END.search(text, at)
        return found.span() if found else (n, n)

    def line_feed(at: int) -> tuple[int, int]:
        stop = text.find("\n", at)
        if stop < 0:
            return n, n
        return (stop - 1 if text[at:stop].endswith("\r") else stop), stop + 1

    # The pattern is ten times slower; few tools end lines with a carriage return alone.
    return line_feed if text.count("\r") == text.count("\r\n") else any_end


def _quoted_row(
    path: PathLike, text: str, at: int, row: tuple[int, list[str | None]]
) -> tuple[list[str | None], int]:
    """Return the cells of a row with quotes, and where the next row begins."""
    cells: list[str | None] = []

    def wrong(problem: str) -> DataError:
        number, header = row
        column = f"{header[len(cells)]}: " if len(cells) < len(header) else ""
        where = f"row {number}: {column}" if number else "header: "
        advice = 'write a cell with quotes as "...", each quote in it twice'
        return DataError(f"{path}, {where}{problem}; {advice}")

    while True:
        if text.startswith('"', at):
            quoted = _QUOTED.match(text, at)
            if quoted is None:
                raise wrong("the quote that opens the cell is never closed")
            cells.append(quoted[1].replace('""', '"'))
            at = quoted.end()
            if not _CELL_END.match(text, at):
                line = text.count("\n", 0, at) + 1
                cells.pop()
                raise wrong(f"text follows the quote that closes the cell (line {line})")
        else:
            plain = _PLAIN.match(text, at)
            cell = plain[0] if plain else ""
            if cell.count('"') % 2:
                raise wrong("a quote stands inside the cell")
            cells.append(cell or None)
            at += len(cell)
        end = _CELL_END.match(text, at)
        at += len(end[0]) if end else 0
        if end is None or end[0] != ",":
            return cells, at


def _csv_cells(path: PathLike, text: str) -> Iterator[_Row]:
    rows = csv_rows(path, text)
    header = [cell or "" for cell in next(rows, [])]
    for row in rows:
        yield dict(zip(header, row, strict=True))


def _from_numbers(column: pl.Series) -> pl.Series:
    """Return labels of a CSV file without the marks of a column of numbers: NaN, and 1.0 for 1."""
    plain = column.str.replace(f"^{_WHOLE.pattern}$", "${1}")
    is_nan = plain.str.contains(f"^{_NAN.pattern}$").fill_null(value=False)
    return plain.set(is_nan, None) if is_nan.any() else plain
