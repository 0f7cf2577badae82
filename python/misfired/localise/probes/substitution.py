"""Late substitution: the stereotyped run's own residual from its best layer, written into later ones."""

import numpy as np
import polars as pl

from misfired.localise.held import Chunk, Interventions
from misfired.localise.options import LocaliseOptions
from misfired.localise.probes._common import ProbeKind, figure_rows, quantity, ratio, share
from misfired.localise.probes.lens import lens
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval


def substitution(chunk: Chunk) -> pl.DataFrame | None:
    """Write the stereotyped run's own residual from its best layer into later layers.

    The best layer is the one with the most evidence in the lens, the last layer excluded: the largest
    margin of yes for the true question minus that for the false one. Each question's run gets its own
    residual of that layer. Without false questions it is the layer of the largest margin.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `question`, `best_layer`, `best_margin`, `before`,
        `layer` (above the best), `after` (margins). None for a model of one layer.
    """
    n_layer = chunk.probe.n_layer
    if n_layer == 1:
        return None
    rows = lens(chunk).filter(condition=CONDITIONS[0])
    runs = Interventions(chunk)
    frames = []
    for case in chunk.cases:
        curves = {}
        for slot, place in enumerate(chunk.places):
            if place.case is case and place.condition == CONDITIONS[0]:
                own = rows.filter(id=case.id, question=place.question)
                curves[slot] = own.sort("layer")["margin"].to_numpy()
        best = int(np.sum(list(curves.values()), axis=0)[:-1].argmax())
        later = np.arange(best + 1, n_layer)
        for slot, curve in curves.items():
            for layer in later.tolist():
                runs.patch_last(slot, "residual", layer, chunk.last["residual"][slot, best])
            margins = {"best_margin": curve[best], "before": chunk.margins[slot]}
            question = chunk.places[slot].question
            frames.append(case.rows(question=question, best_layer=best, **margins, layer=later))
    return pl.concat(frames).with_columns(after=runs.margins())


def substitution_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find the share of failures that late substitution turns right, and the first layer that does.

    A layer turns a failure right only if the answer to the false question is right too: a leaning to
    yes turns nothing.

    Returns:
        The columns of `lens_figures`; measures `flipped` (percent with any layer that turns the answer
        right), `best_layer` (mean) and `first_flip` (mean layer, of those that turn).
    """
    keys = ("id", "scenario")
    layers = rows.filter(kind="failure").group_by(*keys, "layer", maintain_order=True)
    right = layers.agg(pl.first("best_layer"), right=(pl.col("after") > 0).all())
    first = pl.when("right").then("layer").min()
    groups = right.group_by(*keys, maintain_order=True)
    pairs = groups.agg(pl.first("best_layer"), first=first.fill_null(0), turns=first.is_not_null())
    scenarios, how = pairs["scenario"].to_list(), options.statistics
    values = pairs.drop(keys).cast(pl.Float64).to_numpy()
    figures = {
        "flipped": share(values[:, 2] > 0, scenarios, options),
        "best_layer": mean_interval(values[:, :1], scenarios, **how),
        "first_flip": mean_interval(
            values[:, 1:], scenarios, ratio, undefined="nothing_flipped", **how
        ),
    }
    table = figure_rows(figures, scenarios, probe="substitution", model="instruct", kind="failure")
    return table.with_columns(quantity=pl.lit(quantity(rows)))


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: substitution(chunk), figures=substitution_figures
)
