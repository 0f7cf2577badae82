"""Logit lens: the residual stream after each layer, read with the model's own output."""

from __future__ import annotations

import numpy as np
import polars as pl

from misfired.localise.held import Chunk, case_rows
from misfired.localise.options import MIN_EFFECT, LocaliseOptions
from misfired.localise.probes._common import (
    ONSET_SHARE,
    Floats,
    ProbeKind,
    figure_rows,
    layer_rows,
    wide,
)
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval


def lens(chunk: Chunk) -> pl.DataFrame:
    """Read the margin of the residual stream after each layer.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `layer`, `margin`.
    """
    held, n_layer = chunk.held, chunk.held.probe.n_layer
    rows = held.last["residual"]
    slots = np.repeat(np.arange(len(rows)), n_layer).tolist()
    margins = held.unembed(rows.reshape(len(slots), -1), slots).reshape(-1, 2, n_layer)
    return pl.concat(
        case_rows(case, condition=condition, layer=np.arange(n_layer), margin=margins[number, side])
        for number, case in enumerate(chunk.cases)
        for side, condition in enumerate(CONDITIONS)
    )


def lens_curves(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Average margins by layer, for each model, kind and condition, and the gap between conditions.

    Args:
        rows: Rows of the lens with a column `model`.
        options: How intervals are made.

    Returns:
        Columns `model`, `kind`, `condition` (or `gap`: contrast minus stereotyped), `layer`, `value`,
        `low`, `high`, `n_pairs`, `n_scenarios`.
    """
    found = []
    for (model, kind), part in rows.group_by("model", "kind", maintain_order=True):
        curves, scenarios = _curves(part)
        for name, values in curves.items():
            keys = {"model": model, "kind": kind, "condition": name}
            found += layer_rows(
                mean_interval(values, scenarios, **options.statistics), keys, scenarios
            )
    return pl.DataFrame(found)


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
    found = []
    for (model, kind), part in rows.group_by("model", "kind", maintain_order=True):
        curves, scenarios = _curves(part)
        stereotyped = curves[CONDITIONS[0]]
        last = [np.abs(curves[name][:, -1:]) for name in CONDITIONS]
        with_scale = np.hstack([curves["gap"], (last[0] + last[1]) / 2])
        falls = (stereotyped[:, :-1].max(axis=1, initial=-np.inf) > 0) & (stereotyped[:, -1] <= 0)
        how = options.statistics
        figures = {
            "greatest_divergence": mean_interval(curves["gap"], scenarios, greatest, **how),
            "onset_of_suppression": mean_interval(with_scale, scenarios, onset, **how),
            "rises_then_falls": mean_interval(100.0 * falls[:, None], scenarios, **how),
        }
        found += figure_rows(figures, {"probe": "lens", "model": model, "kind": kind}, scenarios)
    return pl.DataFrame(found)


def greatest(gap: Floats) -> Floats:
    """Return the layer of the largest value, shape (..., layer) to (..., 1).

    Example:
        >>> greatest(np.array([0.0, 3.0, 2.0])).tolist()
        [1.0]
    """
    layers: Floats = gap.argmax(axis=-1)[..., None].astype(np.float64)
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
    last = gap[..., -1:]
    return np.where(last > MIN_EFFECT * scale, _stays(gap, ONSET_SHARE * last), np.nan)


def _stays(curve: Floats, bar: Floats) -> Floats:
    """Return the first layer from which on the curve is never below the bar.

    NaN if its last value is.
    """
    below = curve < bar
    n_layer = curve.shape[-1]
    # Layers after the last one below the bar.
    first = n_layer - np.argmax(below[..., ::-1], axis=-1)[..., None].astype(np.float64)
    first = np.where(below.any(axis=-1, keepdims=True), first, 0.0)
    return np.where(below[..., -1:], np.nan, first)


def _curves(part: pl.DataFrame) -> tuple[dict[str, Floats], list[str]]:
    """Return margins by condition and their gap, shape (pair, layer), and the scenario of each pair."""
    sides = {name: wide(part.filter(condition=name), pl.col("margin")) for name in CONDITIONS}
    curves = {name: values for name, (values, _) in sides.items()}
    curves["gap"] = curves["contrast"] - curves["stereotyped"]
    return curves, sides["contrast"][1]


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: lens(chunk),
    tables={"lens_curves": lens_curves},
    figures=lens_figures,
    on_controls=True,
    on_base=True,
)
