"""Activation patching: one prompt's activations put into the other's run, layer by layer."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import polars as pl

from misfired.localise.cases import QUESTIONS
from misfired.localise.held import Chunk, Interventions
from misfired.localise.options import MIN_EFFECT, ONSET_SHARE, LocaliseOptions
from misfired.localise.probe import SITES
from misfired.localise.probes._common import (
    ProbeKind,
    figure_rows,
    interval_rows,
    quantity,
    wide,
)
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats, mean_interval

#: Into whose run each direction puts the other prompt's activations.
INTO = dict(zip(("denoising", "noising"), CONDITIONS, strict=True))
DIRECTIONS = tuple(INTO)
TARGETS = ("last", "span")

#: Reason of a curve whose two runs hold the same evidence.
NO_DIFFERENCE = "no_difference"


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
        Columns `id`, `category`, `scenario`, `kind`, `site`, `target`, `direction`, `question`,
        `before` (margin of the run without the patch), `donor` (margin of the other run), `layer`, `patched`.
    """
    runs = Interventions(chunk)
    layers = np.arange(chunk.probe.n_layer)
    frames = []
    patches = product(enumerate(chunk.places), directions, targets, sites)
    for (into, place), direction, target, site in patches:
        if place.condition != INTO[direction]:
            continue
        if target == "span" and place.case.unaligned is not None:
            continue
        source = into ^ 1
        for layer in layers.tolist():
            if target == "last":
                runs.patch_last(into, site, layer, chunk.last[site][source, layer])
            else:
                runs.patch_span(into, site, layer, chunk.span[site, source][layer])
        keys = {"site": site, "target": target, "direction": direction, "question": place.question}
        margins = {"before": chunk.margins[into], "donor": chunk.margins[source]}
        frames.append(place.case.rows(**keys, **margins, layer=layers))
    return pl.concat(frames).with_columns(patched=runs.margins())


def recovery_curves(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    r"""Average recovery by layer, a ratio of means: :math:`\sum (patched - before) / \sum (donor - before)`.

    All three are evidence: the margin of yes for the true question minus that for the false one, each
    patched from the other story. Without false questions they are the margin of the right answer. 1 means that the patch carries the whole difference between the two prompts. For `noising` the
    donor is the stereotyped run, so that 1 means that the patch alone makes the contrast answer as
    wrong. Failures only: where both runs are right there is no difference to recover.

    Returns:
        Columns `site`, `target`, `direction`, `layer`, `value`, `low`, `high`, `n_pairs`,
        `n_scenarios`, `reason`, `flipped` (percent of pairs whose answer to the true question changes
        while that to the false one stays right), `quantity` (`evidence` or `margin`).
    """
    found = []
    for labels, part, values, scenarios in _patches(rows):
        flips = _flips(part)
        curve = mean_interval(
            values, scenarios, recovered, undefined=NO_DIFFERENCE, **options.statistics
        )
        table = interval_rows(curve, scenarios, **labels, layer=np.arange(len(flips)))
        found.append(table.with_columns(flipped=flips, quantity=pl.lit(quantity(part))))
    return pl.concat(found)


def recovery_figures(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Find, for each site, target and direction, the first layer with half of the whole recovery.

    Returns:
        The columns of `lens_figures`; `measure` is `onset_of_recovery`, `probe` names the patch.
    """
    found = []
    for labels, part, values, scenarios in _patches(rows):
        onset = mean_interval(
            values, scenarios, _first_half, undefined="no_recovery", **options.statistics
        )
        keys = {"probe": " ".join(["patch", *labels.values()]), "model": "instruct"}
        table = figure_rows({"onset_of_recovery": onset}, scenarios, **keys, kind="failure")
        found.append(table.with_columns(quantity=pl.lit(quantity(part))))
    return pl.concat(found)


def _patches(
    rows: pl.DataFrame,
) -> Iterator[tuple[dict[str, str], pl.DataFrame, Floats, list[str]]]:
    """Yield the failures of each kind of patch: what names it, rows, values, scenarios.

    Values are each layer's change, then each layer's whole difference, then the mean |margin| of both
    runs at each layer, shape (pair, 3 layers).
    """
    names = ("site", "target", "direction")
    for keys, part in rows.filter(kind="failure").group_by(*names, maintain_order=True):
        labels = dict(zip(names, map(str, keys), strict=True))
        changes, scenarios = wide(part, pl.col("patched") - pl.col("before"))
        whole, _ = wide(part, pl.col("donor") - pl.col("before"))
        scale, _ = wide(part, (pl.col("donor").abs() + pl.col("before").abs()) / 2)
        yield labels, part, np.hstack([changes, whole, scale]), scenarios


def recovered(means: Floats) -> Floats:
    """Return the share of the whole difference that a patch carries.

    Args:
        means: By layer the change, the whole difference and the mean |margin|, shape (..., 3 layers).

    Returns:
        Shape (..., layer); NaN where the whole is not above `MIN_EFFECT` of the mean |margin|: two runs
        with equal evidence, whatever they answer, have nothing to recover.

    Example:
        >>> recovered(np.array([1.0, 2.0, 4.0, 4.0, 5.0, 50.0])).tolist()
        [0.25, nan]
    """
    change, whole, scale = np.split(means, 3, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: Floats = np.where(np.abs(whole) > MIN_EFFECT * scale, change / whole, np.nan)
    return shares


def _flips(rows: pl.DataFrame) -> Floats:
    """Return by layer the percentage of pairs whose answer changes, by the evidence alone."""
    turns = (pl.col("patched") > 0) != (pl.col("before") > 0)
    counts = pl.when(question=QUESTIONS[0]).then(turns).otherwise(pl.col("patched") > 0)
    n_met, _ = wide(rows, counts)
    shares: Floats = 100.0 * (n_met == rows["question"].n_unique()).mean(axis=0)
    return shares


def _first_half(means: Floats) -> Floats:
    reached = recovered(means) >= ONSET_SHARE
    first = reached.argmax(axis=-1, keepdims=True).astype(np.float64)
    layers: Floats = np.where(reached.any(axis=-1, keepdims=True), first, np.nan)
    return layers


PROBE = ProbeKind(
    sweep=lambda chunk, _options, _prepared: patch(chunk),
    tables={"recovery_curves": recovery_curves},
    figures=recovery_figures,
    n_runs=lambda probe, _options: len(SITES) * len(TARGETS) * probe.n_layer,
    with_spans=True,
)
