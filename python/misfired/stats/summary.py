"""The summary of a run: every measure of every slice and priming, with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from misfired.options import takes_options
from misfired.stats._arrays import Codes, Numbers, permute, resample
from misfired.stats._grid import Grid, against_none, grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.measures import MEASURES
from misfired.stats.options import SamplingOptions
from misfired.stats.support import CONDITIONAL, SUPPORTED, support_of

SUMMARY_SCHEMA = schema_of(
    "slice priming measure value low high method unit n_pairs n_scenarios n_unscored reason"
    " p_value n_base n_effective n_informative flags withheld total"
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
        A frame of schema `SUMMARY_SCHEMA`: for each slice (`total`, then categories in order of
        name) and priming ("none" first) the rows `n`, `a`, `b`, `c`, `d` and `MEASURES`, then for
        each other priming its changes. Percentages are on 0 to 100, changes in percentage points.
        A row without value or without interval has a `reason`. A rate has the pairs behind it and its
        `flags` (`misfired.stats.support`); `mar` and `br` on little support are `withheld` from
        reports, and so are their changes. The change of `mar_joint` has the `p_value` of the cluster
        sign-flip test.

    Raises:
        DataError: The frame breaks these rules.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": ["p1", "p2", "p3", "p4"], "category": "age", "priming": "none",
        ...     "scenario": ["q1", "q1", "q2", "q2"],
        ...     "stereotyped": [True, False, True, None], "contrast": True})
        >>> found = summarize(outcomes).filter(slice="age", measure="mar")
        >>> found.select(pl.col("value").round(2), "n_pairs", "n_unscored").row(0)
        (33.33, 3, 1)
    """
    sampling = SamplingOptions.of(options)
    grid = grid_of_outcomes(outcomes)
    questions = grid.weights | against_none(grid.weights)
    weights = np.array(list(questions.values()))
    found = resample(grid.codes, grid.groups, weights, MEASURES, sampling, by_category=True)
    rows: list[tuple[object, ...]] = []
    for i, (name, total, n_scenarios) in enumerate(grid.slices):
        for j, question in enumerate(questions):
            _, n_scored, n_unscored = found.sizes[i, j].tolist()
            tail = (n_scored, n_scenarios, n_unscored)
            change = "_change" if j >= len(grid.series) else ""
            if not change:
                values = (float(n_scored), *found.counts[i, j, 0].tolist())
                for count, value in zip(COUNTS, values, strict=True):
                    rows.append(
                        (name, question, count, value, *[None] * 4, *tail, *[None] * 7, total)
                    )
            for k, measure in enumerate(MEASURES):
                *numbers, reason = found.estimate(i, j, k)
                label = measure + change
                more = _more(grid, i, question, label, numbers, sampling=sampling)
                rows.append(
                    (name, question, label, *numbers, sampling.unit, *tail, reason, *more, total)
                )
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def _more(
    grid: Grid,
    slice_: int,
    question: str,
    label: str,
    numbers: Sequence[Any],
    *,
    sampling: SamplingOptions,
) -> tuple[Any, ...]:
    """Return p value, base, effective base, informative scenarios, flags, and why it is withheld."""
    members = grid.category == slice_ - 1 if slice_ else np.ones(len(grid.category), bool)
    measure = label.removesuffix("_change")
    names = [question] if label == measure else [question.removesuffix(" - none"), "none"]
    codes = grid.codes[[grid.series.index(name) for name in names]]
    scenario = grid.scenario if sampling.unit == "scenario" else np.arange(len(grid.scenario))
    if measure not in SUPPORTED:
        return (None,) * 6
    bases = [support_of(line[members], scenario[members], measure) for line in codes]
    little = next((base.withheld for base in bases if base.withheld), None)
    withheld = little if measure in CONDITIONAL else None
    if len(bases) == 2:
        tested = label == "mar_joint_change"
        p_value = (
            _sign_flip(codes[:, members], grid.scenario[members], sampling) if tested else None
        )
        return p_value, None, None, None, None, withheld
    base, (value, low, high, _) = bases[0], numbers
    flags = ", ".join(base.flags(value, low, high)) or None
    return None, base.n_pairs, base.n_effective, base.n_informative, flags, withheld


def _sign_flip(codes: Codes, scenario: Numbers, sampling: SamplingOptions) -> float | None:
    return permute(codes, scenario, "mar_joint", sampling)[1]
