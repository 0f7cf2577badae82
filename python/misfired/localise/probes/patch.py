"""Activation patching: one prompt's activations put into the other's run, layer by layer."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import polars as pl

from misfired.localise.held import Chunk, Interventions
from misfired.localise.options import ONSET_SHARE, LocaliseOptions
from misfired.localise.probe import SITES
from misfired.localise.probes._common import ProbeKind, figure_rows, interval_rows, ratio, wide
from misfired.stats.means import Floats, mean_interval

DIRECTIONS = ("denoising", "noising")
TARGETS = ("last", "span")


def patch(
    chunk: Chunk,
    *,
    sites: Sequence[str] = SITES,
    targets: Sequence[str] = TARGETS,
    directions: Sequence[str] = DIRECTIONS,
) -> pl.DataFrame:
    """Put one prompt's activations into the other's run, layer by layer.

    `denoising` puts the contrast prompt's into the stereotyped run, `noising` the reverse. Target
    `last` is the last token, `span` the last mention of the person asked about; a case whose persons
    cannot be aligned has no rows for `span`.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `site`, `target`, `direction`, `before` (margin
        of the run without the patch), `donor` (margin of the other run), `layer`, `patched`.
    """
    runs = Interventions(chunk)
    layers = np.arange(chunk.probe.n_layer)
    frames = []
    patches = product(enumerate(chunk.cases), directions, targets, sites)
    for (number, case), direction, target, site in patches:
        if target == "span" and case.unaligned is not None:
            continue
        into = 2 * number + DIRECTIONS.index(direction)
        source = into ^ 1
        for layer in layers.tolist():
            if target == "last":
                runs.patch_last(into, site, layer, chunk.last[site][source, layer])
            else:
                runs.patch_span(into, site, layer, chunk.span[site, source][layer])
        keys = {"site": site, "target": target, "direction": direction}
        margins = {"before": chunk.margins[into], "donor": chunk.margins[source]}
        frames.append(case.rows(**keys, **margins, layer=layers))
    return pl.concat(frames).with_columns(patched=runs.margins())


def recovery_curves(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    r"""Average recovery by layer, a ratio of means: :math:`\sum (patched - before) / \sum (donor - before)`.

    1 means that the patch carries the whole difference between the two prompts. For `noising` the
    donor is the stereotyped run, so that 1 means that the patch alone makes the contrast answer as
    wrong. Failures only: where both runs are right there is no difference to recover.

    Returns:
        Columns `site`, `target`, `direction`, `layer`, `value`, `low`, `high`, `n_pairs`,
        `n_scenarios`, `flipped` (percent of pairs whose answer changes).
    """
    found = []
    for labels, part, values, scenarios in _patches(rows):
        flips, _ = wide(part, (pl.col("patched") > 0) != (pl.col("before") > 0))
        curve = mean_interval(values, scenarios, ratio, **options.statistics)
        table = interval_rows(curve, scenarios, **labels, layer=np.arange(flips.shape[1]))
        found.append(table.with_columns(flipped=100.0 * flips.mean(axis=0)))
    return pl.concat(found)


def recovery_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find, for each site, target and direction, the first layer with half of the whole recovery.

    Returns:
        The columns of `lens_figures`; `measure` is `onset_of_recovery`, `probe` names the patch.
    """
    found = []
    for labels, _, values, scenarios in _patches(rows):
        onset = mean_interval(values, scenarios, _first_half, **options.statistics)
        keys = {"probe": " ".join(["patch", *labels.values()]), "model": "instruct"}
        found.append(figure_rows({"onset_of_recovery": onset}, scenarios, **keys, kind="failure"))
    return pl.concat(found)


def _patches(
    rows: pl.DataFrame,
) -> Iterator[tuple[dict[str, str], pl.DataFrame, Floats, list[str]]]:
    """Yield the failures of each kind of patch: what names it, rows, values, scenarios.

    Values are each layer's change, then each layer's whole difference, shape (pair, 2 layers).
    """
    names = ("site", "target", "direction")
    for keys, part in rows.filter(kind="failure").group_by(*names, maintain_order=True):
        labels = dict(zip(names, map(str, keys), strict=True))
        changes, scenarios = wide(part, pl.col("patched") - pl.col("before"))
        whole, _ = wide(part, pl.col("donor") - pl.col("before"))
        yield labels, part, np.hstack([changes, whole]), scenarios


def _first_half(means: Floats) -> Floats:
    reached = ratio(means) >= ONSET_SHARE
    first = reached.argmax(axis=-1, keepdims=True).astype(np.float64)
    return np.where(reached.any(axis=-1, keepdims=True), first, np.nan)


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: patch(chunk),
    tables={"recovery_curves": recovery_curves},
    figures=recovery_figures,
    with_spans=True,
)
