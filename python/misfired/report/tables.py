"""A summary as a table for people: on a terminal, or in a paper."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from rich.table import Table

_Row = Mapping[str, Any]


def summary_tables(summary: pl.DataFrame, before: str = "") -> list[Table]:
    """A table for each priming, then one for each change of priming, a line per slice.

    A priming shows n, MAR with its interval, joint MAR, BR and both accuracies; a change the paired
    changes in MAR and joint MAR with their intervals. 80 columns hold the widest.

    Args:
        summary: What `summarize` returns.
        before: What stands before each title.
    """
    tables: dict[tuple[bool, str], Table] = {}
    for change in (False, True):
        for name, priming, rows in _lines(summary, change=change):
            opened = _open_table(before, priming, change=change)
            table = tables.setdefault((change, priming), opened)
            table.add_row(name, *(_change_cells(rows) if change else _measure_cells(rows)))
    return list(tables.values())


def _open_table(before: str, priming: str, *, change: bool) -> Table:
    title = before + (f"change by priming: {priming}" if change else f"priming: {priming}")
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
        names = (row["contrast"], row["priming"], _SHORT.get(row["measure"], row["measure"]))
        cells = (number(row["value"], "+"), interval(row))
        table.add_row(*names, *cells, p_value(row["p_value"]), p_value(row["p_adjusted"]))
    return table


def detection_table(detection: pl.DataFrame, priming: str) -> Table:
    """Rates of yes, d' and criterion of both conditions under a priming, and their differences.

    Args:
        detection: What `signal_detection` returns.
        priming: One of its primings.
    """
    title = f"yes or no, priming: {priming} (criterion: positive leans to no)"
    header = ("hits", "false al.", "d'", "interval", "crit.", "interval")
    table = plain_table(title, ("condition",), header)
    rows = detection.filter(priming=priming).partition_by("condition", maintain_order=True)
    for part in rows:
        by_measure = {row["measure"]: row for row in part.iter_rows(named=True)}
        d_prime, criterion = by_measure["d_prime"], by_measure["criterion"]
        rates = (
            _rate(d_prime["hits"], d_prime["misses"]),
            _rate(d_prime["false_alarms"], d_prime["correct_rejections"]),
        )
        values = [
            cell
            for row in (d_prime, criterion)
            for cell in (number(row["value"], digits=2), interval(row, digits=2))
        ]
        alone = d_prime["hits"] is not None
        table.add_row(d_prime["condition"] if alone else "difference", *rates, *values)
    return table


def expected_table(expected: pl.DataFrame, detection: pl.DataFrame) -> Table:
    """MAR where yes is expected, its mirror where no is, and MAR adjusted for the criterion.

    Args:
        expected: What `by_expected` returns.
        detection: What `signal_detection` returns.
    """
    title = "MAR by expected answer (no: the mirror), and adjusted for the criterion"
    header = ("yes", "interval", "no", "interval", "adjusted", "interval")
    table = plain_table(title, ("priming",), header)
    halves = expected.filter(slice="overall", measure="mar")
    adjusted = detection.filter(measure="mar_adjusted")
    for priming in detection["priming"].unique(maintain_order=True):
        cells = []
        for part in (
            halves.filter(expected="yes"),
            halves.filter(expected="no"),
            adjusted,
        ):
            row = next(part.filter(priming=priming).iter_rows(named=True), _NO_ROW)
            cells += [number(row["value"]), interval(row)]
        table.add_row(priming, *cells)
    return table


def tests_table(tests: pl.DataFrame) -> Table:
    """The families of tests of a study, a line for each test.

    Args:
        tests: What `study_tests` returns.
    """
    how = tests.row(0, named=True) if len(tests) else dict.fromkeys(tests.columns, "none")
    title = f"{how['method']}, {how['alternative']}, {how['adjustment']} within each family"
    left = ("family", "model", "category")
    table = plain_table(title, left, ("n", "for", "against", "p", "adj. p"))
    for row in tests.iter_rows(named=True):
        counts = (str(row[name]) for name in ("n_pairs", "n_for", "n_against"))
        p_values = (p_value(row["p_value"]), p_value(row["p_adjusted"]))
        table.add_row(row["family"], row["model"], row["category"] or "", *counts, *p_values)
    return table


def variants_table(variants: pl.DataFrame, names: tuple[str, str]) -> Table:
    """MAR of two variants of the pairs and their difference, a line per slice and priming.

    Args:
        variants: What `compare_variants` returns.
        names: Of the first and the second variant.
    """
    title = f"MAR on the scenarios that both share: {names[0]} - {names[1]}"
    table = plain_table(title, ("slice", "priming"), ("scenarios", *names, "diff.", "interval"))
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


_SHORT = {"accuracy_stereotyped": "acc. st", "accuracy_contrast": "acc. co", "mar": "MAR"}
_NO_ROW: _Row = {"value": None, "low": None, "high": None}


def _rate(yes: int | None, no: int | None) -> str:
    return "" if yes is None or no is None else number(100 * yes / (yes + no) if yes + no else None)


def number(value: float | None, sign: str = "", *, missing: str = "-", digits: int = 1) -> str:
    """A number, by default a percentage with one decimal.

    Example:
        >>> number(4.74), number(3.0, "+"), number(None)
        ('4.7', '+3.0', '-')
    """
    return missing if value is None else f"{value:{sign}.{digits}f}"


def interval(row: _Row, *, missing: str = "-", digits: int = 1) -> str:
    """The interval of a summary row.

    Example:
        >>> interval({"low": 3.14, "high": 6.0})
        '[3.1, 6.0]'
    """
    if row["low"] is None:
        return missing
    return f"[{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def _lines(summary: pl.DataFrame, *, change: bool) -> Iterator[tuple[str, str, dict[str, _Row]]]:
    """Slice, priming and its rows by measure; changes of priming, or primings themselves."""
    wanted = summary.filter(pl.col("measure").str.ends_with("_change") == change)
    for (name, priming), rows in wanted.group_by("slice", "priming", maintain_order=True):
        by_measure: dict[str, _Row] = {row["measure"]: row for row in rows.iter_rows(named=True)}
        yield str(name), str(priming), by_measure


def _escape(text: str) -> str:
    return text.replace("_", "\\_").replace("&", "\\&").replace("%", "\\%").replace("#", "\\#")
