"""Two ways of making pairs from the same scenarios: how far the choice of pairs moves a measure."""

from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.options import takes_options
from misfired.stats._arrays import resample
from misfired.stats._grid import check_columns, grid_of_runs
from misfired.stats.columns import schema_of
from misfired.stats.measures import MEASURES
from misfired.stats.options import VariantOptions

VARIANTS_SCHEMA = schema_of(
    "slice priming measure first second value low high method n_scenarios"
    " n_pairs_first n_pairs_second reason"
)
"""Columns of `compare_variants`; the interval is that of `value` = `first` - `second`."""


@takes_options(VariantOptions)
def compare_variants(first: pl.DataFrame, second: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return the differences between two sets of pairs on their shared scenarios: first - second.

    For one model on pairs made in two ways (VETO's `paper` and `strict`). The pairs differ, but
    their scenarios are the same: a resample draws scenarios, each with all its pairs of either
    variant. So the difficulty of a scenario for both variants cancels out of the difference.
    Scenarios without a scored pair in either variant are left out.

    Args:
        first: Outcomes as for `summarize`; ids may, but need not, be the same in both.
        second: Outcomes of the other variant.
        options: Fields of `VariantOptions`.

    Returns:
        A frame of schema `VARIANTS_SCHEMA`, in percent and percentage points: for each slice and
        priming of both variants the `MEASURES`; `n_pairs_*` are the scored pairs.

    Raises:
        DataError: A frame breaks the rules of `summarize`, or the two share no scenario or priming.

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
    sampling = VariantOptions.of(options)
    runs = {"first": first, "second": second}
    for name, frame in runs.items():
        check_columns(frame, ("id", "scenario"), name)
        # No id may be in both variants.
        runs[name] = frame.with_columns(id=f"{name}|" + pl.col("id").cast(pl.String))
    both = first.join(second, on="scenario", how="semi")["scenario"].unique().to_list()
    if not both:
        raise DataError("second: no scenario in common with the first variant")
    shared = pl.col("scenario").is_in(both)
    grid = grid_of_runs({name: frame.filter(shared) for name, frame in runs.items()})
    sides = grid.shared("variant")
    weights = np.array([row for one, two in sides.values() for row in (one - two, one, two)])
    found = resample(
        grid.codes, grid.groups, weights, MEASURES, sampling, by_category=True, paired=False
    )
    rows = []
    for i, (name, n_scenarios) in enumerate(grid.slices):
        for j, priming in enumerate(sides):
            tail = (n_scenarios, *found.sizes[i, 3 * j + 1 : 3 * j + 3, 1].tolist())
            for k, measure in enumerate(MEASURES):
                *numbers, reason = found.estimate(i, 3 * j, k)
                values = (found.estimate(i, 3 * j + side, k)[0] for side in (1, 2))
                rows.append((name, priming, measure, *values, *numbers, *tail, reason))
    return pl.DataFrame(rows, schema=VARIANTS_SCHEMA, orient="row")
