"""Answers that differ between two runs, in both directions, and how far the margins moved."""

from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.labels import check_once, checked
from misfired.options import takes_options
from misfired.stats._arrays import as_groups, no_nan
from misfired.stats.columns import TOTAL, schema_of
from misfired.stats.margins import margin_of
from misfired.stats.options import SamplingOptions
from misfired.stats.pulls import interval_of, mean_of

FLIPS_SCHEMA = schema_of(
    "slice priming measure value low high method n_prompts n_scenarios reason total"
)
"""Columns of `flips`."""

_KEYS = ("id", "priming", "condition")


@takes_options(SamplingOptions)
def flips(first: pl.DataFrame, second: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return how many answers two runs give differently, and the mean difference of their margins.

    A rate can stay where it was while most answers change: misfires that go and misfires that come cancel
    out, and so does a leaning where both sides follow it.

    Args:
        first: Answers, as `answers.parquet` has them.
        second: Those of the other run.
        options: Fields of `SamplingOptions`.

    Returns:
        A frame of schema `FLIPS_SCHEMA`, all categories together, three rows for each priming of both:
        `n_yes_to_no`, prompts with yes in the first run and no in the second; `n_no_to_yes`;
        `margin_difference`, the mean of the margin in the first minus that in the second, over prompts
        that have both, with its t interval by scenario.

    Raises:
        DataError: A column is missing, a prompt is there twice, or the runs share none.

    Example:
        >>> first = pl.DataFrame({
        ...     "id": ["p", "q", "r"], "priming": "none", "condition": "contrast",
        ...     "scenario": ["s", "t", "t"], "answer": ["yes", "no", "no"],
        ...     "logit_diff": [1.0, -1.0, -1.0]})
        >>> second = first.with_columns(answer=pl.lit("yes"), logit_diff=pl.Series([1.0, 1.0, 2.0]))
        >>> flips(first, second)["value"].to_list()
        [0.0, 2.0, -1.6666666666666667]
    """
    sampling = SamplingOptions.of(options)
    frames = []
    for name, answers in (("first", first), ("second", second)):
        frame = checked(answers, (*_KEYS, "scenario", "answer"), name)
        check_once(frame, _KEYS, name, told=_KEYS)
        own = [pl.col("answer").alias(f"_{name}"), margin_of(frame).alias(f"_margin_{name}")]
        frames.append(frame.select(*_KEYS, "scenario", *own))
    both = frames[0].join(frames[1].drop("scenario"), on=_KEYS)
    if both.is_empty():
        raise DataError("second: no prompt in common with the first run")
    rows: list[tuple[Any, ...]] = []
    for (priming,), part in both.group_by("priming", maintain_order=True):
        answered = part.drop_nulls(["_first", "_second"])
        n_scenarios = answered["scenario"].n_unique()
        for one, other in (("yes", "no"), ("no", "yes")):
            n = len(answered.filter(_first=one, _second=other))
            counts = (len(answered), n_scenarios, None)
            rows.append(
                (TOTAL, priming, f"n_{one}_to_{other}", float(n), None, None, None, *counts, True)
            )
        rows.append((TOTAL, priming, "margin_difference", *_moved(part, sampling), True))
    return pl.DataFrame(rows, schema=FLIPS_SCHEMA, orient="row")


def _moved(part: pl.DataFrame, sampling: SamplingOptions) -> tuple[Any, ...]:
    """Return the row of the mean difference of margins."""
    sides = part.select("_margin_first", "_margin_second").cast(pl.Float64).fill_null(np.nan)
    first, second = sides.to_numpy().T
    scenario = as_groups(part["scenario"], len(part), "scenario")
    if sampling.unit == "pair":
        scenario = as_groups(part["id"], len(part), "id")
    scale = float(np.nanmax(np.abs(sides), initial=0))
    pull = mean_of(first - second, scenario, int(scenario.max()) + 1, scale=scale)
    counts = (pull.n, int(pull.active.sum()))
    if not pull.n:
        return None, None, None, None, *counts, "no_margin"
    low, high, method, reason = interval_of(pull, level=sampling.confidence_level)
    return pull.value, no_nan(low), no_nan(high), method, *counts, reason
