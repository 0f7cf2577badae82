"""The parts that probes share: their type, and helpers that turn rows into tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.localise.cases import Case
from misfired.localise.held import Chunk
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import MeanInterval

Floats = npt.NDArray[np.float64]

#: The onset is the first layer from which on a curve has at least this share of the whole.
ONSET_SHARE = 0.5

_KEYS = ["id", "scenario"]

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


def failures(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of failures."""
    return rows.filter(pl.col("kind") == "failure")


def wide(
    rows: pl.DataFrame, value: pl.Expr, *, columns: Sequence[str] = ("layer",)
) -> tuple[Floats, list[str]]:
    """Return one row per pair, one column per layer (or head), and the scenario of each pair."""
    pairs = rows.select(_KEYS).unique(maintain_order=True)
    order = {name: place for place, name in enumerate(pairs["id"])}
    ordered = rows.with_columns(value.cast(pl.Float64).alias("_value")).sort(
        pl.col("id").replace_strict(order, return_dtype=pl.Int64), *columns
    )
    return ordered["_value"].to_numpy().reshape(len(pairs), -1), pairs["scenario"].to_list()


def by_head(rows: pl.DataFrame, value: pl.Expr) -> tuple[Floats, Floats, list[str], pl.DataFrame]:
    """Return a value of every head in both conditions.

    Returns:
        Stereotyped and contrast, each of shape (pair, head); the scenario of each pair; and a frame
        with one row per head: `layer`, `head`, and the means `stereotyped` and `contrast`.
    """
    (left, scenarios), (right, _) = (
        wide(rows.filter(pl.col("condition") == name), value, columns=("layer", "head"))
        for name in CONDITIONS
    )
    places = rows.select("layer", "head").unique().sort("layer", "head")
    means = {name: side.mean(axis=0) for name, side in zip(CONDITIONS, (left, right), strict=True)}
    return (
        left,
        right,
        scenarios,
        places.with_columns(**{k: pl.Series(v) for k, v in means.items()}),
    )


def ratio(means: Floats) -> Floats:
    """Return the first half of the columns over the second half."""
    n = means.shape[-1] // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return means[..., :n] / means[..., n:]


def layer_rows(
    found: MeanInterval, keys: Mapping[str, Any], scenarios: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one row per layer: what names the curve, then its value and interval."""
    return [
        {
            **keys,
            "layer": layer,
            "value": float(found.value[layer]),
            "low": float(found.low[layer]),
            "high": float(found.high[layer]),
            "n_pairs": len(scenarios),
            "n_scenarios": len(set(scenarios)),
        }
        for layer in range(len(found.value))
    ]


def figure_rows(
    figures: Mapping[str, MeanInterval], keys: Mapping[str, Any], scenarios: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one row of the table `figures` per number; what is not a number becomes null."""
    rows = []
    for measure, found in figures.items():
        (row,) = layer_rows(found, {**keys, "measure": measure}, scenarios)
        del row["layer"]
        rows.append(
            {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        )
    return rows
