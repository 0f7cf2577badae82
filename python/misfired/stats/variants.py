"""Two ways of making pairs from the same scenarios: how far the choice of pairs moves a measure."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.stats._arrays import Answers, Sampling, resample
from misfired.stats._grid import Grid, grid_of_runs
from misfired.stats._seed import Rng, seed_of
from misfired.stats.measures import MEASURES

__all__ = ["VARIANTS_SCHEMA", "compare_variants"]

VARIANTS_SCHEMA = pl.Schema(
    {
        "slice": pl.String,
        "priming": pl.String,
        "measure": pl.String,
        "first": pl.Float64,
        "second": pl.Float64,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "method": pl.String,
        "n_scenarios": pl.Int64,
        "n_pairs_first": pl.Int64,
        "n_pairs_second": pl.Int64,
        "reason": pl.String,
    }
)
"""Columns of `compare_variants`; the interval is that of `value` = `first` - `second`."""


def compare_variants(
    first: pl.DataFrame,
    second: pl.DataFrame,
    *,
    stratified: bool = False,
    method: str | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: Rng = 0,
    n_threads: int | None = None,
) -> pl.DataFrame:
    """What differs between two sets of pairs on the scenarios that they share: first - second.

    For one model on pairs made in two ways (VETO's `paper` and `strict`). The pairs are not the
    same, but their scenarios are: a resample draws scenarios, each with all its pairs of either
    variant, so that what makes a scenario hard for both cancels out of the difference. Scenarios
    without a scored pair in either variant are left out.

    Args:
        first: Outcomes as for `summarize`; ids may, but need not, be the same in both.
        second: Outcomes of the other variant.
        stratified: Keep the number of scenarios of each category fixed in the overall slice.
        method: As for `bootstrap`; `"studentised"` by default.
        n_resamples: Number of resamples.
        confidence_level: Between 0 and 1.
        rng: Seed or generator.
        n_threads: Threads.

    Returns:
        A frame of schema `VARIANTS_SCHEMA`, in percent and percentage points: for each slice and
        priming of both variants the `MEASURES`; `n_pairs_*` are the scored pairs.

    Raises:
        DataError: If a frame does not hold what it should, or the two share no scenario or priming.
        ArgumentError: If an option is outside its limits.

    Example:
        >>> def outcomes(wrong):
        ...     return pl.DataFrame({
        ...         "id": [f"p{i}" for i in range(len(wrong))], "category": "age",
        ...         "scenario": [f"q{i // 2}" for i in range(len(wrong))], "priming": "none",
        ...         "stereotyped": [not x for x in wrong], "contrast": True})
        >>> paper, strict = outcomes([True, False, True, True]), outcomes([True, False, False, False])
        >>> row = compare_variants(paper, strict).row(0, named=True)
        >>> row["measure"], row["first"], row["second"], row["value"], row["n_scenarios"]
        ('mar', 75.0, 25.0, 50.0, 2)
    """
    runs = _shared(first, second)
    grid = grid_of_runs(runs)
    at = {name: i for i, name in enumerate(grid.series)}
    names = [name.removeprefix("first|") for name in grid.series if name.startswith("first|")]
    primings = [name for name in names if f"second|{name}" in at]
    if not primings:
        raise DataError("second: no priming in common with the first variant")
    eye = np.eye(len(grid.series))
    sides = [(eye[at[f"first|{name}"]], eye[at[f"second|{name}"]]) for name in primings]
    weights = np.array([row for one, two in sides for row in (one - two, one, two)])
    seed = seed_of(rng)
    options = Sampling(
        "scenario", stratified, method, confidence_level, n_resamples, seed, n_threads
    )
    found = resample(
        grid.codes, (grid.scenario, grid.category), weights, MEASURES, options, by_category=True,
        paired=False,
    )  # fmt: skip
    return pl.DataFrame(list(_rows(grid, primings, found)), schema=VARIANTS_SCHEMA, orient="row")


def _shared(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Both variants on the scenarios that have pairs in either, no id in common."""
    runs = {"first": first, "second": second}
    for name, frame in runs.items():
        for column in ("id", "scenario"):
            if column not in frame.columns:
                raise DataError(f"{name}: column {column!r} is missing")
    both = first.join(second, on="scenario", how="semi")["scenario"].unique().to_list()
    if not both:
        raise DataError("second: no scenario in common with the first variant")
    own = pl.col("id").cast(pl.String)
    return {
        name: frame.filter(pl.col("scenario").is_in(both)).with_columns(id=f"{name}|" + own)
        for name, frame in runs.items()
    }


def _rows(grid: Grid, primings: list[str], found: Answers) -> Iterator[tuple[object, ...]]:
    n_scenarios = grid.n_scenarios().tolist()
    for i, name in enumerate(grid.slices):
        for j, priming in enumerate(primings):
            sizes = found.sizes[i, 3 * j + 1 : 3 * j + 3, 1].tolist()
            for k, measure in enumerate(MEASURES):
                value, low, high, method, reason = found.estimate(i, 3 * j, k)
                first, second = (found.estimate(i, 3 * j + side, k)[0] for side in (1, 2))
                numbers = (first, second, value, low, high, method, n_scenarios[i])
                yield (name, priming, measure, *numbers, *sizes, reason)
