"""Logit lens: the residual stream after each layer, read with the model's own output."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from misfired.localise.held import Chunk
from misfired.localise.options import MIN_EFFECT, ONSET_SHARE, LocaliseOptions
from misfired.localise.probes._common import ProbeKind, by_condition, figure_rows, interval_rows
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats, mean_interval


def lens(chunk: Chunk) -> pl.DataFrame:
    """Read the margin of the residual stream after each layer.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `layer`, `margin`.
    """
    rows, n_layer = chunk.last["residual"], chunk.probe.n_layer
    slots = np.repeat(np.arange(len(rows)), n_layer).tolist()
    margins = chunk.unembed(rows.reshape(len(slots), -1), slots).reshape(-1, 2, n_layer)
    return pl.concat(
        case.rows(condition=condition, layer=np.arange(n_layer), margin=margins[number, side])
        for number, case in enumerate(chunk.cases)
        for side, condition in enumerate(CONDITIONS)
    )


def lens_curves(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Average margins by layer, for each model, kind and condition, and the gap between conditions.

    Returns:
        Columns `model`, `kind`, `condition` (or `gap`: contrast minus stereotyped), `layer`, `value`,
        `low`, `high`, `n_pairs`, `n_scenarios`.
    """
    found = []
    for keys, stereotyped, contrast, scenarios in _by_group(rows):
        curves = {"stereotyped": stereotyped, "contrast": contrast, "gap": contrast - stereotyped}
        for name, values in curves.items():
            curve = mean_interval(values, scenarios, **options.statistics)
            layers = np.arange(values.shape[1])
            found.append(interval_rows(curve, scenarios, **keys, condition=name, layer=layers))
    return pl.concat(found)


def lens_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find where the stereotyped curve leaves the contrast curve, and how many rise and then fall.

    For each model and kind: `greatest_divergence` (layer of the largest mean gap, contrast minus
    stereotyped), `onset_of_suppression` (layer from which on the mean gap stays at or above half of
    its last value; null where that is not above `MIN_EFFECT` of the mean |margin|: nothing is
    suppressed), and `rises_then_falls` (percent of pairs whose stereotyped margin is above 0 at some
    layer, though at or below 0 after the last).

    Returns:
        Columns `probe`, `model`, `kind`, `measure`, `value`, `low`, `high`, `n_pairs`, `n_scenarios`.
    """
    found, how = [], options.statistics
    for keys, stereotyped, contrast, scenarios in _by_group(rows):
        gap = contrast - stereotyped
        scale = (np.abs(stereotyped[:, -1:]) + np.abs(contrast[:, -1:])) / 2
        falls = (stereotyped[:, :-1].max(axis=1, initial=-np.inf) > 0) & (stereotyped[:, -1] <= 0)
        figures = {
            "greatest_divergence": mean_interval(gap, scenarios, greatest, **how),
            "onset_of_suppression": mean_interval(np.hstack([gap, scale]), scenarios, onset, **how),
            "rises_then_falls": mean_interval(100.0 * falls[:, None], scenarios, **how),
        }
        found.append(figure_rows(figures, scenarios, probe="lens", **keys))
    return pl.concat(found)


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


def _by_group(rows: pl.DataFrame) -> Iterator[tuple[dict[str, Any], Floats, Floats, list[str]]]:
    """Yield for each model and kind what names it, both margins, shape (pair, layer), and scenarios."""
    for (model, kind), part in rows.group_by("model", "kind", maintain_order=True):
        yield {"model": model, "kind": kind}, *by_condition(part, pl.col("margin"))


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: lens(chunk),
    tables={"lens_curves": lens_curves},
    figures=lens_figures,
    on_controls=True,
    on_base=True,
)
