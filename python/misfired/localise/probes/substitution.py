"""Late substitution: the stereotyped run's own residual from its best layer, written into later ones."""

from __future__ import annotations

from itertools import count

import numpy as np
import polars as pl

from misfired.localise.held import Chunk, Interventions, case_rows
from misfired.localise.options import LocaliseOptions
from misfired.localise.probes._common import ProbeKind, failures, figure_rows, ratio
from misfired.localise.probes.lens import lens
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval


def substitution(chunk: Chunk) -> pl.DataFrame | None:
    """Write the stereotyped run's own residual from its best layer into later layers.

    The best layer is the one with the largest margin in the lens, the last layer excluded.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `best_layer`, `best_margin`, `layer` (above the
        best), `before`, `after` (margins). None for a model of one layer.
    """
    held, n_layer = chunk.held, chunk.held.probe.n_layer
    if n_layer == 1:
        return None
    curves = lens(chunk).filter(pl.col("condition") == CONDITIONS[0])
    margins = curves["margin"].to_numpy().reshape(-1, n_layer)
    runs = Interventions(held)
    frames = []
    for slot, case, curve in zip(count(0, 2), chunk.cases, margins, strict=False):
        best = int(curve[:-1].argmax())
        later = np.arange(best + 1, n_layer)
        for layer in later.tolist():
            runs.patch_last(slot, "residual", layer, held.last["residual"][slot, best])
        frames.append(
            case_rows(
                case,
                best_layer=best,
                best_margin=float(curve[best]),
                layer=later,
                before=held.margins[slot],
            )
        )
    return pl.concat(frames).with_columns(pl.Series("after", runs.margins()))


def substitution_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find the share of failures that late substitution turns right, and the first layer that does.

    Returns:
        The columns of `lens_figures`; measures `flipped` (percent with any layer that turns the answer
        right), `best_layer` (mean) and `first_flip` (mean layer, of those that turn).
    """
    turned = pl.when(pl.col("after") > 0).then(pl.col("layer")).min().alias("first")
    pairs = (
        failures(rows)
        .group_by("id", "scenario", maintain_order=True)
        .agg(turned, pl.col("best_layer").first())
    )
    if pairs.is_empty():
        return pl.DataFrame()
    scenarios = pairs["scenario"].to_list()
    flips = pairs["first"].is_not_null().to_numpy().astype(np.float64)
    first = pairs["first"].fill_null(0).to_numpy().astype(np.float64)
    best = pairs["best_layer"].to_numpy().astype(np.float64)
    how = options.statistics
    figures = {
        "flipped": mean_interval(100.0 * flips[:, None], scenarios, **how),
        "best_layer": mean_interval(best[:, None], scenarios, **how),
        "first_flip": mean_interval(np.stack([first, flips], axis=1), scenarios, ratio, **how),
    }
    keys = {"probe": "substitution", "model": "instruct", "kind": "failure"}
    return pl.DataFrame(figure_rows(figures, keys, scenarios))


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: substitution(chunk), figures=substitution_figures
)
