"""Large text files as frames, part by part.

Rows as Python objects take several times the room of a frame, and so does a file's content beside it.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

__all__ = ["read_csv", "read_jsonl"]

#: Bytes of a file that are parsed at a time, up to the end of a row.
N_PART = 1 << 22

_FIELD = rb'(?:"[^"]*(?:""[^"]*)*"|[^",\r\n]*)'
_ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*\r?\n?")

#: Makes a row of a line, given what messages call the line.
Parse = Callable[[bytes, str], dict[str, Any]]


def read_jsonl(file: Path, parse: Parse) -> pl.DataFrame:
    """One row per line that is not blank; types are those that polars infers from all rows together.

    Args:
        file: Lines end at line feeds only.
        parse: Makes a row of a line.

    Raises:
        PolarsError: Values of a column have types that do not go together.
    """
    parts: list[pl.DataFrame] = []
    types: dict[str, pl.DataType] = {}
    mixed: set[str] = set()
    for rows in _jsonl_parts(file, parse):
        try:
            parts.append(_frame(rows))
        except pl.exceptions.PolarsError:
            names = list(dict.fromkeys(name for row in rows for name in row))
            parts.append(pl.DataFrame({name: [None] * len(rows) for name in names}))
            mixed.update(names)
        for name, kind in parts[-1].schema.items():
            if types.setdefault(name, kind) == pl.Null():
                types[name] = kind
            elif kind not in {types[name], pl.Null()}:
                mixed.add(name)
    frame = pl.concat([_typed(part, types) for part in parts]) if parts else pl.DataFrame()
    if mixed:
        again = _jsonl_parts(file, parse)
        cells = [{name: row.get(name) for name in mixed} for rows in again for row in rows]
        frame = frame.with_columns(_frame(cells))
    return frame


def _jsonl_parts(file: Path, parse: Parse) -> Iterator[list[dict[str, Any]]]:
    rows, n_bytes = [], 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(parse(line.removesuffix(b"\n"), f"{file}, line {number}"))
                n_bytes += len(line)
            if n_bytes >= N_PART:
                yield rows
                rows, n_bytes = [], 0
    if rows:
        yield rows


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    try:
        return pl.DataFrame(rows, infer_schema_length=None, strict=True)
    except (TypeError, OverflowError) as error:
        raise pl.exceptions.SchemaError(str(error)) from None


def _typed(part: pl.DataFrame, types: dict[str, pl.DataType]) -> pl.DataFrame:
    """A part with all columns; null where it has none, or one of another type."""
    return part.select(
        pl.col(name) if part.schema.get(name) == kind else pl.lit(None, kind).alias(name)
        for name, kind in types.items()
    )


def read_csv(file: Path) -> pl.DataFrame:
    """A CSV file with a header, every column as text, an empty cell null; as `polars.read_csv` has it.

    Raises:
        PolarsError: It is empty, or a row has more fields than the header.
    """
    header, parts = b"", []
    for content in _csv_parts(file):
        parts.append(pl.read_csv(io.BytesIO(header + content), infer_schema=False))
        header = header or content
    return pl.concat(parts)


def _csv_parts(file: Path) -> Iterator[bytes]:
    """The header, then parts that end where a row ends.

    After a row whose quotes are not those of RFC 4180 nobody knows where rows end but polars, so that
    the rest comes whole.
    """
    part, row = bytearray(), bytearray()
    has_header = is_quoted = False
    with file.open("rb") as lines:
        for line in lines:
            row += line
            is_quoted ^= bool(line.count(b'"') % 2)
            if is_quoted:
                continue
            part += row
            if b'"' in row and not _ROW.fullmatch(row):
                part += lines.read()
            row.clear()
            # Blank lines before the header are part of it.
            text = part if has_header else part.removeprefix(codecs.BOM_UTF8).strip(b"\r\n")
            if len(text) >= (N_PART if has_header else 1):
                yield bytes(part)
                part.clear()
                has_header = True
    if part or row or not has_header:
        yield bytes(part + row)
