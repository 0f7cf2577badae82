"""Tables of statistics: summaries, contrasts, signal detection, tests, comparisons and rankings."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from misfired.report.table import Table, interval, number, p_value
from misfired.runs.analyses import Analyses

_Row = Mapping[str, Any]

_SHORT = {"accuracy_stereotyped": "acc. st", "accuracy_contrast": "acc. co", "mar": "MAR"}
_LEVEL = 0.05  # Of the false discovery rate, for stars.
_NO_ROW: _Row = {"value": None, "low": None, "high": None}


def summary_tables(summary: pl.DataFrame, before: str = "") -> list[Table]:
    """Return a table for each priming, then one for each change of priming, a line per slice.

    `summary` is what `summarize` or `by_expected` returns; of the latter, each half has its tables.
    `before` begins each title.
    """
    if "expected" in summary.columns:
        halves = summary.group_by("expected", maintain_order=True)
        parts = (summary_tables(p.drop("expected"), f"expected {half}, ") for (half,), p in halves)
        return [table for part in parts for table in part]
    plain = ("slice", "n", "MAR", "interval", "joint", "BR", "acc. st", "acc. co")
    changes = ("slice", "n", "MAR", "interval", "joint", "interval")
    tables = []
    for change, header, title in ((False, plain, "priming"), (True, changes, "change by priming")):
        rows: dict[str, list[list[str]]] = {}
        for name, priming, cells in _lines(summary, change=change):
            rows.setdefault(priming, []).append([name, *cells])
        tables += [Table(header, rows[p], f"{before}{title}: {p}", n_words=1) for p in rows]
    return tables


def publication_table(summary: pl.DataFrame) -> Table:
    """Return the lines of all primings of what `summarize` returns as one table, for a paper."""
    header = ("slice", "priming", "n", "MAR", "interval", "joint", "BR", "acc. st.", "acc. co.")
    rows = [(name, priming, *cells) for name, priming, cells in _lines(summary, change=False)]
    return Table(header, rows, n_words=2)


def analyses_tables(analyses: Analyses) -> list[Table]:
    """Return the tables of what a design allows beyond its summary."""
    contrasts, detection = analyses.contrasts, analyses.detection
    tables = [contrasts_table(contrasts)] if len(contrasts) else []
    if len(detection):
        tables += [*detection_tables(detection), expected_table(analyses.expected, detection)]
    return tables


def contrasts_table(contrasts: pl.DataFrame) -> Table:
    """Return what `priming_contrasts` returns, a line each, in percentage points."""
    header = ("contrast", "priming", "measure", "value", "interval", "p", "adj. p")
    rows = []
    for row in contrasts.iter_rows(named=True):
        names = (row["contrast"], row["priming"], _SHORT.get(row["measure"], row["measure"]))
        rows.append((*names, number(row["value"], "+"), interval(row), *_p_values(row)))
    title = "contrasts of primings (p of sign-flip tests, one family)"
    return Table(header, rows, title, n_words=3)


def detection_tables(detection: pl.DataFrame) -> list[Table]:
    """Return a table for each priming of what `signal_detection` returns: both conditions, differences."""
    header = ("condition", "hits", "false al.", "d'", "interval", "crit.", "interval")
    tables = []
    for (priming,), rows in detection.group_by("priming", maintain_order=True):
        title = f"yes or no, priming: {priming} (criterion: positive leans to no)"
        parts = rows.partition_by("condition", maintain_order=True)
        tables.append(Table(header, [_detection_cells(part) for part in parts], title, n_words=1))
    return tables


def _detection_cells(rows: pl.DataFrame) -> list[str]:
    by_measure = _by_measure(rows)
    d_prime, criterion = by_measure["d_prime"], by_measure["criterion"]
    cells = [
        "difference" if d_prime["hits"] is None else d_prime["condition"],
        _rate(d_prime["hits"], d_prime["misses"]),
        _rate(d_prime["false_alarms"], d_prime["correct_rejections"]),
    ]
    for row in (d_prime, criterion):
        cells += [number(row["value"], digits=2), interval(row, digits=2)]
    return cells


def expected_table(expected: pl.DataFrame, detection: pl.DataFrame) -> Table:
    """Return MAR where yes is expected, its mirror where no is, and MAR adjusted for the criterion.

    The arguments are what `by_expected` and `signal_detection` return.
    """
    header = ("priming", "yes", "interval", "no", "interval", "adjusted", "interval")
    halves = expected.filter(slice="overall", measure="mar")
    adjusted = detection.filter(measure="mar_adjusted")
    parts = (halves.filter(expected="yes"), halves.filter(expected="no"), adjusted)
    rows = []
    for priming in detection["priming"].unique(maintain_order=True):
        cells = [priming]
        for part in parts:
            row = next(part.filter(priming=priming).iter_rows(named=True), _NO_ROW)
            cells += [number(row["value"]), interval(row)]
        rows.append(cells)
    title = "MAR by expected answer (no: the mirror), and adjusted for the criterion"
    return Table(header, rows, title, n_words=1)


def tests_tables(tests: pl.DataFrame) -> list[Table]:
    """Return a table for each family of what `study_tests` returns, a line for each test."""
    families = tests.partition_by("family", maintain_order=True)
    return [_family_table(family) for family in families] or [Table(("family",), [("none",)])]


def _family_table(tests: pl.DataFrame) -> Table:
    first = tests.row(0, named=True)
    words = ["model"] if first["category"] is None else ["model", "category"]
    changed = {"priming": "cue", "reasoning": "cot"}.get(first["family"])
    rates = ["joint MAR", changed, "change"] if changed else ["joint MAR"]
    rows = []
    for row in tests.iter_rows(named=True):
        values = [number(row["mar"])]
        if changed:
            values += [number(row["mar_changed"]), number(row["statistic"], "+")]
        counts = (row["n_for"], row["n_against"])
        cells = (row["n_pairs"], *values, interval(row), *counts, *_tested(row))
        rows.append((*(row[word] for word in words), *cells))
    title = (
        f"{first['family']}: {first['method']}, {first['alternative']}; adj. p by {first['adjustment']}"
        " within the family; stars for p below 0.05, 0.01, 0.001 where adj. p is at most 0.05"
    )
    header = (*words, "n", *rates, "interval", "for", "against", "p", "adj. p")
    return Table(header, rows, title, n_words=len(words))


def _tested(row: _Row) -> tuple[str, str]:
    """Return p and adjusted p with stars, or the reason why there is none."""
    p, adjusted = row["p_value"], row["p_adjusted"]
    if p is None:
        return str(row["reason"]), ""
    stars = "*" * sum(p < bound for bound in (0.05, 0.01, 0.001)) if adjusted <= _LEVEL else ""
    return p_value(p), p_value(adjusted) + stars


def variants_table(variants: pl.DataFrame, names: tuple[str, str]) -> Table:
    """Return MAR of two variants of the pairs and their difference, a line per slice and priming.

    `variants` is what `compare_variants` returns; `names` name the first and the second variant.
    """
    header = ("slice", "priming", "scenarios", *names, "diff.", "interval")
    rows = []
    for row in variants.filter(measure="mar").iter_rows(named=True):
        values = (number(row["first"]), number(row["second"]), number(row["value"], "+"))
        rows.append((row["slice"], row["priming"], row["n_scenarios"], *values, interval(row)))
    title = f"MAR on the scenarios that both share: {names[0]} - {names[1]}"
    return Table(header, rows, title, n_words=2)


def comparison_table(comparison: pl.DataFrame, title: str) -> Table:
    """Return the differences in MAR and joint MAR of two runs, a line per slice and priming.

    `comparison` is what `misfired.stats.compare` returns; `title` names both runs.
    """
    header = ("slice", "priming", "n", "MAR", "interval", "joint", "p", "adj. p")
    rows = []
    for (name, priming), part in comparison.group_by("slice", "priming", maintain_order=True):
        by_measure = _by_measure(part)
        mar, joint = by_measure["mar"], by_measure["mar_joint"]
        values = (number(mar["value"], "+"), interval(mar), number(joint["value"], "+"))
        rows.append((name, priming, mar["n_pairs"], *values, *_p_values(joint)))
    return Table(header, rows, title, n_words=2)


def ranking_tables(ranking: pl.DataFrame, title: str) -> list[Table]:
    """Return what `misfired.stats.leaderboard` returns: the runs with a rank, then those without.

    `title` names the measure.
    """
    is_ranked = (pl.col("source") == "published") | pl.col("rank").is_not_null()
    rows = []
    for row in ranking.filter(is_ranked).iter_rows(named=True):
        name = row["run"] + (" (published)" if row["source"] == "published" else "")
        rank, ranks = "-", "-"
        if row["rank"] is not None:
            rank, ranks = row["rank"], f"{row['rank_low']}-{row['rank_high']}"
        rows.append((name, number(row["value"]), interval(row), rank, ranks, *_base(row)))
    header = ("run", "value", "interval", "rank", "ranks", "n", "eff. n")
    n_pairs = ranking.filter(is_ranked, source="run")["n_pairs"]
    shared = f"; {n_pairs[0]} pairs that all scored" if len(n_pairs) else ""
    tables = [Table(header, rows, title + shared, n_words=1)]
    below: list[tuple[object, ...]] = []
    for row in ranking.filter(~is_ranked).iter_rows(named=True):
        value = None if row["reason"] == "little_support" else row["value"]
        why = str(row["reason"]).replace("_", " ")
        below.append((row["run"], why, number(value), interval(row), *_base(row)))
    if below:
        columns = ("run", "why", "value", "interval", "n", "eff. n")
        tables.append(Table(columns, below, "not ranked, each on its own pairs", n_words=2))
    return tables


def _base(row: _Row) -> tuple[str, str]:
    """Return pairs and effective pairs."""
    return ("" if row["n_pairs"] is None else row["n_pairs"]), number(row["n_effective"], digits=0)


def _p_values(row: _Row) -> tuple[str, str]:
    return p_value(row["p_value"]), p_value(row["p_adjusted"])


def _rate(yes: int | None, no: int | None) -> str:
    return "" if yes is None or no is None else number(100 * yes / (yes + no) if yes + no else None)


def _by_measure(rows: pl.DataFrame) -> dict[str, _Row]:
    return {row["measure"]: row for row in rows.iter_rows(named=True)}


def _lines(summary: pl.DataFrame, *, change: bool) -> Iterator[tuple[str, str, list[str]]]:
    """Yield slice, priming and cells of primings, or of changes of priming."""
    others = ("mar_joint", "br", "accuracy_stereotyped", "accuracy_contrast")
    wanted = summary.filter(pl.col("measure").str.ends_with("_change") == change)
    for (name, priming), rows in wanted.group_by("slice", "priming", maintain_order=True):
        found = _by_measure(rows)
        mar = found["mar_change" if change else "mar"]
        cells = [str(mar["n_pairs"]), number(mar["value"], "+" if change else ""), interval(mar)]
        if change:
            joint = found["mar_joint_change"]
            cells += [number(joint["value"], "+"), interval(joint)]
        else:
            cells += [number(found[measure]["value"]) for measure in others]
        yield str(name), str(priming), cells
