"""The parts that probes share: their type, and helpers that turn rows into tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.localise.cases import QUESTIONS, Case
from misfired.localise.held import Chunk
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats, MeanInterval
from misfired.stats.resampling import bootstrap

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
        n_runs: Interventions on each prompt of a failure, about; the progress bar counts them.
        on_controls: True if controls are probed as well.
        on_base: True if a base model is probed as well.
        with_spans: True if the sweep needs the activations of the person asked about.
    """

    sweep: Callable[[Chunk, LocaliseOptions, Any], pl.DataFrame | None] | None = None
    sweep_all: Callable[[Probe, Sequence[Case]], pl.DataFrame] | None = None
    prepare: Callable[[Probe, Sequence[Case], LocaliseOptions], Any] | None = None
    tables: Mapping[str, Summary] = field(default_factory=dict)
    figures: Summary | None = None
    n_runs: Callable[[Probe, LocaliseOptions], int] = lambda _probe, _options: 0
    on_controls: bool = False
    on_base: bool = False
    with_spans: bool = False


def wide(rows: pl.DataFrame, value: pl.Expr) -> tuple[Floats, list[str]]:
    """Return one row per pair, one column per layer (or head), and the scenario of each pair.

    Values of the true and the false question about a story are added up. Of margins of the right answer
    this gives the evidence: the margin of yes for the true question minus that for the false one.
    """
    places = [name for name in ("layer", "head") if name in rows.columns]
    keys = ("id", "scenario")
    total = value.cast(pl.Float64).sum().alias("value")
    summed = rows.group_by(*keys, *places, maintain_order=True).agg(total)
    pairs = summed.group_by(*keys, maintain_order=True).agg(pl.col("value").sort_by(places))
    flat = pairs["value"].explode().to_numpy()
    return flat.reshape(len(pairs), -1), pairs["scenario"].to_list()


def quantity(rows: pl.DataFrame) -> str:
    """Return what the numbers made of rows are of: `evidence`, or `margin` without false questions."""
    return "evidence" if QUESTIONS[1] in rows["question"] else "margin"


def by_condition(rows: pl.DataFrame, value: pl.Expr) -> tuple[Floats, Floats, list[str]]:
    """Return a value of the stereotyped and the contrast prompts as `wide` does, and the scenarios."""
    left, right = (wide(rows.filter(condition=name), value) for name in CONDITIONS)
    return left[0], right[0], left[1]


def yes_margins(rows: pl.DataFrame, value: pl.Expr) -> dict[str, pl.Series]:
    """Return what the evidence of one condition is made of, a value for each layer (or head).

    They are the means of the margin of yes (or of its change) for the true and for the false question,
    as columns `true_question` and `false_question`; null where there are no false questions.
    """
    names = [f"{name}_question" for name in QUESTIONS]
    if quantity(rows) == "margin":
        n = wide(rows, value)[0].shape[1]
        return dict.fromkeys(names, pl.Series([None] * n, dtype=pl.Float64))
    true, false = (wide(rows.filter(question=name), value)[0].mean(axis=0) for name in QUESTIONS)
    return dict(zip(names, (pl.Series(true), pl.Series(-false)), strict=True))


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
    """Return one row per quantity: what names it, then value, interval, counts and reason.

    What is not a number becomes null.
    """
    counts = {"n_pairs": len(scenarios), "n_scenarios": len(set(scenarios))}
    numbers = {name: getattr(found, name) for name in ("value", "low", "high")}
    reason = pl.Series("reason", found.reason, pl.String)
    table = pl.DataFrame({**keys, **numbers, **counts, "reason": reason})
    return table.cast(dict.fromkeys(counts, pl.Int64)).fill_nan(None)


def figure_rows(
    figures: Mapping[str, MeanInterval], scenarios: Sequence[str], **keys: str
) -> pl.DataFrame:
    """Return one row of the table `figures` per number."""
    return pl.concat(
        interval_rows(found, scenarios, **keys, measure=measure)
        for measure, found in figures.items()
    )


def share(
    events: npt.NDArray[np.bool_], scenarios: Sequence[str], options: LocaliseOptions
) -> MeanInterval:
    """Return the percentage of events, one number, with the interval of `misfired.stats` for a rate.

    Without anything to count there is no value (`nothing_to_count`).
    """
    if not len(events):
        nothing = np.full(1, np.nan)
        return MeanInterval(nothing, nothing, nothing, ["nothing_to_count"])
    # A rate is a MAR: of pairs whose contrast is right, those whose stereotyped side is not.
    whole = np.ones(len(events), np.bool_)
    found = bootstrap(~events, whole, scenario=scenarios, measures=["mar"], **options.statistics)[
        "mar"
    ]
    value, low, high = (
        np.array([each], np.float64) for each in (found.value, found.low, found.high)
    )
    return MeanInterval(value, low, high, [found.reason])


def get_probe(name: str) -> ProbeKind:
    """Return a probe by its name; only this loads what probes a model."""
    kind: ProbeKind = import_module(f"misfired.localise.probes.{name}").PROBE
    return kind
