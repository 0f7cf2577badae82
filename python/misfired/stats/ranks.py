"""Many runs against one another: a leaderboard with the ranks that the data allow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import ranking
from misfired.errors import DataError, check_one_of
from misfired.options import takes_options
from misfired.stats._arrays import no_nan
from misfired.stats._grid import Grid, check_columns, grid_of_runs
from misfired.stats.columns import schema_of
from misfired.stats.comparison import check_published
from misfired.stats.measures import MEASURES
from misfired.stats.options import RankingOptions
from misfired.stats.outcomes import build_outcomes
from misfired.stats.support import support_of
from misfired.stats.verdict import verdict

LEADERBOARD_SCHEMA = schema_of(
    "run measure value low high rank rank_low rank_high n_pairs n_effective reads source reason"
)
"""Columns of `leaderboard`; the lowest value has rank 1."""

_Flags = npt.NDArray[np.bool_]

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
        measure: Measure to rank by.
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
    check_one_of("measure", measure, MEASURES)
    grid, reads = _grid_and_reading(runs, priming)
    ranked, reasons = _rankable(grid, reads, measure)
    scored = grid.codes < _UNSCORED
    shared: _Flags = np.all(scored[ranked], axis=0)
    rows = _rows(grid, ranked, shared, (reads, measure), sampling)
    if published is not None:
        checked = check_published(published)
        check_columns(checked, [measure], "published")
        for name, value, reason in checked.select("model", measure, "reason").iter_rows():
            rows.append((name, measure, value, *[None] * 8, "published", reason))
    others = []
    for series, reason in reasons.items():
        (row,) = _rows(grid, [series], scored[series], (reads, measure), sampling)
        why = row[-1] if reason == "little_support" and row[-1] is not None else reason
        others.append((*row[:5], *[None] * 3, *row[8:-1], why))
    frames = (pl.DataFrame(each, LEADERBOARD_SCHEMA, orient="row") for each in (rows, others))
    return pl.concat([each.sort("value", "run", nulls_last=True) for each in frames])


def _grid_and_reading(
    runs: Mapping[str, pl.DataFrame], priming: str
) -> tuple[Grid, list[bool | None]]:
    """Return the outcomes of all runs, and whether each reads; None where it cannot be known."""
    outcomes, reads = {}, {}
    for name, frame in runs.items():
        check_columns(frame, ["priming"], name)
        if priming not in frame["priming"]:
            raise DataError(f"{name}: no rows of priming {priming!r}")
        is_answers = "condition" in frame.columns
        reads[name] = verdict(frame, priming=priming).reads if is_answers else None
        own = build_outcomes(frame) if is_answers else frame
        outcomes[name] = own.filter(pl.col("priming") == priming)
    grid = grid_of_runs(outcomes)
    return grid, [reads[series.rsplit("|", 1)[0]] for series in grid.series]


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
            names = ", ".join(grid.series[i].rsplit("|", 1)[0] for i in left)
            raise DataError(f"runs must share scored pairs to be ranked, got none: {names}")
        if not leave_out(dict.fromkeys(left, shared)):
            return left, reasons


def _rows(
    grid: Grid,
    series: list[int],
    pairs: _Flags,
    about: tuple[list[bool | None], str],
    sampling: RankingOptions,
) -> list[tuple[object, ...]]:
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
        name = grid.series[i].rsplit("|", 1)[0]
        support = (int(pairs.sum()), n_effective, reads[i])
        rows.append((name, measure, value, low, high, *places, *support, "run", reason))
    return rows
