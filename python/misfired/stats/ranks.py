"""Many runs against one another: a leaderboard with the ranks that the data allow."""

from collections.abc import Mapping, Sequence
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
from misfired.stats.outcomes import build_outcomes
from misfired.stats.support import FEWEST_SCENARIOS, support_of
from misfired.stats.verdict import verdict
from misfired.types import check_type

LEADERBOARD_SCHEMA = schema_of(
    "run measure value low high rank rank_low rank_high n_pairs n_effective reads source reason"
)
"""Columns of `leaderboard`; the lowest value has rank 1."""

_Flags = npt.NDArray[np.bool_]
_Row = tuple[object, ...]

_UNSCORED = 4  # Codes below it are outcomes.


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
    if measure in MEASURES:
        rows, others = _by_outcomes(runs, measure, priming, sampling)
    else:
        rows, others = _by_margins(runs, measure, priming, sampling)
    if published is not None:
        figures = checked(check_published(published), ["model", measure], "published")
        for name, value, reason in figures.select("model", measure, "reason").iter_rows():
            rows.append((name, measure, value, *[None] * 8, "published", reason))
    frames = (pl.DataFrame(each, LEADERBOARD_SCHEMA, orient="row") for each in (rows, others))
    return pl.concat([each.sort("value", "run", nulls_last=True) for each in frames])


def _reading(name: str, frame: pl.DataFrame, priming: str) -> bool | None:
    """Return whether a run reads; None where it cannot be known."""
    frame = checked(frame, ["priming"], name)
    if priming not in frame["priming"]:
        raise DataError(f"{name}: no rows of priming {priming!r}")
    return verdict(frame, priming=priming).reads if "condition" in frame.columns else None


def _by_outcomes(
    runs: Mapping[str, pl.DataFrame], measure: str, priming: str, sampling: RankingOptions
) -> tuple[list[_Row], list[_Row]]:
    """Return the rows of runs with and without a rank, by a measure of right and wrong answers."""
    outcomes, known = {}, {}
    for name, frame in runs.items():
        check_type("runs", name, str)
        known[name] = _reading(name, frame, priming)
        own = build_outcomes(frame) if "condition" in frame.columns else frame
        own = checked(own, ["priming"], name)
        outcomes[name] = own.filter(pl.col("priming") == priming)
    grid = grid_of_runs(outcomes)
    reads = [known[run] for run in grid.runs]
    ranked, reasons = _rankable(grid, reads, measure)
    scored = grid.codes < _UNSCORED
    shared: _Flags = np.all(scored[ranked], axis=0)
    others = []
    for series, reason in reasons.items():
        (row,) = _rows(grid, [series], scored[series], (reads, measure), sampling)
        others.append(_without_rank(row, reason))
    return _rows(grid, ranked, shared, (reads, measure), sampling), others


def _without_rank(row: _Row, reason: str) -> _Row:
    why = row[-1] if reason == "little_support" and row[2] is None else reason
    return (*row[:5], *[None] * 3, *row[8:-1], why)


def _rankable(
    grid: Grid, reads: list[bool | None], measure: str
) -> tuple[list[int], dict[int, str]]:
    """Return the series that can be ranked on the pairs they share, and why each other cannot."""
    scored = grid.codes < _UNSCORED
    reasons = {i: "does_not_read" for i, known in enumerate(reads) if known is False}
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


def _rows(
    grid: Grid,
    series: list[int],
    pairs: _Flags,
    about: tuple[list[bool | None], str],
    sampling: RankingOptions,
) -> list[_Row]:
    """Return the rows of series, ranked among themselves on the given pairs, `about` reads and measure."""
    reads, measure = about
    if not series:
        return []
    kept = (
        pairs if pairs.any() else np.ones_like(pairs)
    )  # A run without a scored pair has its row too.
    codes = np.ascontiguousarray(grid.codes[series][:, kept])
    groups = (grid.scenario[kept], grid.category[kept])
    options = {name: getattr(sampling, name) for name in sampling.panels()}
    numbers, why = ranking(codes, *groups, measure=measure, **options)
    rows = []
    for i, line, reason, own in zip(series, numbers.tolist(), why, codes, strict=True):
        value, low, high, *ranks = map(no_nan, line)
        places = [None, None, None] if value is None else [int(rank or 0) for rank in ranks]
        n_effective = None
        if measure != "discrepancy":
            n_effective = support_of(own, groups[0], measure).n_effective
        name = grid.runs[i]
        support = (int(pairs.sum()), n_effective, reads[i])
        rows.append((name, measure, value, low, high, *places, *support, "run", reason))
    return rows


def _by_margins(
    runs: Mapping[str, pl.DataFrame], measure: str, priming: str, sampling: RankingOptions
) -> tuple[list[_Row], list[_Row]]:
    """Return the rows of runs with and without a rank, by a measure of the margin."""
    reads, margins = {}, {}
    for name, frame in runs.items():
        checked(frame, ["condition"], name)
        reads[name] = _reading(name, frame, priming)
        margins[name] = margins_of_answers(frame)
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

    def row(name: str, found: Row, places: Sequence[object]) -> _Row:
        base = None if found.support is None else found.support.n_effective
        about = (found.n_pairs, base, reads[name], "run", found.reason)
        return (name, measure, found.value, found.low, found.high, *places, *about)

    places = _places(alike, [each.value for each in found], measure, sampling)
    rows = [row(*each) for each in zip(ranked, found, places, strict=True)]
    others = [_without_rank(row(n, own[n][0][0], [None] * 3), why) for n, why in reasons.items()]
    return rows, others


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
