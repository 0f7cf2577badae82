"""The table of a paper: models by categories, with MAR of all pairs, BR and both accuracies."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.labels import checked
from misfired.stats._grid import Grid, grid_of_outcomes
from misfired.stats.columns import TOTAL, schema_of
from misfired.stats.comparison import as_figures, check_published
from misfired.stats.families import study_tests
from misfired.stats.measures import UNSCORED
from misfired.stats.outcomes import outcomes_of
from misfired.stats.published import published_categories
from misfired.stats.support import CONDITIONAL, rate_of, support_of
from misfired.stats.verdict import verdict
from misfired.types import check_type, checks_types

WIDE_SCHEMA = schema_of(
    "run slice measure value n_pairs n_base n_effective withheld p_value p_adjusted reads source"
    " reason total"
)
"""Columns of `rates_by_category`."""

_OF_ALL = ("mar", "br", "accuracy_stereotyped", "accuracy_contrast")

_COLUMNS = ("id", "category", "scenario", "priming", "stereotyped", "contrast")


@checks_types
def rates_by_category(
    runs: Mapping[str, pl.DataFrame],
    *,
    priming: str = "none",
    published: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return MAR of each run by category, and MAR, BR and both accuracies of all its pairs.

    Each run counts its own scored pairs. A MAR has the p value of the cluster sign-flip test of asymmetry
    (are there more misfires than reverse ones, or fewer?), adjusted by Benjamini and Hochberg over the runs
    for all pairs, and over runs and categories for these, as `study_tests` does.

    Args:
        runs: Answers or outcomes by name of run.
        priming: The priming of each run that counts.
        published: Figures as `published_figures` has them: they stand beside the runs, and have no p value.

    Returns:
        A frame of schema `WIDE_SCHEMA`: for each run `mar` of every category and the rates of all pairs, in
        percent; then those published. A rate on little support has the reason in `withheld`. `reads` is
        true if the model reads, null if it cannot be known. `reason` says why a value is missing, or which
        published figures contradict one another.

    Raises:
        DataError: A frame breaks the rules of `summarize`, or a run lacks the priming.

    Example:
        >>> run = pl.DataFrame({
        ...     "id": ["p", "q"], "scenario": ["s", "t"], "category": ["age", "town"],
        ...     "priming": "none", "stereotyped": [False, True], "contrast": True})
        >>> found = rates_by_category({"mine": run}).filter(measure="mar")
        >>> found.select("slice", "value").rows()
        [('age', 100.0), ('town', 0.0), ('overall', 50.0)]
    """
    rows: list[tuple[Any, ...]] = []
    chosen = []
    if not runs:
        raise DataError("runs must be at least 1, got 0")
    for name, frame in runs.items():
        check_type("runs", name, str)
        outcomes = checked(outcomes_of(frame), _COLUMNS, name).filter(priming=priming)
        if outcomes.is_empty():
            raise DataError(f"{name}: no rows of priming {priming!r}")
        # The tests are of priming none; the choice of a priming has been made.
        own = outcomes.select(_COLUMNS)
        chosen.append(own.with_columns(model=pl.lit(name), priming=pl.lit("none")))
        reads = verdict(frame, priming=priming).reads if "condition" in frame.columns else None
        grid = grid_of_outcomes(outcomes)
        rows += [(name, *row, None, None, reads, "run", *more) for row, more in _rates(grid)]
    found = pl.DataFrame(rows, schema=WIDE_SCHEMA, orient="row")
    tests = study_tests(pl.concat(chosen, how="vertical_relaxed")).filter(
        pl.col("family").str.starts_with("asymmetry")
    )
    keys = tests.select(
        run="model", slice=pl.coalesce("category", pl.lit(TOTAL)),
        total=pl.col("category").is_null(), measure=pl.lit("mar"), _p="p_value", _adjusted="p_adjusted",
    )  # fmt: skip
    found = found.join(
        keys, on=["run", "slice", "total", "measure"], how="left", maintain_order="left"
    )
    found = found.with_columns(p_value="_p", p_adjusted="_adjusted").select(WIDE_SCHEMA.names())
    return found if published is None else pl.concat([found, _published(published)])


def _rates(grid: Grid) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield slice to `withheld`, then reason and total, of each rate of a run."""
    codes = grid.codes[0]
    places = [(name, False, grid.category == i) for i, name in enumerate(grid.categories)]
    for name, total, members in [*places, (TOTAL, True, np.ones(len(codes), bool))]:
        own = codes[members]
        counts = np.bincount(own[own != UNSCORED], minlength=4).astype(float)
        for measure in _OF_ALL if total else _OF_ALL[:1]:
            base = support_of(own, grid.scenario[members], measure)
            value = rate_of(counts, measure)
            withheld = base.withheld if measure in CONDITIONAL else None
            sizes = (int(counts.sum()), base.n_pairs, base.n_effective, withheld)
            yield (name, measure, value, *sizes), (_reason(measure, counts, value), total)


def _reason(measure: str, counts: Any, value: float | None) -> str | None:
    if value is not None:
        return None
    if not counts.any():
        return "no_scored_pair"
    return "no_contrast_correct" if measure == "mar" else "no_stereotyped_correct"


def _published(figures: pl.DataFrame) -> pl.DataFrame:
    categories = published_categories(figures)
    known = checked(check_published(figures), ["model"], "published")
    known = known.with_columns(as_figures(known[name]) for name in categories)
    rows = []
    for row in known.iter_rows(named=True):
        cells = [(name, "mar", row[name], None, False) for name in categories]
        cells += [(TOTAL, measure, row[measure], row["reason"], True) for measure in _OF_ALL]
        for slice_, measure, value, reason, total in cells:
            place = (row["model"], slice_, measure, value)
            rows.append((*place, *[None] * 7, "published", reason, total))
    return pl.DataFrame(rows, schema=WIDE_SCHEMA, orient="row")
