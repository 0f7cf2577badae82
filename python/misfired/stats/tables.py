"""A summary as a table for people: on a terminal, or in a paper."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from rich.table import Table

_Row = Mapping[str, Any]


def summary_tables(summary: pl.DataFrame) -> list[Table]:
    """A table for each priming, then one for each change of priming, a line per slice.

    A priming shows n, MAR with its interval, joint MAR, BR and both accuracies; a change the paired
    changes in MAR and joint MAR with their intervals. 80 columns hold the widest.

    Args:
        summary: What `summarize` returns.
    """
    tables: dict[tuple[bool, str], Table] = {}
    for change in (False, True):
        for name, priming, rows in _lines(summary, change=change):
            table = tables.setdefault((change, priming), _open_table(priming, change=change))
            table.add_row(name, *(_change_cells(rows) if change else _measure_cells(rows)))
    return list(tables.values())


def _open_table(priming: str, *, change: bool) -> Table:
    title = f"change by priming: {priming}" if change else f"priming: {priming}"
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("slice", overflow="fold")
    plain = ("n", "MAR", "interval", "joint", "BR", "acc. st", "acc. co")
    changes = ("n", "MAR", "interval", "joint", "interval")
    for header in changes if change else plain:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _measure_cells(rows: Mapping[str, _Row], *, missing: str = "-") -> list[str]:
    mar = rows["mar"]
    others = ("mar_joint", "br", "accuracy_stereotyped", "accuracy_contrast")
    cells = [str(mar["n_pairs"]), number(mar["value"], missing=missing)]
    values = [number(rows[measure]["value"], missing=missing) for measure in others]
    return [*cells, interval(mar, missing=missing), *values]


def _change_cells(rows: Mapping[str, _Row]) -> list[str]:
    mar, joint = rows["mar_change"], rows["mar_joint_change"]
    cells = [str(mar["n_pairs"]), number(mar["value"], "+"), interval(mar)]
    return [*cells, number(joint["value"], "+"), interval(joint)]


def latex_table(summary: pl.DataFrame) -> str:
    """The lines of all primings as a LaTeX `tabular` (package booktabs).

    Args:
        summary: What `summarize` returns.
    """
    head = ("slice", "priming", "$n$", "MAR", "interval", "joint", "BR", "acc.\\ st.", "acc.\\ co.")
    lines = ["\\begin{tabular}{llrrrrrrr}", "\\toprule", f"{' & '.join(head)} \\\\", "\\midrule"]
    for name, priming, rows in _lines(summary, change=False):
        cells = [_escape(name), _escape(priming), *_measure_cells(rows, missing="--")]
        lines.append(f"{' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def number(value: float | None, sign: str = "", *, missing: str = "-") -> str:
    """A percentage with one decimal.

    Example:
        >>> number(4.74), number(3.0, "+"), number(None)
        ('4.7', '+3.0', '-')
    """
    return missing if value is None else f"{value:{sign}.1f}"


def interval(row: _Row, *, missing: str = "-") -> str:
    """The interval of a summary row.

    Example:
        >>> interval({"low": 3.14, "high": 6.0})
        '[3.1, 6.0]'
    """
    if row["low"] is None:
        return missing
    return f"[{row['low']:.1f}, {row['high']:.1f}]"


def _lines(summary: pl.DataFrame, *, change: bool) -> Iterator[tuple[str, str, dict[str, _Row]]]:
    """Slice, priming and its rows by measure; changes of priming, or primings themselves."""
    wanted = summary.filter(pl.col("measure").str.ends_with("_change") == change)
    for (name, priming), rows in wanted.group_by("slice", "priming", maintain_order=True):
        by_measure: dict[str, _Row] = {row["measure"]: row for row in rows.iter_rows(named=True)}
        yield str(name), str(priming), by_measure


def _escape(text: str) -> str:
    return text.replace("_", "\\_").replace("&", "\\&").replace("%", "\\%").replace("#", "\\#")
