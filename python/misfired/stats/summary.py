"""The summary of a run: every measure of every slice and priming, with its interval."""

from typing import Any

import numpy as np
import polars as pl

from misfired.options import takes_options
from misfired.stats._arrays import Codes, Numbers, permute, resample
from misfired.stats._grid import against_none, grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.measures import MEASURES
from misfired.stats.options import SamplingOptions
from misfired.stats.support import CONDITIONAL, SUPPORTED, support_of

SUMMARY_SCHEMA = schema_of(
    "slice priming measure value low high method unit n_pairs n_scenarios n_unscored reason"
    " p_value n_base n_effective n_informative flags withheld total"
)
"""Columns of `summarize`."""

_ESTIMATE = ("value", "low", "high", "method", "reason")

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
    rows: list[dict[str, Any]] = []
    for i, (name, total, n_scenarios) in enumerate(grid.slices):
        members = grid.category == i - 1 if i else np.ones(len(grid.category), bool)
        scenario = grid.scenario[members]
        for j, question in enumerate(questions):
            # Of a change the primed series stands first.
            codes = grid.codes[np.flatnonzero(weights[j])[::-1]][:, members]
            n_pairs, n_unscored = found.sizes[i, j, 1:].tolist()
            place = {
                "slice": name, "total": total, "priming": question, "unit": sampling.unit,
                "n_pairs": n_pairs, "n_scenarios": n_scenarios, "n_unscored": n_unscored,
            }  # fmt: skip
            changed = j >= len(grid.series)
            if not changed:
                values = (float(n_pairs), *found.counts[i, j, 0].tolist())
                pairs = zip(COUNTS, values, strict=True)
                rows += [place | {"measure": m, "value": value, "unit": None} for m, value in pairs]
            for k, measure in enumerate(MEASURES):
                row: dict[str, Any] = dict(zip(_ESTIMATE, found.estimate(i, j, k), strict=True))
                row |= place | {"measure": measure + "_change" * changed}
                if measure in SUPPORTED:
                    row |= _basis(codes, scenario, measure, row, sampling)
                rows.append(row)
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA)


def _basis(
    codes: Codes, scenario: Numbers, measure: str, row: dict[str, Any], sampling: SamplingOptions
) -> dict[str, Any]:
    """Return what a rate rests on, or the p value of its change, and why either is withheld."""
    units = scenario if sampling.unit == "scenario" else np.arange(len(scenario))
    bases = [support_of(line, units, measure) for line in codes]
    withheld = next((base.withheld for base in bases if base.withheld), None)
    found: dict[str, Any] = {"withheld": withheld if measure in CONDITIONAL else None}
    if len(bases) == 2:
        if measure == "mar_joint":
            found["p_value"] = permute(codes, scenario, measure, sampling)[1]
        return found
    (base,) = bases
    return found | {
        "n_base": base.n_pairs,
        "n_effective": base.n_effective,
        "n_informative": base.n_informative,
        "flags": ", ".join(base.flags(row["value"], row["low"], row["high"])) or None,
    }
