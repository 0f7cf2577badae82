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
    plain = ("n", "MAR", "interval", "joint", "BR", "acc. st", "acc. co")
    changes = ("n", "MAR", "interval", "joint", "interval")
    return plain_table(title, ("slice",), changes if change else plain)


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


def contrasts_table(contrasts: pl.DataFrame) -> Table:
    """The contrasts of a priming design, a line each, in percentage points.

    Args:
        contrasts: What `priming_contrasts` returns.
    """
    title = "contrasts of primings (p of sign-flip tests, one family)"
    table = plain_table(
        title, ("contrast", "priming", "measure"), ("value", "interval", "p", "adj. p")
    )
    for row in contrasts.iter_rows(named=True):
        names = (row["contrast"], row["priming"], row["measure"])
        cells = (number(row["value"], "+"), interval(row))
        table.add_row(*names, *cells, p_value(row["p_value"]), p_value(row["p_adjusted"]))
    return table


def variants_table(variants: pl.DataFrame, names: tuple[str, str]) -> Table:
    """MAR of two variants of the pairs and their difference, a line per slice and priming.

    Args:
        variants: What `compare_variants` returns.
        names: Of the first and the second variant.
    """
    title = f"MAR on the scenarios that both share: {names[0]} - {names[1]}"
    table = plain_table(
        title, ("slice", "priming"), ("scenarios", *names, "difference", "interval")
    )
    for row in variants.filter(pl.col("measure") == "mar").iter_rows(named=True):
        values = (number(row["first"]), number(row["second"]), number(row["value"], "+"))
        table.add_row(row["slice"], row["priming"], str(row["n_scenarios"]), *values, interval(row))
    return table


def plain_table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    """A table without lines: columns of words, then columns of numbers."""
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for header in left:
        table.add_column(header, overflow="fold")
    for header in right:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def p_value(value: float | None) -> str:
    """A p value with two significant digits.

    Example:
        >>> p_value(0.03141), p_value(None)
        ('0.031', '-')
    """
    return "-" if value is None else f"{value:.2g}"


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
