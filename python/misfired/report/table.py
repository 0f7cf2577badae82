"""Tables of every report, and one renderer for each format."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import polars as pl

#: Columns of a terminal that every report fits in, of titles in `facts`, of words folded at most.
WIDTH, _TITLE_WIDTH, _NARROWEST = 80, 20, 8


@dataclass(frozen=True)
class Table:
    """Cells, turned into text by `str`, under a header, which may have a title above it.

    The first `n_words` columns are aligned to the left; numbers follow, aligned to the right. None:
    a column holds numbers where its first cell is one. Notes stand below.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str | None = None
    n_words: int | None = None
    notes: Sequence[str] = ()

    @property
    def holds_words(self) -> list[bool]:
        """True for each column that is aligned to the left."""
        if self.n_words is not None:
            return [column < self.n_words for column in range(len(self.header))]
        first = self.rows[0] if self.rows else self.header
        return [not isinstance(cell, int | float) for cell in first]


def text(table: Table, width: int = WIDTH) -> str:
    """Return a table for a terminal; long words are folded so that it fits.

    Example:
        >>> print(text(Table(("slice", "MAR"), [("overall", "4.7"), ("Age", "12.0")], n_words=1)))
        slice     MAR
        overall   4.7
        Age      12.0
    """
    cells = [[str(cell) for cell in row] for row in (table.header, *table.rows)]
    words = table.holds_words
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    foldable = [column for column, is_words in enumerate(words) if is_words]
    while excess > 0 and any(widths[column] > _NARROWEST for column in foldable):
        widths[max(foldable, key=widths.__getitem__)] -= 1
        excess -= 1
    lines = [] if table.title is None else [textwrap.fill(table.title, width)]
    for row in cells if table.header else ():
        folded = [_folded(cell, most) for cell, most in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            sized = zip(parts, widths, words, strict=True)
            padded = (part.ljust(n) if is_words else part.rjust(n) for part, n, is_words in sized)
            lines.append("  ".join(padded).rstrip())
    for note in table.notes:
        lines += textwrap.wrap(note, width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return `text` of a table whose columns of numbers hold numbers."""
    return text(Table(header, rows))


def latex(table: Table) -> str:
    """Return a LaTeX `tabular` (package booktabs)."""
    head = (f"${name}$" if len(name) == 1 else name.replace(". ", ".\\ ") for name in table.header)
    body = ((_escaped(str(cell)) for cell in row) for row in table.rows)
    lines = [f"{' & '.join(row)} \\\\" for row in (head, *body)]
    columns = "".join("l" if is_words else "r" for is_words in table.holds_words)
    begin = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", lines[0], "\\midrule"]
    notes = [f"% {note}" for note in table.notes]
    return "\n".join([*begin, *lines[1:], "\\bottomrule", "\\end{tabular}", *notes])


def csv(frame: pl.DataFrame) -> str:
    """Return rows as comma-separated values, with a header and every digit."""
    return frame.write_csv().removesuffix("\n")


def json_lines(frame: pl.DataFrame) -> str:
    """Return one JSON object per row, each on a line."""
    return "\n".join(json.dumps(row) for row in frame.iter_rows(named=True))


def json_text(value: Any) -> str:
    """Return one JSON document, indented, text as it is."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return titles with the text of each beside it, folded."""
    lines = []
    for title, content in rows:
        folded = _folded(content, WIDTH - _TITLE_WIDTH) or [""]
        for head, line in zip_longest([title], folded, fillvalue=""):
            lines.append(f"{head:<{_TITLE_WIDTH}}{line}")
    return "\n".join(lines)


def paragraph(content: str) -> str:
    """Return a text folded between words."""
    return textwrap.fill(content, WIDTH, break_on_hyphens=False, break_long_words=False)


def number(value: float | None, sign: str = "", *, digits: int = 1) -> str:
    """Return a number, by default a percentage with one decimal."""
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def interval(row: Mapping[str, Any], *, digits: int = 1) -> str:
    """Return the interval of a row with `low` and `high`."""
    return "-" if row["low"] is None else f"[{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def p_value(value: float | None) -> str:
    """Return a p value with two significant digits."""
    return "-" if value is None else f"{value:.2g}"


def _folded(cell: str, width: int) -> list[str]:
    return [cell] if len(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False)


def _escaped(cell: str) -> str:
    if cell == "-":
        return "--"
    plain = cell.replace("_", "\\_").replace("&", "\\&").replace("%", "\\%").replace("#", "\\#")
    return re.sub(r"(\*+)$", r"$^{\1}$", plain)
