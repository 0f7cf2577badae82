"""The wide table of `rates_by_category`: for a terminal, as LaTeX, CSV and HTML."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import polars as pl

from misfired.report.notes import WORDS
from misfired.report.table import Table, number, screen_width, text
from misfired.stats.columns import TOTAL
from misfired.stats.published import CITATION
from misfired.text import named, shown

_STARS = (0.05, 0.01, 0.001)
_RATES = {
    "mar": "all",
    "br": "BR",
    "accuracy_stereotyped": "acc. st.",
    "accuracy_contrast": "acc. co.",
}
_STYLE = (
    "body{font:1rem/1.4 system-ui,sans-serif;color-scheme:light dark}table{border-collapse:collapse}"
    "th,td{padding:.2em .6em;text-align:right;white-space:nowrap}th:first-child{text-align:left}"
    "thead{border-bottom:1px solid}.published{font-style:italic}"
)


def wide_table(rates: pl.DataFrame) -> Table:
    """Return a line per run: MAR by category and of all pairs, BR, and both accuracies.

    Runs come first, by MAR; then those that do not read; then published figures, marked as such.
    """
    categories = _categories(rates)
    rows, notes = [], _notes(rates)
    for name, source, cells in _lines(rates):
        mark = " (published)" if source == "published" else ""
        by_slice = [_cell(cells.get((False, category, "mar"))) for category in categories]
        rates_of_all = [_cell(cells.get((True, TOTAL, measure))) for measure in _RATES]
        rows.append((f"{name}{mark}", *by_slice, *rates_of_all))
    header = ("run", *(named(each, *_RATES.values()) for each in categories), *_RATES.values())
    return Table(header, rows, "MAR by category, in percent", n_words=1, notes=notes)


def wide_csv(rates: pl.DataFrame) -> pl.DataFrame:
    """Return a row per run with every digit; withheld rates, too, have their value."""
    rows = []
    categories = _categories(rates)
    for name, source, cells in _lines(rates):
        values = {category: _value(cells, False, category, "mar") for category in categories}
        of_all = {measure: _value(cells, True, TOTAL, measure) for measure in _RATES}
        rows.append([name, source, *values.values(), *of_all.values()])
    columns = ["run", "source", *categories, *_RATES]
    # A category may have the name of another column.
    unique = [f"category {name}" if columns.count(name) > 1 and 1 < i < 2 + len(categories) else name
              for i, name in enumerate(columns)]  # fmt: skip
    kinds = [pl.String, pl.String, *[pl.Float64] * (len(columns) - 2)]
    return pl.DataFrame(rows, schema=dict(zip(unique, kinds, strict=True)), orient="row")


def wide_text(table: Table, width: int | None = None) -> str:
    """Return the table for a terminal, its columns in as many parts as fit side by side."""
    width = screen_width() if width is None else width
    sizes = [
        max(len(str(row[i])) for row in (table.header, *table.rows))
        for i in range(len(table.header))
    ]
    first = min(sizes[0], max(width // 3, 16))
    parts: list[list[int]] = [[]]
    left = width - first
    for column in range(1, len(sizes)):
        if parts[-1] and left < sizes[column] + 2:
            parts.append([])
            left = width - first
        parts[-1].append(column)
        left -= sizes[column] + 2
    shown_parts = []
    for at, columns in enumerate(parts):
        chosen = [0, *columns]
        rows = [[row[i] for i in chosen] for row in table.rows]
        title = table.title if at == 0 else None
        notes = table.notes if at == len(parts) - 1 else ()
        header = [table.header[i] for i in chosen]
        shown_parts.append(text(Table(header, rows, title, n_words=1, notes=notes), width))
    return "\n\n".join(shown_parts)


def wide_html(table: Table) -> str:
    """Return the table as a page of HTML that needs nothing else; names are text, never markup."""
    head = "".join(f'<th scope="col">{_html(cell)}</th>' for cell in table.header)
    lines = []
    for row in table.rows:
        kind = ' class="published"' if str(row[0]).endswith(" (published)") else ""
        cells = "".join(f"<td>{_html(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr{kind}><th scope="row">{_html(row[0])}</th>{cells}</tr>')
    notes = "".join(f"<li>{_html(note.removeprefix('- '))}</li>" for note in table.notes)
    return "\n".join([
        '<!doctype html>', '<html lang="en">', '<head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">',
        f"<title>{_html(table.title)}</title><style>{_STYLE}</style></head>", "<body>", "<table>",
        f"<caption>{_html(table.title)}</caption>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *lines,
        "</tbody>", "</table>", f"<ul>{notes}</ul>", "</body>", "</html>",
    ])  # fmt: skip


def _html(cell: object) -> str:
    return escape(shown(cell))


def _categories(rates: pl.DataFrame) -> list[str]:
    """Return the categories of the runs by name, then those of published figures alone."""
    parts = (rates.filter(total=False, source=source) for source in ("run", "published"))
    own, others = (part["slice"].unique(maintain_order=True).to_list() for part in parts)
    return [*sorted(own), *(name for name in others if name not in own)]


def _lines(rates: pl.DataFrame) -> Iterator[tuple[str, str, dict[Any, dict[str, Any]]]]:
    found = []
    for (source, run), part in rates.group_by("source", "run", maintain_order=True):
        cells = {(r["total"], r["slice"], r["measure"]): r for r in part.iter_rows(named=True)}
        mar = cells[True, TOTAL, "mar"]
        low = mar["value"] if mar["value"] is not None else float("inf")
        found.append(
            ((source == "published", mar["reads"] is False, low), str(run), str(source), cells)
        )
    return (
        (run, source, cells) for _, run, source, cells in sorted(found, key=lambda each: each[0])
    )


def _value(cells: dict[Any, dict[str, Any]], *at: object) -> float | None:
    row = cells.get(at)
    return None if row is None else row["value"]


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None or row["withheld"]:
        return "-"
    p, adjusted = row["p_value"], row["p_adjusted"]
    stars = sum(p < bound for bound in _STARS) if p is not None and adjusted <= _STARS[0] else 0
    return number(row["value"]) + "*" * stars


def _notes(rates: pl.DataFrame) -> Sequence[str]:
    own, others = (rates.filter(source=source) for source in ("run", "published"))
    unread = own.filter(pl.col("reads").not_())["run"].unique(maintain_order=True)
    notes = [f"- {run} does not read: its rates mean nothing" for run in unread]
    if own["withheld"].drop_nulls().len() or own["value"].null_count():
        notes.append(f"- a dash: {WORDS['little_support']}, or there is no pair to count")
    if own["p_adjusted"].drop_nulls().le(_STARS[0]).any():
        notes.append(
            "- stars: asymmetry of misfires and reverse ones, cluster sign-flip test, p below 0.05, 0.01, "
            "0.001 where p adjusted (Benjamini and Hochberg) is at most 0.05"
        )
    if len(others):
        notes.append(f"- published: not measured here; figures of {CITATION}")
    for run, why in (
        others.drop_nulls("reason").select("run", "reason").unique(maintain_order=True).rows()
    ):
        notes.append(f"- {run}: {why}")
    return notes
