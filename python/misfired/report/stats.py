"""Tables of statistics: summaries, contrasts, signal detection, tests, comparisons and rankings."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from misfired.report.notes import Notes
from misfired.report.table import Table, interval, number, p_value
from misfired.report.verdict import evidence_tables
from misfired.runs.analyses import Analyses
from misfired.stats.columns import TOTAL
from misfired.stats.sharing import Shared
from misfired.stats.support import FEWEST_EFFECTIVE
from misfired.text import named

_Row = Mapping[str, Any]

_ACCURACIES = {"accuracy_stereotyped": "acc. st", "accuracy_contrast": "acc. co"}
_SHORT = {**_ACCURACIES, "mar": "MAR"}
_LEVEL = 0.05  # Of the false discovery rate, for stars.
_NO_ROW: _Row = {"value": None, "low": None, "high": None, "reason": "no_scored_pair"}
_CELLS = ("hits", "misses", "false_alarms", "correct_rejections")
_LINE = ("total", "slice", "priming")  # Rows of these are a line of a table.
_FEWEST = 5  # Below it, a rate and its quantile come from the correction more than from the data.


def summary_tables(summary: pl.DataFrame, before: str = "") -> list[Table]:
    """Return a table for each priming, then one for each change of priming, a line per slice.

    `summary` is what `summarize` or `by_expected` returns; of the latter, each half has its tables.
    `before` begins each title.
    """
    if "expected" in summary.columns:
        halves = summary.group_by("expected", maintain_order=True)
        parts = (summary_tables(p.drop("expected"), f"expected {half}, ") for (half,), p in halves)
        return [table for part in parts for table in part]
    plain = ("slice", "n", "MAR", "interval", "a+c/scen.", "joint", "BR", "acc. st", "acc. co")
    changes = ("slice", "n", "MAR", "interval", "joint", "interval", "p")
    tables = []
    for change, header, title in ((False, plain, "priming"), (True, changes, "change by priming")):
        wanted = summary.filter(pl.col("measure").str.ends_with("_change") == change)
        for (priming,), part in wanted.group_by("priming", maintain_order=True):
            notes = Notes()
            rows = [(name, *cells) for name, _, cells in _lines(part, notes, change=change)]
            name = f"{before}{title}: {priming}"
            tables.append(Table(header, rows, name, n_words=1, notes=notes.lines()))
    return tables


def publication_table(summary: pl.DataFrame) -> Table:
    """Return the lines of all primings of what `summarize` returns as one table, for a paper."""
    header = (
        "slice", "priming", "n", "MAR", "interval", "a+c/scen.", "joint", "BR", "acc. st.", "acc. co.",
    )  # fmt: skip
    notes = Notes()
    plain = summary.filter(~pl.col("measure").str.ends_with("_change"))
    rows = [(name, priming, *cells) for name, priming, cells in _lines(plain, notes, change=False)]
    return Table(header, rows, n_words=2, notes=notes.lines())


def analyses_tables(analyses: Analyses, before: str = "") -> list[Table]:
    """Return the tables beyond a summary: measures of the margin, and what a design allows.

    `before` begins their titles.
    """
    contrasts, detection = analyses.contrasts, analyses.detection
    tables = evidence_tables(analyses.evidence)
    tables += [contrasts_table(contrasts)] if len(contrasts) else []
    if len(detection):
        tables += [*detection_tables(detection), expected_table(analyses.expected, detection)]
    return [replace(table, title=f"{before}{table.title}") for table in tables]


def contrasts_table(contrasts: pl.DataFrame) -> Table:
    """Return what `priming_contrasts` returns, a line each, in percentage points."""
    header = ("contrast", "priming", "measure", "value", "interval", "p", "adj. p")
    rows, notes = [], Notes()
    for row in contrasts.iter_rows(named=True):
        short = _SHORT.get(row["measure"], row["measure"])
        name = f"{row['contrast']} {row['priming']}"
        value = notes.value(row, short, name, "+")
        ends = notes.interval(row, short, name)
        tested = _sign_flip(row, notes, f"{name} {short}"), p_value(row["p_adjusted"])
        rows.append((row["contrast"], row["priming"], short, value, ends, *tested))
    title = "contrasts of primings (p of sign-flip tests, one family)"
    return Table(header, rows, title, n_words=3, notes=notes.lines())


def detection_tables(detection: pl.DataFrame) -> list[Table]:
    """Return a table for each priming of what `signal_detection` returns: both conditions, differences."""
    header = ("condition", "hits", "false al.", "d'", "interval", "crit.", "interval")
    tables = []
    for (priming,), rows in detection.group_by("priming", maintain_order=True):
        title = f"yes or no, priming: {priming} (criterion: positive leans to no)"
        parts, notes = rows.partition_by("condition", maintain_order=True), Notes()
        cells = [_detection_cells(part, notes) for part in parts]
        tables.append(Table(header, cells, title, n_words=1, notes=notes.lines()))
    return tables


def _detection_cells(rows: pl.DataFrame, notes: Notes) -> list[str]:
    by_measure = _by_measure(rows)
    d_prime, criterion = by_measure["d_prime"], by_measure["criterion"]
    cells = [
        "difference" if d_prime["hits"] is None else d_prime["condition"],
        _rate(d_prime["hits"], d_prime["misses"]),
        _rate(d_prime["false_alarms"], d_prime["correct_rejections"]),
    ]
    for column, row in (("d'", d_prime), ("criterion", criterion)):
        cells.append(notes.value(row, column, cells[0], digits=2))
        cells.append(notes.interval(row, column, cells[0], digits=2))
    return cells


def expected_table(expected: pl.DataFrame, detection: pl.DataFrame) -> Table:
    """Return MAR where yes is expected, its mirror where no is, and MAR adjusted for the criterion.

    The arguments are what `by_expected` and `signal_detection` return.
    """
    header = ("priming", "yes", "interval", "no", "interval", "adjusted", "interval")
    halves = expected.filter(total=True, measure="mar")
    adjusted = detection.filter(measure="mar_adjusted")
    parts = (halves.filter(expected="yes"), halves.filter(expected="no"), adjusted)
    rows = []
    notes = Notes()
    for priming in detection["priming"].unique(maintain_order=True):
        cells = [priming]
        for column, part in zip(("yes", "no", "adjusted"), parts, strict=True):
            row = next(part.filter(priming=priming).iter_rows(named=True), _NO_ROW)
            if column == "adjusted" and not _has_criteria(
                detection.filter(pl.col("priming").is_in([priming, "none"]))
            ):
                row = {**row, "withheld": "criterion_at_limit"}
            cells += [notes.value(row, column, priming), notes.interval(row, column, priming)]
        rows.append(cells)
    title = "MAR by expected answer (no: the mirror), and adjusted for the criterion"
    return Table(header, rows, title, n_words=1, notes=notes.lines())


def _has_criteria(detection: pl.DataFrame) -> bool:
    """True if both conditions give each answer to each kind of prompt often enough to place a criterion."""
    cells = detection.filter(measure="criterion").select(_CELLS).drop_nulls()
    return bool(len(cells)) and min(min(row) for row in cells.iter_rows()) >= _FEWEST


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
    rows, notes = [], Notes()
    for row in variants.filter(measure="mar").iter_rows(named=True):
        place = f"{slice_name(row)} {row['priming']}"
        values = [number(row["first"]), number(row["second"])]
        values += [notes.value(row, "diff.", place, "+"), notes.interval(row, "diff.", place)]
        rows.append((slice_name(row), row["priming"], row["n_scenarios"], *values))
    title = f"MAR on the scenarios that both share: {names[0]} - {names[1]}"
    return Table(header, rows, title, n_words=2, notes=notes.lines())


def comparison_table(comparison: pl.DataFrame, title: str) -> Table:
    """Return the differences in MAR and joint MAR of two runs, a line per slice and priming.

    `comparison` is what `misfired.stats.compare` returns; `title` names both runs.
    """
    header = ("slice", "priming", "n", "MAR", "interval", "joint", "p", "adj. p")
    rows, notes = [], Notes()
    for (_, _, priming), part in comparison.group_by(_LINE, maintain_order=True):
        by_measure = _by_measure(part)
        mar, joint = by_measure["mar"], by_measure["mar_joint"]
        name = slice_name(mar)
        place = f"{name} {priming}"
        values = (notes.value(mar, "MAR", place, "+"), notes.interval(mar, "MAR", place))
        joined = notes.value(joint, "joint", place, "+")
        why = "not_tested" if str(priming).endswith(" - none") else "no_discordant_pair"
        tested = _sign_flip(joint, notes, place, why), p_value(joint["p_adjusted"])
        rows.append((name, priming, mar["n_pairs"], *values, joined, *tested))
    return Table(header, rows, title, n_words=2, notes=notes.lines())


def flips_table(flips: pl.DataFrame) -> Table:
    """Return what `misfired.stats.flips` returns, a line per priming."""
    rows, notes = [], Notes()
    for (priming,), part in flips.group_by("priming", maintain_order=True):
        found, name = _by_measure(part), str(priming)
        counts = [found[f"n_{way}"] for way in ("yes_to_no", "no_to_yes")]
        n = sum(int(row["value"]) for row in counts)
        moved = found["margin_difference"]
        margin = notes.value(moved, "margin", name, "+", digits=2)
        ends = notes.interval(moved, "margin", name, digits=2)
        each = [f"{row['value']:.0f}" for row in counts]
        rows.append((name, f"{n:,} of {counts[0]['n_prompts']:,}", *each, margin, ends))
    header = ("priming", "answers that differ", "yes to no", "no to yes", "margin", "interval")
    title = "answers from the first run to the second; margin: first - second"
    return Table(header, rows, title, n_words=1, notes=notes.lines())


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
        little = row["n_effective"] is not None and row["n_effective"] < FEWEST_EFFECTIVE
        value = number(None if little else row["value"])
        why = str(row["reason"]).replace("_", " ")
        below.append((row["run"], why, value, interval(row), *_base(row)))
    if below:
        columns = ("run", "why", "value", "interval", "n", "eff. n")
        tables.append(Table(columns, below, "not ranked, each on its own pairs", n_words=2))
    return tables


def slice_name(row: _Row) -> str:
    """Return the name of a slice; a category that has the total's stands in quotes."""
    return TOTAL if row["total"] else named(row["slice"], TOTAL)


