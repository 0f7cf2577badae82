"""Logit lens: the residual stream after each layer, read with the model's own output."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.localise.held import Chunk
from misfired.localise.options import MIN_EFFECT, ONSET_SHARE, LocaliseOptions
from misfired.localise.probes._common import (
    ProbeKind,
    by_condition,
    figure_rows,
    interval_rows,
    quantity,
    share,
    yes_margins,
)
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats, mean_interval


def lens(chunk: Chunk) -> pl.DataFrame:
    """Read the margin of the residual stream after each layer.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `question`, `layer`, `margin` (of
        the right answer).
    """
    rows, n_layer = chunk.last["residual"], chunk.probe.n_layer
    slots = np.repeat(np.arange(len(rows)), n_layer).tolist()
    margins = chunk.unembed(rows.reshape(len(slots), -1), slots).reshape(-1, n_layer)
    return pl.concat(
        place.case.rows(**place.keys, layer=np.arange(n_layer), margin=margin)
        for place, margin in zip(chunk.places, margins, strict=True)
    )


def lens_curves(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Average the evidence by layer, for each model, kind and condition, and the gap between conditions.

    The evidence is the margin of yes for the true question minus that for the false one about the same
    story: a layer that leans to yes holds none. Without false questions it is the margin of the right
    answer, which a leaning moves too.

    Returns:
        Columns `model`, `kind`, `condition` (or `gap`: contrast minus stereotyped), `layer`, `value`,
        `low`, `high`, `n_pairs`, `n_scenarios`, `reason`, `true_question` and `false_question` (mean
        margins of yes; null without false questions), `quantity` (`evidence` or `margin`).
    """
    found = []
    for keys, part, stereotyped, contrast, scenarios in _by_group(rows):
        curves = {"stereotyped": stereotyped, "contrast": contrast, "gap": contrast - stereotyped}
        yes = {
            name: yes_margins(part.filter(condition=name), pl.col("margin")) for name in CONDITIONS
        }
        yes["gap"] = {
            key: yes["contrast"][key] - yes["stereotyped"][key] for key in yes["contrast"]
        }
        for name, values in curves.items():
            curve = mean_interval(values, scenarios, **options.statistics)
            layers = np.arange(values.shape[1])
            table = interval_rows(curve, scenarios, **keys, condition=name, layer=layers)
            found.append(table.with_columns(**yes[name], quantity=pl.lit(quantity(part))))
    return pl.concat(found)


def lens_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find where the stereotyped curve leaves the contrast curve, and how many rise and then fall.

    The curves are those of `lens_curves`. For each model and kind: `greatest_divergence` (layer of the
    largest mean gap, contrast minus stereotyped), `onset_of_suppression` (layer from which on the mean
    gap stays at or above half of its last value; null where that is not above `MIN_EFFECT` of the mean
    |margin|: nothing is suppressed), and `rises_then_falls` (percent of the pairs that count, see the
    function of that name).

    Returns:
        Columns `probe`, `model`, `kind`, `measure`, `value`, `low`, `high`, `n_pairs`, `n_scenarios`,
        `reason` (why there is no value or no interval), `quantity` (`evidence` or `margin`).
    """
    found, how = [], options.statistics
    for keys, part, stereotyped, contrast, scenarios in _by_group(rows):
        gap = contrast - stereotyped
        sizes = [size[:, -1:] for size in by_condition(part, pl.col("margin").abs())[:2]]
        scale = (sizes[0] + sizes[1]) / 2
        counts, falls = rises_then_falls(stereotyped, contrast[:, -1], sizes[1][:, 0])
        counted = [name for name, is_in in zip(scenarios, counts, strict=True) if is_in]
        figures = {
            "greatest_divergence": mean_interval(gap, scenarios, greatest, **how),
            "onset_of_suppression": mean_interval(
                np.hstack([gap, scale]), scenarios, onset, undefined="no_suppression", **how
            ),
        }
        falling = {"rises_then_falls": share(falls, counted, options)}
        table = pl.concat(
            figure_rows(some, names, probe="lens", **keys)
            for some, names in ((figures, scenarios), (falling, counted))
        )
        found.append(table.with_columns(quantity=pl.lit(quantity(part))))
    return pl.concat(found)


def rises_then_falls(
    stereotyped: Floats, contrast: Floats, size: Floats
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which pairs count, and which of those rise and then fall.

    A pair counts if its contrast story ends with evidence: more than `MIN_EFFECT` of its |margins|. It
    rises and falls if the stereotyped story holds half of that evidence (`ONSET_SHARE`) after some layer,
    and less after the last.

    Args:
        stereotyped: Evidence by layer, shape (pair, layer).
        contrast: Evidence after the last layer, shape (pair,).
        size: What the evidence is made of: the sum of the contrast story's |margins|, shape (pair,).

    Example:
        >>> stereotyped = np.array([[0.0, 8.0, 1.0], [0.0, 8.0, 8.0], [0.0, 1.0, 0.0]])
        >>> counts, falls = rises_then_falls(
        ...     stereotyped, np.array([9.0, 9.0, 0.5]), np.array([9.0, 9.0, 20.0]))
        >>> counts.tolist(), falls.tolist()
        ([True, True, False], [True, False])
    """
    counts = contrast > MIN_EFFECT * size
    bar = ONSET_SHARE * contrast[counts]
    rises = stereotyped[counts, :-1].max(axis=1, initial=-np.inf) >= bar
    return counts, rises & (stereotyped[counts, -1] < bar)


def greatest(gap: Floats) -> Floats:
    """Return the layer of the largest value, shape (..., layer) to (..., 1).

    Example:
        >>> greatest(np.array([0.0, 3.0, 2.0])).tolist()
        [1.0]
    """
    layers: Floats = gap.argmax(axis=-1, keepdims=True).astype(np.float64)
    return layers


def onset(means: Floats) -> Floats:
    """Return the layer from which on the gap stays at or above half of its last value.

    Args:
        means: The gap by layer, and after it the mean |margin|; shape (..., layer + 1).

    Returns:
        Shape (..., 1); NaN where the last gap is not above `MIN_EFFECT` of the mean |margin|.

    Example:
        >>> onset(np.array([0.0, 5.0, 1.0, 2.0, 3.0, 1.0])).tolist()
        [3.0]
    """
    gap, scale = means[..., :-1], means[..., -1:]
    last, n_layer = gap[..., -1:], gap.shape[-1]
    below = gap < ONSET_SHARE * last
    # Layers after the last one below the bar; a positive last value is never below half of itself.
    after = n_layer - below[..., ::-1].argmax(axis=-1, keepdims=True)
    first = np.where(below.any(axis=-1, keepdims=True), after, 0.0)
    return np.where(last > MIN_EFFECT * scale, first, np.nan)


def _by_group(
    rows: pl.DataFrame,
) -> Iterator[tuple[dict[str, Any], pl.DataFrame, Floats, Floats, list[str]]]:
    """Yield for each model and kind its name, rows, evidence of both stories, and scenarios.

    The evidence has shape (pair, layer).
    """
    for (model, kind), part in rows.group_by("model", "kind", maintain_order=True):
        yield {"model": model, "kind": kind}, part, *by_condition(part, pl.col("margin"))


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: lens(chunk),
    tables={"lens_curves": lens_curves},
    figures=lens_figures,
    on_controls=True,
    on_base=True,
)
