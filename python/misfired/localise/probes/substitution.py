"""Late substitution: the stereotyped run's own residual from its best layer, written into later ones."""

import numpy as np
import polars as pl

from misfired.localise.held import Chunk, Interventions
from misfired.localise.options import LocaliseOptions
from misfired.localise.probes._common import ProbeKind, figure_rows, ratio
from misfired.localise.probes.lens import lens
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval


def substitution(chunk: Chunk) -> pl.DataFrame | None:
    """Write the stereotyped run's own residual from its best layer into later layers.

    The best layer is the one with the largest margin in the lens, the last layer excluded.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `best_layer`, `best_margin`, `before`, `layer`
        (above the best), `after` (margins). None for a model of one layer.
    """
    n_layer = chunk.probe.n_layer
    if n_layer == 1:
        return None
    curves = lens(chunk).filter(condition=CONDITIONS[0])["margin"].to_numpy().reshape(-1, n_layer)
    runs = Interventions(chunk)
    frames = []
    for number, (case, curve) in enumerate(zip(chunk.cases, curves, strict=True)):
        slot, best = 2 * number, int(curve[:-1].argmax())
        later = np.arange(best + 1, n_layer)
        for layer in later.tolist():
            runs.patch_last(slot, "residual", layer, chunk.last["residual"][slot, best])
        margins = {"best_margin": curve[best], "before": chunk.margins[slot]}
        frames.append(case.rows(best_layer=best, **margins, layer=later))
    return pl.concat(frames).with_columns(after=runs.margins())


def substitution_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find the share of failures that late substitution turns right, and the first layer that does.

    Returns:
        The columns of `lens_figures`; measures `flipped` (percent with any layer that turns the answer
        right), `best_layer` (mean) and `first_flip` (mean layer, of those that turn).
    """
    first = pl.when(pl.col("after") > 0).then(pl.col("layer")).min()
    groups = rows.filter(kind="failure").group_by("id", "scenario", maintain_order=True)
    pairs = groups.agg(pl.first("best_layer"), first=first.fill_null(0), turns=first.is_not_null())
    scenarios, how = pairs["scenario"].to_list(), options.statistics
    values = pairs.drop("id", "scenario").cast(pl.Float64).to_numpy()
    figures = {
        "flipped": mean_interval(100.0 * values[:, 2:], scenarios, **how),
        "best_layer": mean_interval(values[:, :1], scenarios, **how),
        "first_flip": mean_interval(values[:, 1:], scenarios, ratio, **how),
    }
    return figure_rows(figures, scenarios, probe="substitution", model="instruct", kind="failure")


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: substitution(chunk), figures=substitution_figures
)