def _base(row: _Row) -> tuple[str, str]:
    """Return pairs and effective pairs."""
    return ("" if row["n_pairs"] is None else row["n_pairs"]), number(row["n_effective"], digits=0)


def _rate(yes: int | None, no: int | None) -> str:
    return "" if yes is None or no is None else number(100 * yes / (yes + no) if yes + no else None)


def _by_measure(rows: pl.DataFrame) -> dict[str, _Row]:
    return {row["measure"]: row for row in rows.iter_rows(named=True)}


def _lines(
    summary: pl.DataFrame, notes: Notes, *, change: bool
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield slice, priming and cells of primings, or of changes of priming."""
    others = {"mar_joint": "joint", "br": "BR", **_ACCURACIES}
    for (_, _, priming), rows in summary.group_by(_LINE, maintain_order=True):
        found = _by_measure(rows)
        mar = found["mar_change" if change else "mar"]
        name = slice_name(mar)
        cells = [str(mar["n_pairs"]), notes.value(mar, "MAR", name, "+" if change else "")]
        cells.append(notes.interval(mar, "MAR", name))
        if change:
            joint = found["mar_joint_change"]
            cells += [notes.value(joint, "joint", name, "+"), notes.interval(joint, "joint", name)]
            cells.append(_sign_flip(joint, notes, name))
        else:
            cells.append(f"{mar['n_base']:,}/{mar['n_informative']}")
            for measure, column in others.items():
                row = found[measure]
                limit = "at_limit" if "at_limit" in (row["flags"] or "") else None
                cells.append(notes.value({**row, "flags": limit}, column, name))
        yield name, str(priming), cells


def _sign_flip(row: _Row, notes: Notes, place: str, why: str = "no_discordant_pair") -> str:
    """Return the p value of the sign-flip test, or a dash that says why there is none."""
    if row["p_value"] is None and row["value"] is not None:
        return notes.value({"value": None, "reason": why}, "p", place)
    return p_value(row["p_value"])


def shared_words(shared: Shared) -> str:
    """Return on how many pairs a comparison rests."""
    other = max(shared.n_first, shared.n_second) > shared.n_pairs
    of = f", of {shared.n_first:,} in the first and {shared.n_second:,} in the second" * other
    scenarios = "1 scenario" if shared.n_scenarios == 1 else f"{shared.n_scenarios:,} scenarios"
    return f"Shared: {shared.n_pairs:,} pairs of {scenarios}{of}."
