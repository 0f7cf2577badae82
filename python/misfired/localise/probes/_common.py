"""The parts that probes share: their type, and helpers that turn rows into tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl

from misfired.localise.cases import Case
from misfired.localise.held import Chunk
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats, MeanInterval

#: From the rows of all models, and the options, to a table.
Summary = Callable[[pl.DataFrame, LocaliseOptions], pl.DataFrame]


@dataclass(frozen=True)
class ProbeKind:
    """A probe as a study runs it: on the failures of the model under study, unless told more.

    Attributes:
        sweep: Makes the rows of some held pairs; also gets the options and what `prepare` returned.
            None makes no rows.
        sweep_all: Makes rows of all cases at once; what the slots hold is lost.
        prepare: Called once for each model, with all cases.
        tables: Tables made of the rows of all models.
        figures: Single numbers made of the rows, for the table `figures`.
        on_controls: True if controls are probed as well.
        on_base: True if a base model is probed as well.
        with_spans: True if the sweep needs the activations of the person asked about.
    """

    sweep: Callable[[Chunk, LocaliseOptions, Any], pl.DataFrame | None] | None = None
    sweep_all: Callable[[Probe, Sequence[Case]], pl.DataFrame] | None = None
    prepare: Callable[[Probe, Sequence[Case], LocaliseOptions], Any] | None = None
    tables: Mapping[str, Summary] = field(default_factory=dict)
    figures: Summary | None = None
    on_controls: bool = False
    on_base: bool = False
    with_spans: bool = False


def wide(rows: pl.DataFrame, value: pl.Expr) -> tuple[Floats, list[str]]:
    """Return one row per pair, one column per layer (or head), and the scenario of each pair."""
    places = [name for name in ("layer", "head") if name in rows.columns]
    values = value.cast(pl.Float64).sort_by(places).alias("value")
    pairs = rows.group_by("id", "scenario", maintain_order=True).agg(values)
    flat = pairs["value"].explode().to_numpy()
    return flat.reshape(len(pairs), -1), pairs["scenario"].to_list()


def by_condition(rows: pl.DataFrame, value: pl.Expr) -> tuple[Floats, Floats, list[str]]:
    """Return a value of the stereotyped and the contrast prompts as `wide` does, and the scenarios."""
    left, right = (wide(rows.filter(condition=name), value) for name in CONDITIONS)
    return left[0], right[0], left[1]


def head_means(rows: pl.DataFrame, stereotyped: Floats, contrast: Floats) -> pl.DataFrame:
    """Return one row per head: `layer`, `head`, and the means `stereotyped` and `contrast`."""
    places = rows.select("layer", "head").unique().sort("layer", "head")
    return places.with_columns(stereotyped=stereotyped.mean(axis=0), contrast=contrast.mean(axis=0))


def ratio(means: Floats) -> Floats:
    """Return the first half of the columns over the second half."""
    n = means.shape[-1] // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return means[..., :n] / means[..., n:]


def interval_rows(found: MeanInterval, scenarios: Sequence[str], **keys: Any) -> pl.DataFrame:
    """Return one row per quantity: what names it, then its value, interval and counts."""
    counts = {"n_pairs": len(scenarios), "n_scenarios": len(set(scenarios))}
    return pl.DataFrame({**keys, **vars(found), **counts}).cast(dict.fromkeys(counts, pl.Int64))


def figure_rows(
    figures: Mapping[str, MeanInterval], scenarios: Sequence[str], **keys: str
) -> pl.DataFrame:
    """Return one row of the table `figures` per number; what is not a number becomes null."""
    return pl.concat(
        interval_rows(found, scenarios, **keys, measure=measure).fill_nan(None)
        for measure, found in figures.items()
    )


def get_probe(name: str) -> ProbeKind:
    """Return a probe by its name; only this loads what probes a model."""
    kind: ProbeKind = import_module(f"misfired.localise.probes.{name}").PROBE
    return kind
