"""Runs against one another: differences on the same pairs, rankings, published figures."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats._arrays import Sampling, resample
from misfired.stats._grid import Grid, grid_of_runs
from misfired.stats._seed import Rng, seed_of
from misfired.stats.identity import check_published
from misfired.stats.measures import MEASURES
from misfired.stats.testing import adjust

__all__ = ["COMPARISON_SCHEMA", "LEADERBOARD_SCHEMA", "compare", "leaderboard"]

COMPARISON_SCHEMA = pl.Schema(
    {
        "slice": pl.String,
        "priming": pl.String,
        "measure": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "method": pl.String,
        "n_pairs": pl.Int64,
        "n_unscored": pl.Int64,
        "p_value": pl.Float64,
        "p_adjusted": pl.Float64,
        "reason": pl.String,
    }
)
"""Columns of `compare`; p values stand at the rows of `mar_joint`."""

LEADERBOARD_SCHEMA = pl.Schema(
    {
        "run": pl.String,
        "measure": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "rank": pl.Int64,
        "rank_low": pl.Int64,
        "rank_high": pl.Int64,
        "source": pl.String,
        "reason": pl.String,
    }
)
"""Columns of `leaderboard`; the lowest value has rank 1."""


def compare(
    first: pl.DataFrame,
    second: pl.DataFrame,
    *,
    unit: str = "scenario",
    stratified: bool = False,
    method: str | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    adjustment: str = "bh",
    rng: Rng = 0,
    n_threads: int | None = None,
) -> pl.DataFrame:
    """What differs between two runs on the same pairs: first - second.

    Pairs that are unscored in either run are left out of both and counted. Where both runs have a
    priming beside "none", its rows "cue - none" are the difference of differences: how much more
    the cue changes the first run than the second. The p values are of the cluster sign-flip test of
    `mar_joint`, adjusted over all slices and primings of the answer.

    Args:
        first: Outcomes as for `summarize`.
        second: The same pairs under another model, protocol or setting.
        unit: `"scenario"` or `"pair"`.
        stratified: Keep the number of units of each category fixed in the overall slice.
        method: As for `bootstrap`.
        n_resamples: Number of resamples.
        confidence_level: Between 0 and 1.
        adjustment: As for `adjust`.
        rng: Seed or generator.
        n_threads: Threads.

    Returns:
        A frame of schema `COMPARISON_SCHEMA`, in percentage points.

    Raises:
        DataError: If a frame does not hold what it should, or the two share no pair or priming.
        ArgumentError: If an option is outside its limits.
    """
    grid = grid_of_runs({"first": first, "second": second})
    present = {name: i for i, name in enumerate(grid.series)}
    names = [name.removeprefix("first|") for name in grid.series if name.startswith("first|")]
    shared = [name for name in names if f"second|{name}" in present]
    if not shared:
        raise DataError("second: no priming in common with the first run")
    eye = np.eye(len(grid.series))
    differences = {p: eye[present[f"first|{p}"]] - eye[present[f"second|{p}"]] for p in shared}
    questions = dict(differences)
    for priming in shared:
        if priming != "none" and "none" in differences:
            questions[f"{priming} - none"] = differences[priming] - differences["none"]
    seed = seed_of(rng)
    options = Sampling(unit, stratified, method, confidence_level, n_resamples, seed, n_threads)
    found = resample(
        grid.codes, (grid.scenario, grid.category), np.array(list(questions.values())), MEASURES,
        options, by_category=True,
    )  # fmt: skip
    if not found.sizes[0, :, 1].any():
        raise DataError("second: no scored pair in common with the first run")
    rows = []
    for i, name in enumerate(grid.slices):
        for j, (question, weights) in enumerate(questions.items()):
            for k, measure in enumerate(MEASURES):
                p_value = None
                if measure == "mar_joint" and question in differences:
                    p_value = _swap(grid, weights, i, unit)
                value, low, high, how, reason = found.estimate(i, j, k)
                sizes = found.sizes[i, j, 1:].tolist()
                numbers = (value, low, high, how, *sizes, p_value, None, reason)
                rows.append((name, question, measure, *numbers))
    frame = pl.DataFrame(rows, schema=COMPARISON_SCHEMA, orient="row")
    adjusted = adjust(frame["p_value"].to_list(), method=adjustment)
    return frame.with_columns(p_adjusted=pl.Series(adjusted).fill_nan(None))


def _swap(grid: Grid, weights: npt.NDArray[np.float64], slice_: int, unit: str) -> float | None:
    members = np.ones(len(grid.category), bool) if slice_ == 0 else grid.category == slice_ - 1
    order = [int(np.argmax(weights)), int(np.argmin(weights))]
    codes = np.ascontiguousarray(grid.codes[np.ix_(np.array(order), np.flatnonzero(members))])
    scenario = grid.scenario[members]
    p_value = _core.permutation(codes, scenario, "mar_joint", unit, "two-sided", 1, 0, None)[1]
    return None if np.isnan(p_value) else p_value


def leaderboard(
    runs: Mapping[str, pl.DataFrame],
    *,
    measure: str = "mar",
    priming: str = "none",
    published: pl.DataFrame | None = None,
    unit: str = "scenario",
    stratified: bool = False,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: Rng = 0,
    n_threads: int | None = None,
) -> pl.DataFrame:
    """Runs ranked by a measure, with simultaneous intervals and the ranks that the data allow.

    All runs are resampled together on the same pairs. Intervals hold jointly: value +- k bootstrap
    standard errors, k the `confidence_level` quantile of the largest deviation over runs. Ranks
    hold jointly too: the same on all differences between two runs; a run surely above i others and
    surely below j has ranks i + 1 to n - j.

    Args:
        runs: Outcomes by name of run.
        measure: What to rank by; the lowest value has rank 1.
        priming: Which priming of each run.
        published: Published figures as reference rows (columns `model` and those that
            `check_published` reads); they carry no interval and no rank.
        unit: `"scenario"` or `"pair"`.
        stratified: Keep the number of units of each category fixed.
        n_resamples: Number of resamples.
        confidence_level: Between 0 and 1.
        rng: Seed or generator.
        n_threads: Threads.

    Returns:
        A frame of schema `LEADERBOARD_SCHEMA` by ascending value; `source` is "run" or "published".

    Raises:
        DataError: If a frame does not hold what it should, or a run lacks the priming.
        ArgumentError: If an option is outside its limits.
    """
    if measure not in MEASURES:
        raise ArgumentError(f"measure: {measure!r}, expected one of {', '.join(MEASURES)}")
    for name, frame in runs.items():
        if priming not in frame["priming"]:
            raise DataError(f"{name}: no rows of priming {priming!r}")
    grid = grid_of_runs({n: f.filter(pl.col("priming") == priming) for n, f in runs.items()})
    numbers, reasons = _core.ranking(
        grid.codes, grid.scenario, grid.category, measure, unit, stratified, confidence_level,
        n_resamples, seed_of(rng), n_threads,
    )  # fmt: skip
    rows = []
    for series, line, reason in zip(grid.series, numbers.tolist(), reasons, strict=True):
        value, low, high, *ranks = (None if np.isnan(x) else x for x in line)
        places = [None, None, None] if value is None else [int(rank or 0) for rank in ranks]
        name = series.rsplit("|", 1)[0]
        rows.append((name, measure, value, low, high, *places, "run", reason))
    if published is not None:
        rows += _published_rows(published, measure)
    frame = pl.DataFrame(rows, schema=LEADERBOARD_SCHEMA, orient="row")
    return frame.sort("value", "run", nulls_last=True)


def _published_rows(published: pl.DataFrame, measure: str) -> list[tuple[object, ...]]:
    checked = check_published(published)
    if measure not in checked.columns:
        raise DataError(f"published: column {measure!r} is missing")
    rows = checked.select("model", measure, "reason").rows()
    blank = (None,) * 5
    return [(name, measure, value, *blank, "published", reason) for name, value, reason in rows]
