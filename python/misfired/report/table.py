"""Tables of every report, and one renderer for each format."""

import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import polars as pl
from rich.cells import cell_len, chop_cells

from misfired.text import LONGEST_MESSAGE, shown

#: Columns of a terminal that every report fits in, of titles in `facts`, of words folded at most.
WIDTH, _TITLE_WIDTH, _NARROWEST = 80, 20, 8

#: A space that no line ends at, and a column that prints nothing; a text that is `shown` holds neither.
_JOINED, _PAD = "\0", "\1"

_LATEX = {mark: f"\\{mark}" for mark in "_&%#${}"} | {
    mark: f"\\text{name}{{}}"
    for mark, name in zip(
        "\\~^<>|", ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar"), strict=True
    )
}


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


def screen_width() -> int:
    """Return the columns of the terminal (or of COLUMNS), 80 where there is none, 20 at least."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, 20)


def text(table: Table, width: int | None = None) -> str:
    """Return a table for a terminal; long words are folded so that it fits `width`, or the screen.

    Where even that does not fit a narrow screen, each row is a list of its cells. Cells, title and notes
    may hold any text: they are `shown`.

    Example:
        >>> print(text(Table(("slice", "MAR"), [("overall", "4.7"), ("Age", "12.0")], n_words=1)))
        slice     MAR
        overall   4.7
        Age      12.0
    """
    width = screen_width() if width is None else width
    cells = [[shown(cell) for cell in row] for row in (table.header, *table.rows)]
    words = table.holds_words
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    foldable = [column for column, is_words in enumerate(words) if is_words]
    while excess > 0 and any(widths[column] > _NARROWEST for column in foldable):
        widths[max(foldable, key=widths.__getitem__)] -= 1
        excess -= 1
    lines = (
        []
        if table.title is None
        else _folded(shown(table.title, LONGEST_MESSAGE), width, break_on_hyphens=True)
    )
    if excess > 0 and width < WIDTH:
        lines += _listed(cells, width, max(sum(words), 1))
    elif table.header:
        lines += _lines(cells, widths, words)
    for note in table.notes:
        lines += _folded(shown(note, LONGEST_MESSAGE), width, subsequent_indent="  ")
    return "\n".join(lines)


def _lines(cells: list[list[str]], widths: list[int], words: list[bool]) -> Iterator[str]:
    for row in cells:
        folded = [_folded(cell, most) for cell, most in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            sized = zip(parts, widths, words, strict=True)
            padded = (
                part + " " * (n - cell_len(part)) if is_words else " " * (n - cell_len(part)) + part
                for part, n, is_words in sized
            )
            yield "  ".join(padded).rstrip()


def _listed(cells: list[list[str]], width: int, n_words: int) -> Iterator[str]:
    """Yield each row under its words, or under the first of nothing but words, a cell a line."""
    header, *rows = cells
    n_words = n_words if n_words < len(header) else 1
    size = max(map(cell_len, header[n_words:]), default=0)
    for row in rows:
        yield from _folded(", ".join(row[:n_words]), width)
        for name, cell in zip(header[n_words:], row[n_words:], strict=True):
            first, *others = _folded(cell, max(width - size - 4, _NARROWEST)) or [""]
            yield f"  {name}{' ' * (size - cell_len(name))}  {first}".rstrip()
            yield from (f"{' ' * (size + 4)}{other}" for other in others)


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return `text` of a table whose columns of numbers hold numbers."""
    return text(Table(header, rows))


def latex(table: Table) -> str:
    """Return a LaTeX `tabular` (package booktabs)."""
    kinds = table.holds_words
    names = (_escaped(shown(name), is_words=True) for name in table.header)
    head = (f"${name}$" if len(name) == 1 else name.replace(". ", ".\\ ") for name in names)
    body = (
        (
            _escaped(shown(cell), is_words=is_words)
            for cell, is_words in zip(row, kinds, strict=True)
        )
        for row in table.rows
    )
    lines = [f"{' & '.join(row)} \\\\" for row in (head, *body)]
    columns = "".join("l" if is_words else "r" for is_words in kinds)
    begin = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", lines[0], "\\midrule"]
    title = [] if table.title is None else [f"% {shown(table.title, LONGEST_MESSAGE)}"]
    notes = [f"% {shown(note, LONGEST_MESSAGE)}" for note in table.notes]
    return "\n".join([*title, *begin, *lines[1:], "\\bottomrule", "\\end{tabular}", *notes])


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
        folded = _folded(
            shown(content, LONGEST_MESSAGE), max(page_width() - _TITLE_WIDTH, _NARROWEST)
        ) or [""]
        for head, line in zip_longest([title], folded, fillvalue=""):
            lines.append(f"{head:<{_TITLE_WIDTH}}{line}")
    return "\n".join(lines)


def paragraph(content: str) -> str:
    """Return a text folded between words, unseen characters escaped; a name by `whole` stays whole."""
    safe = _JOINED.join(shown(part, None, lines=True) for part in content.split(_JOINED))
    folded = textwrap.fill(safe, page_width(), break_on_hyphens=False, break_long_words=False)
    return folded.replace(_JOINED, " ")


def whole(name: object, before: str = "") -> str:
    """Return a name or path for a `paragraph` that never breaks it, nor parts it from `before`.

    Example:
        >>> print(paragraph(f"{whole('/models/my model.gguf', 'model  ')} {'word ' * 12}"))
        model  /models/my model.gguf word word word word word word word word word word
        word word
    """
    return f"{before}{shown(name, LONGEST_MESSAGE)}".replace(" ", _JOINED)


def page_width() -> int:
    """Return the columns of running text."""
    return min(screen_width(), WIDTH)


def number(value: float | None, sign: str = "", *, digits: int = 1) -> str:
    """Return a number, by default a percentage with one decimal."""
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def interval(row: Mapping[str, Any], *, digits: int = 1) -> str:
    """Return the interval of a row with `low` and `high`."""
    return "-" if row["low"] is None else f"[{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def p_value(value: float | None) -> str:
    """Return a p value with two significant digits."""
    return "-" if value is None else f"{value:.2g}"


def _folded(cell: str, width: int, **options: Any) -> list[str]:
    if cell_len(cell) <= width:
        return [cell]
    # textwrap counts letters; those of two columns, as Chinese has them, are given a second one.
    sized = "".join(mark + _PAD * (cell_len(mark) - 1) for mark in cell)
    lines = textwrap.wrap(sized, width, **{"break_on_hyphens": False, **options})
    return [part for line in lines for part in chop_cells(line.replace(_PAD, ""), width)]


def _escaped(cell: str, *, is_words: bool) -> str:
    if is_words:
        # After the end of a row, LaTeX would take a bracket or a star as an argument of that end.
        guard = "{}" if cell.startswith(("[", "*")) else ""
        return guard + "".join(_LATEX.get(mark, mark) for mark in cell)
    if cell == "-":
        return "--"
    plain = "".join(_LATEX.get(mark, mark) for mark in cell)
    return re.sub(r"(\*+)$", r"$^{\1}$", plain)
