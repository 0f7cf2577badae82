"""The summary of a run: every measure of every slice and priming, with its interval."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.options import takes_options
from misfired.stats._arrays import Resampled, resample
from misfired.stats._grid import Grid, grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.measures import MEASURES
from misfired.stats.options import SamplingOptions

SUMMARY_SCHEMA = schema_of(
    "slice priming measure value low high method unit n_pairs n_scenarios n_unscored reason"
)
"""Columns of `summarize`."""

COUNTS = ("n", "a", "b", "c", "d")
"""Count rows of a summary: they have a value, but no interval."""


@takes_options(SamplingOptions)
def summarize(outcomes: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return all measures with intervals, overall and per category, for each priming and its change.

    One resampling pass serves all rows. A change is primed - unprimed on the pairs that are scored
    under both, whose outcomes are resampled together; its measures end in `_change`, and its
    priming reads "cue - none".

    Args:
        outcomes: One row per pair and priming, in any order: `id`, `category`, `scenario`,
            `priming` (String, no nulls), `stereotyped`, `contrast` (Boolean: answered correctly;
            null if unscored). A pair without a row for a priming counts as unscored under it.
        options: Fields of `SamplingOptions`.

    Returns:
        A frame of schema `SUMMARY_SCHEMA`: for each slice ("overall", then categories in order of
        name) and priming ("none" first) the rows `n`, `a`, `b`, `c`, `d` and `MEASURES`, then for
        each other priming its changes. Percentages are on 0 to 100, changes in percentage points.
        A row without value or without interval has a `reason`.

    Raises:
        DataError: The frame breaks these rules.
        ArgumentError: An option is outside its limits.

    Example:
        >>> outcomes = pl.DataFrame(
        ...     {
        ...         "id": ["p1", "p2", "p3", "p4"],
        ...         "category": ["age"] * 4,
        ...         "scenario": ["age_q1", "age_q1", "age_q2", "age_q2"],
        ...         "priming": ["none"] * 4,
        ...         "stereotyped": [True, False, True, None],
        ...         "contrast": [True, True, True, True],
        ...     }
        ... )
        >>> summary = summarize(outcomes)
        >>> row = summary.row(by_predicate=(pl.col.slice == "age") & (pl.col.measure == "mar"),
        ...     named=True)
        >>> round(row["value"], 2), row["n_pairs"], row["n_unscored"]
        (33.33, 3, 1)
    """
    sampling = SamplingOptions.of(options)
    grid = grid_of_outcomes(outcomes)
    questions = _questions(grid.series)
    weights = np.array([row for _, row in questions])
    found = resample(grid.codes, grid.groups, weights, MEASURES, sampling, by_category=True)
    rows = list(_rows(grid, [name for name, _ in questions], found, sampling.unit))
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def _questions(series: tuple[str, ...]) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Return the weights of each series on its own, then of its change against "none"."""
    alone = list(zip(series, np.eye(len(series)), strict=True))
    if series[0] != "none":
        return alone
    none = alone[0][1]
    return alone + [(f"{name} - none", row - none) for name, row in alone[1:]]


def _rows(
    grid: Grid, questions: list[str], found: Resampled, unit: str
) -> Iterator[tuple[object, ...]]:
    for i, (name, n_scenarios) in enumerate(grid.slices):
        for j, question in enumerate(questions):
            _, n_scored, n_unscored = found.sizes[i, j].tolist()
            tail = (n_scored, n_scenarios, n_unscored)
            change = j >= len(grid.series)
            if not change:
                values = (n_scored, *found.counts[i, j, 0].tolist())
                for measure, value in zip(COUNTS, values, strict=True):
                    yield (name, question, measure, float(value), *[None] * 4, *tail, None)
            for k, measure in enumerate(MEASURES):
                *numbers, method, reason = found.estimate(i, j, k)
                label = f"{measure}_change" if change else measure
                yield (name, question, label, *numbers, method, unit, *tail, reason)
