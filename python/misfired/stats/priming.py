"""Contrasts of a priming design: effects of a cue beyond those of a neutral sentence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError, check_one_of
from misfired.labels import checked
from misfired.options import takes_options
from misfired.prompts.primings import PRIMINGS
from misfired.stats._arrays import permute, resample
from misfired.stats._grid import grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.options import SamplingOptions
from misfired.stats.testing import with_adjusted

CONTROLS = tuple(
    one.name for one in sorted(PRIMINGS.values(), key=lambda one: one.control) if one.control
)
"""Primings that serve as control, in order of preference."""

CONTRASTS_SCHEMA = schema_of(
    "contrast priming measure value low high method n_pairs n_unscored p_value p_adjusted reason"
)
"""Columns of `priming_contrasts`, in percentage points."""

_MEASURES = ("discrepancy", "accuracy_stereotyped", "accuracy_contrast", "mar")


@takes_options(SamplingOptions)
def priming_contrasts(
    outcomes: pl.DataFrame,
    *,
    control: str | None = None,
    primings: Sequence[str] | None = None,
    adjustment: str = "bh",
    **options: Any,
) -> pl.DataFrame:
    """Compare cue and control, stereotyped and contrast, and their interaction, on the same pairs.

    With s and k the accuracies on stereotyped and contrast prompts, of a cue (1) and its control (0):

    | contrast | measure | value |
    |---|---|---|
    | `side`, in each priming | `discrepancy` | k - s |
    | `cue` | `accuracy_stereotyped` | s1 - s0 |
    | `cue` | `accuracy_contrast` | k1 - k0 |
    | `cue` | `mar` | MAR1 - MAR0 |
    | `interaction` | `discrepancy` | (k1 - s1) - (k0 - s0) |

    The interaction is the effect of the cue on the stereotyped prompts beyond its effect on the
    contrast prompts. A pair takes part in a row if it is scored on all its sides. Intervals are of
    scenarios resampled with all their pairs and primings; p values are of cluster sign-flip tests,
    sampled for `mar` and exact for the others. All p values of the table are one family.

    Args:
        outcomes: As for `summarize`, one row per pair and priming.
        control: The priming to compare with; by default the first of `CONTROLS` that is there.
        primings: Primings to compare with it; by default all others except "none". A priming that
            borrows its contrast outcomes from "none" needs a control of the same design to be a
            fair comparison: `controlled_primings` picks those.
        adjustment: Method of `adjust`.
        options: Fields of `SamplingOptions`; `n_resamples` also counts for sampled tests.

    Returns:
        A frame of schema `CONTRASTS_SCHEMA`: `side` for the control and each other priming, then
        `cue` and `interaction` for each other priming, named "cue_both - neutral_both".

    Raises:
        DataError: The frame breaks the rules of `summarize`, or has nothing to compare.

    Example:
        >>> right = [True, True, True, True, False, True, False, True, False, False, False, True]
        >>> found = priming_contrasts(pl.DataFrame({
        ...     "id": [f"p{i}" for i in range(6)] * 2, "scenario": list("aabbcc") * 2,
        ...     "category": "age", "priming": ["neutral_both"] * 6 + ["cue_both"] * 6,
        ...     "stereotyped": right, "contrast": True}))
        >>> found.filter(contrast="interaction").select("priming", "value", "p_value").row(0)
        ('cue_both - neutral_both', 50.0, 0.5)
    """
    sampling = SamplingOptions.of(options)
    grid = grid_of_outcomes(outcomes)
    control, others = _choose(grid.series, control, primings)
    weights = grid.weights
    questions = [("side", name, weights[name]) for name in (control, *others)]
    for name in others:
        change = weights[name] - weights[control]
        questions += [(kind, f"{name} - {control}", change) for kind in ("cue", "interaction")]
    rows_of_weights = np.array([row for *_, row in questions])
    found = resample(grid.codes, grid.groups, rows_of_weights, _MEASURES, sampling)
    rows = []
    for j, (contrast, priming, row) in enumerate(questions):
        series = [np.argmax(row)] if contrast == "side" else [np.argmax(row), np.argmin(row)]
        sizes = found.sizes[0, j, 1:].tolist()
        for measure in _MEASURES[1:] if contrast == "cue" else _MEASURES[:1]:
            *numbers, reason = found.estimate(0, j, _MEASURES.index(measure))
            tested = None if contrast == "side" else measure
            p_value = permute(grid.codes[series], grid.scenario, tested, sampling)[1]
            rows.append((contrast, priming, measure, *numbers, *sizes, p_value, None, reason))
    return with_adjusted(pl.DataFrame(rows, schema=CONTRASTS_SCHEMA, orient="row"), adjustment)


def _choose(
    series: Sequence[str], control: str | None, primings: Sequence[str] | None
) -> tuple[str, list[str]]:
    known = ", ".join(series)
    if control is None:
        control = next((name for name in CONTROLS if name in series), None)
    if control is None:
        raise DataError(f"outcomes: no control among the primings {known}")
    asked = [name for name in series if name != "none"] if primings is None else primings
    others = [name for name in dict.fromkeys(asked) if name != control]
    for name in (control, *others):
        check_one_of("priming", name, series)
    if not others:
        rule = f"nothing to compare with the control {control!r}"
        raise DataError(f"outcomes: {rule}, got only {known}")
    return control, others


def controlled_primings(answers: pl.DataFrame) -> tuple[str, tuple[str, ...]] | None:
    """Return the control of a run, and the primings that change the same prompts as it does.

    `answers` have a row for each prompt, with `priming` and `condition`. The control is the first of
    `CONTROLS` except "none" that is there; the primings have prompts of their own in the same
    conditions. None if there is no such control, or nothing to compare with it.

    Example:
        >>> both = [(name, side) for name in ("none", "cue_both", "neutral_both")
        ...     for side in ("stereotyped", "contrast")]
        >>> controlled_primings(pl.DataFrame(
        ...     [*both, ("cue", "stereotyped")], schema=["priming", "condition"], orient="row"))
        ('neutral_both', ('cue_both',))
    """
    answers = checked(answers, ["priming", "condition"], "answers")
    conditions = pl.col("condition").unique().sort()
    sides = dict(answers.group_by("priming", maintain_order=True).agg(conditions).iter_rows())
    sides.pop("none", None)
    for control in CONTROLS[:-1]:
        alike = (name for name in sides if sides[name] == sides.get(control))
        if like := tuple(name for name in alike if name != control):
            return control, like
    return None
