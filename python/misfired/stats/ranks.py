"""Many runs against one another: a leaderboard with the ranks that the data allow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import ranking
from misfired.errors import DataError, check_one_of
from misfired.labels import checked
from misfired.options import takes_options
from misfired.stats._arrays import as_groups, no_nan
from misfired.stats._grid import Grid, grid_of_runs
from misfired.stats.columns import schema_of
from misfired.stats.comparison import check_published
from misfired.stats.evidence import EVIDENCE_MEASURES, estimates_of, withheld
from misfired.stats.margins import Margins, Row, RunMargins, margins_of_answers
from misfired.stats.measures import MEASURES
from misfired.stats.options import RankingOptions, SamplingOptions
from misfired.stats.outcomes import outcomes_of
from misfired.stats.support import FEWEST_SCENARIOS, support_of
from misfired.stats.verdict import verdict
from misfired.types import check_type

LEADERBOARD_SCHEMA = schema_of(
    "run measure value low high rank rank_low rank_high n_pairs n_effective reads source reason"
)
"""Columns of `leaderboard`; the lowest value has rank 1."""

_Flags = npt.NDArray[np.bool_]
_Reads = Mapping[str, bool | None]
_Line = dict[str, Any]  # A row of the table; columns that it lacks are null.
_Lines = tuple[list[_Line], list[_Line]]  # With a rank, and without.

_UNSCORED = 4  # Codes below it are outcomes.
_RANKS = ("rank", "rank_low", "rank_high")


@takes_options(RankingOptions)
def leaderboard(
    runs: Mapping[str, pl.DataFrame],
    *,
    measure: str = "mar",
    priming: str = "none",
    published: pl.DataFrame | None = None,
    **options: Any,
) -> pl.DataFrame:
    """Return runs ranked by a measure, with simultaneous intervals and the ranks the data allow.

    Runs are ranked on the pairs that all of them scored. A run that does not read
    (`misfired.stats.verdict`), or whose rate rests on too little (`misfired.stats.support`), is not
    ranked: it stands below, with the interval of its own pairs.

    Intervals hold jointly, and ranks do, by Bonferroni's inequality. The interval of each of n runs has
    the level 1 - (1 - `confidence_level`) / n, by the default method. A run is surely above another if
    the interval of their difference, at 1 - (1 - `confidence_level`) / (n (n - 1) / 2), excludes 0; one
    surely above i others and surely below j has ranks i + 1 to n - j. docs/coverage.md has the joint
    coverage of both.

    Args:
        runs: Answers or outcomes by name of run; of outcomes it is not known if the run reads, and they
            are ranked.
        measure: Measure to rank by: of `MEASURES`, or of `EVIDENCE_MEASURES`, which need answers.
        priming: The priming of each run that counts.
        published: Published figures as reference rows (columns `model` and those that
            `check_published` reads); they carry no interval and no rank.
        options: Fields of `RankingOptions`.

    Returns:
        A frame of schema `LEADERBOARD_SCHEMA`: ranked runs and published rows by ascending value, then
        the runs without a rank, whose `reason` is `does_not_read`, `little_support`, or why there is no
        value. `n_pairs` of ranked runs are the pairs that they share; `source` is "run" or "published".

    Raises:
        DataError: A frame breaks the rules of `summarize`, a run lacks the priming, or the runs that
            could be ranked share no scored pair.

    Example:
        >>> def run(every):
        ...     return pl.DataFrame({
        ...         "id": [f"p{i}" for i in range(120)], "scenario": [f"q{i % 40}" for i in range(120)],
        ...         "category": "age", "priming": "none", "contrast": True,
        ...         "stereotyped": [i % every > 0 for i in range(120)]})
        >>> board = leaderboard({"a": run(2), "b": run(40), "c": run(2).head(20)})
        >>> board.select("run", "value", "rank_low", "rank_high", "n_pairs", "reason").rows()
        [('b', 2.5, 1, 1, 120, None), ('a', 50.0, 2, 2, 120, None), ('c', 50.0, None, None, 20, 'little_support')]
    """
    sampling = RankingOptions.of(options)
    check_one_of("measure", measure, (*MEASURES, *EVIDENCE_MEASURES))
    reads = {name: _reading(name, frame, priming) for name, frame in runs.items()}
    rank = _by_outcomes if measure in MEASURES else _by_margins
    ranked, others = rank(runs, measure, priming, reads, sampling)
    for line in (*ranked, *others):
        line.update(reads=reads[line["run"]], source="run")
    if published is not None:
        figures = checked(check_published(published), ["model", measure], "published")
        for name, value, reason in figures.select("model", measure, "reason").iter_rows():
            ranked.append({"run": name, "value": value, "source": "published", "reason": reason})
    frames = (pl.DataFrame(each, LEADERBOARD_SCHEMA) for each in (ranked, others))
    board = pl.concat([each.sort("value", "run", nulls_last=True) for each in frames])
    return board.with_columns(measure=pl.lit(measure))


def _reading(name: str, frame: pl.DataFrame, priming: str) -> bool | None:
    """Return whether a run reads; None where it cannot be known."""
    check_type("runs", name, str)
    frame = checked(frame, ["priming"], name)
    if priming not in frame["priming"]:
        raise DataError(f"{name}: no rows of priming {priming!r}")
    return verdict(frame, priming=priming).reads if "condition" in frame.columns else None


def _by_outcomes(
    runs: Mapping[str, pl.DataFrame], measure: str, priming: str, reads: _Reads,
    sampling: RankingOptions,
) -> _Lines:  # fmt: skip
    """Rank runs by a measure of right and wrong answers."""
    outcomes = {
        name: checked(outcomes_of(frame), ["priming"], name).filter(priming=priming)
        for name, frame in runs.items()
    }
    grid = grid_of_runs(outcomes)
    ranked, reasons = _rankable(grid, reads, measure)
    scored = grid.codes < _UNSCORED
    shared: _Flags = np.all(scored[ranked], axis=0)
    others = []
    for series, reason in reasons.items():
        (line,) = _lines(grid, [series], scored[series], measure, sampling)
        others.append(_without_rank(line, reason))
    return _lines(grid, ranked, shared, measure, sampling), others


def _without_rank(line: _Line, reason: str) -> _Line:
    if reason != "little_support" or line["value"] is not None:
        line["reason"] = reason
    return line | dict.fromkeys(_RANKS)


def _rankable(grid: Grid, reads: _Reads, measure: str) -> tuple[list[int], dict[int, str]]:
    """Return the series that can be ranked on the pairs they share, and why each other cannot."""
    scored = grid.codes < _UNSCORED
    reasons = {i: "does_not_read" for i, run in enumerate(grid.runs) if reads[run] is False}
    rate = "mar_joint" if measure == "discrepancy" else measure

    def leave_out(pairs: Mapping[int, _Flags]) -> bool:
        lacking = {
            i: support_of(grid.codes[i, kept], grid.scenario[kept], rate).withheld
            for i, kept in pairs.items()
        }
        found = {i: reason for i, reason in lacking.items() if reason is not None}
        reasons.update(found)
        return bool(found)

    leave_out({i: row for i, row in enumerate(scored) if i not in reasons})
    while True:
        left = [i for i in range(len(scored)) if i not in reasons]
        shared: _Flags = np.all(scored[left], axis=0)
        if left and not shared.any():
            names = ", ".join(grid.runs[i] for i in left)
            raise DataError(f"runs must share scored pairs to be ranked, got none: {names}")
        if not leave_out(dict.fromkeys(left, shared)):
            return left, reasons


def _lines(
    grid: Grid, series: list[int], pairs: _Flags, measure: str, sampling: RankingOptions
) -> list[_Line]:
    """Return the rows of series, ranked among themselves on the given pairs."""
    if not series:
        return []
    # A run without a scored pair has its row too.
    kept = pairs if pairs.any() else np.ones_like(pairs)
    codes = np.ascontiguousarray(grid.codes[series][:, kept])
    groups = (grid.scenario[kept], grid.category[kept])
    options = {name: getattr(sampling, name) for name in sampling.panels()}
    numbers, why = ranking(codes, *groups, measure=measure, **options)
    lines: list[_Line] = []
    for i, (*found, rank, best, worst), reason, own in zip(
        series, numbers.tolist(), why, codes, strict=True
    ):
        line: _Line = dict(zip(("value", "low", "high"), map(no_nan, found), strict=True))
        if line["value"] is not None:
            line |= dict(zip(_RANKS, map(int, (rank, best, worst)), strict=True))
        if measure != "discrepancy":
            line["n_effective"] = support_of(own, groups[0], measure).n_effective
        lines.append(line | {"run": grid.runs[i], "n_pairs": int(pairs.sum()), "reason": reason})
    return lines


def _by_margins(
    runs: Mapping[str, pl.DataFrame], measure: str, priming: str, reads: _Reads,
    sampling: RankingOptions,
) -> _Lines:  # fmt: skip
    """Rank runs by a measure of the margin."""
    margins = {
        name: margins_of_answers(checked(frame, ["condition"], name))
        for name, frame in runs.items()
    }
    series = _on_all_pairs(margins, priming)
    own = {name: _estimates([each], measure, sampling) for name, each in series.items()}
    reasons = {name: "does_not_read" for name in series if reads[name] is False}
    reasons |= {n: why for n, (_, (why,)) in own.items() if n not in reasons and why is not None}
    while True:
        ranked = [name for name in series if name not in reasons]
        alike = [series[name].masked([series[other] for other in ranked]) for name in ranked]
        if alike and not np.isfinite(alike[0].cells).any():
            raise DataError(f"runs must share pairs to be ranked, got none: {', '.join(ranked)}")
        found, lacking = _estimates(alike, measure, sampling)
        if not any(lacking):
            break
        reasons |= {n: why for n, why in zip(ranked, lacking, strict=True) if why is not None}

    places = _places(alike, [each.value for each in found], measure, sampling)
    lines = [
        _line(name, row) | dict(zip(_RANKS, ranks, strict=True))
        for name, row, ranks in zip(ranked, found, places, strict=True)
    ]
    others = [_without_rank(_line(n, own[n][0][0]), reason) for n, reason in reasons.items()]
    return lines, others


def _line(name: str, row: Row) -> _Line:
    n_effective = None if row.support is None else row.support.n_effective
    columns = {"run": name, "n_pairs": row.n_pairs, "n_effective": n_effective}
    return columns | {each: getattr(row, each) for each in ("value", "low", "high", "reason")}


def _on_all_pairs(margins: Mapping[str, RunMargins], priming: str) -> dict[str, Margins]:
    """Return the margins of runs on the pairs of all runs, NaN where a run has no such pair."""
    scenario: dict[str, str] = {}
    for run in margins.values():
        for pair, name in zip(run.ids, run.scenarios, strict=True):
            if scenario.setdefault(pair, name) != name:
                raise DataError(f"runs: id {pair!r}: more than one scenario")
    ids = sorted(scenario)
    groups = as_groups([scenario[pair] for pair in ids], len(ids), "scenario")
    found = {}
    for name, run in margins.items():
        given = run.series[priming]
        cells = np.full((len(given.cells), len(ids)), np.nan)
        cells[:, np.searchsorted(ids, run.ids)] = given.cells
        found[name] = Margins(cells, groups, np.zeros_like(groups), given.one_sided)
    return found


def _estimates(
    series: list[Margins], measure: str, sampling: RankingOptions
) -> tuple[list[Row], list[str | None]]:
    """Return the measure of each series, with joint intervals, and why one should not be ranked."""
    n = len(series)
    if not n:
        return [], []
    found = estimates_of(series, np.eye(n), [measure, "auc_k"], 1, _at(sampling, n))
    rows = [found[0, i, measure] for i in range(n)]
    reasons = [
        "little_support" if row.n_scenarios < FEWEST_SCENARIOS else withheld(found, 0, i, measure)
        for i, row in enumerate(rows)
    ]
    return rows, reasons


def _places(
    series: list[Margins], values: list[float | None], measure: str, sampling: RankingOptions
) -> list[tuple[int, int, int] | list[None]]:
    """Return rank, best and worst rank of series, as the core's `ranking` does for rates."""
    scored = [i for i, value in enumerate(values) if value is not None]
    couples = [(i, j) for i in scored for j in scored if i < j]
    eye = np.eye(len(series))
    lower: set[tuple[int, int]] = set()
    if couples:
        weights = np.array([eye[i] - eye[j] for i, j in couples])
        found = estimates_of(series, weights, [measure], 1, _at(sampling, len(couples)))
        for (i, j), row in zip(couples, found.values(), strict=True):
            if row.low is not None and row.high is not None and (row.low > 0 or row.high < 0):
                lower.add((i, j) if row.high < 0 else (j, i))
    # Equal values may differ by rounding.
    numbers = {i: round(float(values[i] or 0), 9) for i in scored}
    return [
        (
            1 + sum(numbers[j] < numbers[i] for j in scored),
            1 + sum((j, i) in lower for j in scored),
            len(scored) - sum((i, j) in lower for j in scored),
        )
        if i in numbers
        else [None] * 3
        for i in range(len(series))
    ]


def _at(sampling: RankingOptions, n: int) -> SamplingOptions:
    """Return options at the level of each of `n` intervals that hold jointly."""
    level = 1 - (1 - sampling.confidence_level) / n
    return SamplingOptions(
        unit=sampling.unit, confidence_level=level, stratified=sampling.stratified,
        n_threads=sampling.n_threads,
    )  # fmt: skip
