"""What a cue does beyond a sentence of like length: contrasts of a priming design."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats._arrays import Sampling, resample
from misfired.stats._grid import Grid, grid_of_outcomes
from misfired.stats._seed import Rng, seed_of
from misfired.stats.comparison import COMPARISON_SCHEMA
from misfired.stats.testing import adjust

__all__ = ["CONTRASTS_SCHEMA", "CONTROLS", "controlled_primings", "priming_contrasts"]

CONTROLS = ("neutral_both", "neutral", "placebo", "none")
"""Primings that serve as control, the first that is there."""

CONTRASTS_SCHEMA = pl.Schema(
    {"contrast": pl.String}
    | {name: kind for name, kind in COMPARISON_SCHEMA.items() if name != "slice"}
)
"""Columns of `priming_contrasts`, in percentage points."""

_MEASURES = ("discrepancy", "accuracy_stereotyped", "accuracy_contrast", "mar")


def priming_contrasts(
    outcomes: pl.DataFrame,
    *,
    control: str | None = None,
    primings: Sequence[str] | None = None,
    unit: str = "scenario",
    stratified: bool = False,
    method: str | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    adjustment: str = "bh",
    rng: Rng = 0,
    n_threads: int | None = None,
) -> pl.DataFrame:
    """Cue against control, stereotyped against contrast, and their interaction, on the same pairs.

    With s and k the accuracies on stereotyped and contrast prompts, of a cue (1) and its control (0):

    | contrast | measure | value |
    |---|---|---|
    | `side`, in each priming | `discrepancy` | k - s |
    | `cue` | `accuracy_stereotyped` | s1 - s0 |
    | `cue` | `accuracy_contrast` | k1 - k0 |
    | `cue` | `mar` | MAR1 - MAR0 |
    | `interaction` | `discrepancy` | (k1 - s1) - (k0 - s0) |

    The interaction is what the cue does to the stereotyped prompts beyond what it does to the
    contrast prompts. A pair takes part in a row if it is scored on all its sides. Intervals are of
    scenarios resampled with all their pairs and primings; p values of cluster sign-flip tests, sampled
    for `mar` and exact for the others; all p values of the answer are one family.

    Args:
        outcomes: As for `summarize`, one row per pair and priming.
        control: The priming to compare with; by default the first of `CONTROLS` that is there.
        primings: What is compared with it; by default all others but "none". A priming whose contrast
            outcomes are borrowed from "none" needs a control of the same design to be a fair
            comparison: `controlled_primings` picks those.
        unit: `"scenario"` or `"pair"`.
        stratified: Keep the number of units of each category fixed.
        method: As for `bootstrap`; `"studentised"` by default.
        n_resamples: Number of resamples, of intervals and of sampled tests.
        confidence_level: Between 0 and 1.
        adjustment: As for `adjust`.
        rng: Seed or generator.
        n_threads: Threads.

    Returns:
        A frame of schema `CONTRASTS_SCHEMA`: `side` for the control and each other priming, then
        `cue` and `interaction` for each other priming, named "cue_both - neutral_both".

    Raises:
        DataError: If the frame does not hold what it should, or a priming is not in it.
        ArgumentError: If an option is outside its limits.

    Example:
        >>> def rows(priming, stereotyped):
        ...     return pl.DataFrame({
        ...         "id": [f"p{i}" for i in range(6)], "category": "age",
        ...         "scenario": ["a", "a", "b", "b", "c", "c"], "priming": priming,
        ...         "stereotyped": stereotyped, "contrast": True})
        >>> found = priming_contrasts(pl.concat([
        ...     rows("neutral_both", [True, True, True, True, False, True]),
        ...     rows("cue_both", [False, True, False, False, False, True])]))
        >>> found.filter(contrast="interaction").select("priming", "value", "p_value").row(0)
        ('cue_both - neutral_both', 50.0, 0.5)
    """
    grid = grid_of_outcomes(outcomes)
    control, others = _choose(grid.series, control, primings)
    seed = seed_of(rng)
    options = Sampling(unit, stratified, method, confidence_level, n_resamples, seed, n_threads)
    rows = list(_rows(grid, _questions(grid.series, control, others), options))
    frame = pl.DataFrame(rows, schema=CONTRASTS_SCHEMA, orient="row")
    adjusted = adjust(frame["p_value"].to_list(), method=adjustment)
    return frame.with_columns(p_adjusted=pl.Series(adjusted).fill_nan(None))


_Question = tuple[str, str, npt.NDArray[np.float64]]


def _questions(series: Sequence[str], control: str, others: Sequence[str]) -> list[_Question]:
    eye = dict(zip(series, np.eye(len(series)), strict=True))
    questions = [("side", name, eye[name]) for name in (control, *others)]
    for name in others:
        change = eye[name] - eye[control]
        questions += [(kind, f"{name} - {control}", change) for kind in ("cue", "interaction")]
    return questions


def _rows(
    grid: Grid, questions: Sequence[_Question], options: Sampling
) -> Iterator[tuple[object, ...]]:
    groups = (grid.scenario, grid.category)
    weights = np.array([row for *_, row in questions])
    found = resample(grid.codes, groups, weights, _MEASURES, options, by_category=False)
    for j, (contrast, priming, row) in enumerate(questions):
        series = [np.argmax(row)] if contrast == "side" else [np.argmax(row), np.argmin(row)]
        codes = np.ascontiguousarray(grid.codes[series])
        sizes = found.sizes[0, j, 1:].tolist()
        for measure in _MEASURES[1:] if contrast == "cue" else _MEASURES[:1]:
            *numbers, how, reason = found.estimate(0, j, _MEASURES.index(measure))
            p_value = _core.permutation(
                codes, grid.scenario, None if contrast == "side" else measure, options.unit,
                "two-sided", options.n_resamples or 1, options.seed, options.n_threads,
            )[1]  # fmt: skip
            tail = (None if np.isnan(p_value) else p_value, None, reason)
            yield (contrast, priming, measure, *numbers, how, *sizes, *tail)


def controlled_primings(answers: pl.DataFrame) -> tuple[str, tuple[str, ...]] | None:
    """The control of a run, and the primings that put a sentence before the same prompts as it does.

    Args:
        answers: One row for each prompt, with columns `priming` and `condition`.

    Returns:
        The first of `CONTROLS` but "none" that is there, and the primings with prompts of their own
        in the same conditions; None if there is no such control, or nothing to compare with it.

    Example:
        >>> both = [(name, side) for name in ("none", "cue_both", "neutral_both")
        ...     for side in ("stereotyped", "contrast")]
        >>> controlled_primings(pl.DataFrame(
        ...     [*both, ("cue", "stereotyped")], schema=["priming", "condition"], orient="row"))
        ('neutral_both', ('cue_both',))
    """
    pairs = answers.select("priming", "condition").unique(maintain_order=True)
    sides = {
        str(name): set(rows["condition"])
        for (name,), rows in pairs.group_by("priming", maintain_order=True)
    }
    for control in CONTROLS[:-1]:
        others = [name for name in sides if name not in {control, "none"}]
        like = tuple(name for name in others if sides[name] == sides.get(control))
        if like:
            return control, like
    return None


def _choose(
    series: Sequence[str], control: str | None, primings: Sequence[str] | None
) -> tuple[str, tuple[str, ...]]:
    known = ", ".join(series)
    if control is None:
        control = next((name for name in CONTROLS if name in series), None)
        if control is None:
            raise DataError(f"outcomes: no control among the primings {known}")
    others = [name for name in series if name != "none"] if primings is None else list(primings)
    others = [name for name in others if name != control]
    for name in (control, *others):
        if name not in series:
            raise ArgumentError(f"priming: {name!r}, expected one of {known}")
    if not others:
        raise DataError(f"outcomes: nothing to compare with the control {control!r}, only {known}")
    return control, tuple(others)
