"""The summary of a run: every measure of every slice and priming, with its interval."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from misfired.stats._arrays import Answers, Sampling, resample
from misfired.stats._grid import Grid, grid_of_outcomes
from misfired.stats._seed import Rng, seed_of
from misfired.stats.measures import MEASURES

SUMMARY_SCHEMA = pl.Schema(
    {
        "slice": pl.String,
        "priming": pl.String,
        "measure": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "method": pl.String,
        "unit": pl.String,
        "n_pairs": pl.Int64,
        "n_scenarios": pl.Int64,
        "n_unscored": pl.Int64,
        "reason": pl.String,
    }
)
"""Columns of a summary; `n_pairs` are the pairs with both prompts scored, the n of the formulas."""

COUNTS = ("n", "a", "b", "c", "d")
"""Count rows of a summary: they have a value, but no interval."""


def summarize(
    outcomes: pl.DataFrame,
    *,
    unit: str = "scenario",
    stratified: bool = False,
    method: str | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: Rng = 0,
    n_threads: int | None = None,
) -> pl.DataFrame:
    """Measures with intervals, overall and per category, for each priming and its change.

    One resampling pass serves all rows. A change is primed - unprimed on the pairs that are scored
    under both, whose outcomes are resampled together; its measures end in `_change`, and its
    priming reads "cue - none".

    Args:
        outcomes: One row per pair and priming, in any order: `id`, `category`, `scenario`,
            `priming` (String, no nulls), `stereotyped`, `contrast` (Boolean: answered correctly;
            null if unscored). A pair without a row for a priming counts as unscored under it.
        unit: `"scenario"` resamples scenarios with all their pairs, `"pair"` pairs.
        stratified: Keep the number of units of each category fixed in the overall slice.
        method: As for `bootstrap`; None takes the method of best coverage for each row.
        n_resamples: Number of resamples.
        confidence_level: Between 0 and 1.
        rng: Seed or generator; None takes fresh entropy.
        n_threads: Threads, all cores by default; any number gives the same bits.

    Returns:
        A frame of schema `SUMMARY_SCHEMA`: for each slice ("overall", then categories in order of
        name) and priming ("none" first) the rows `n`, `a`, `b`, `c`, `d` and `MEASURES`, then for
        each other priming its changes. Percentages are on 0 to 100, changes in percentage points.
        A row without value or without interval has a `reason`.

    Raises:
        DataError: If the frame does not hold what it should.
        ArgumentError: If an option is outside its limits.

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
    grid = grid_of_outcomes(outcomes)
    questions = _questions(grid.series)
    seed = seed_of(rng)
    options = Sampling(unit, stratified, method, confidence_level, n_resamples, seed, n_threads)
    answers = resample(
        grid.codes,
        (grid.scenario, grid.category),
        np.array([weights for _, weights in questions], dtype=np.float64),
        MEASURES,
        options,
        by_category=True,
    )
    rows = list(_rows(grid, [name for name, _ in questions], answers, unit))
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def _questions(series: tuple[str, ...]) -> list[tuple[str, list[float]]]:
    """Each series on its own, then what each other series changes against "none"."""
    eye = np.eye(len(series))
    alone = [(name, eye[i].tolist()) for i, name in enumerate(series)]
    if series[0] != "none":
        return alone
    changes = [
        (f"{name} - none", (eye[i] - eye[0]).tolist()) for i, name in enumerate(series) if i > 0
    ]
    return alone + changes


def _rows(
    grid: Grid, questions: list[str], answers: Answers, unit: str
) -> Iterator[tuple[object, ...]]:
    n_scenarios = grid.n_scenarios().tolist()
    for i, name in enumerate(grid.slices):
        for j, question in enumerate(questions):
            _, n_scored, n_unscored = answers.sizes[i, j].tolist()
            tail = (n_scored, n_scenarios[i], n_unscored)
            change = j >= len(grid.series)
            if not change:
                values = (n_scored, *answers.counts[i, j, 0].tolist())
                for measure, value in zip(COUNTS, values, strict=True):
                    blank = (None,) * 4
                    yield (name, question, measure, float(value), *blank, *tail, None)
            for k, measure in enumerate(MEASURES):
                *numbers, method, reason = answers.estimate(i, j, k)
                label = f"{measure}_change" if change else measure
                yield (name, question, label, *numbers, method, unit, *tail, reason)
