"""Charts of several runs: a map by category, the runs in order, and what changes between runs of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from misfired.report.figures.chart import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    VERMILION,
    Chart,
    series,
)
from misfired.report.figures.draw import (
    DASH,
    beside,
    by_rows,
    by_width,
    cells,
    columns,
    ends,
    file_name,
    highest,
    ink_on,
    intervals,
    label,
    labels,
    legend,
    named_rows,
    percent_axis,
    said,
    scale,
    sliced_intervals,
    told,
    whole_ticks,
)
from misfired.report.figures.rates import level, slices
from misfired.report.measured import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_ROWS = by_rows()
#: Columns of the tables beside the charts.
_RATES = {"value": "MAR (%)", "low": "from", "high": "to", "n_base": "pairs behind it", "human": "human (%)"}  # fmt: skip
_DIFFERENCES = {
    "slice": "category", "value": "difference (points)", "low": "from", "high": "to", "n_pairs": "pairs",
}  # fmt: skip


def mar_of(runs: Sequence[Measured], *, total: bool = True) -> pl.DataFrame:
    """Return MAR of each run under its own priming: `run`, `slice`, `value`, `low`, `high`, `n_base`.

    Values that a report withholds are null. Without `total`, also those of every category.
    """
    parts = []
    for run in runs:
        rows = run.summary.filter(priming=run.priming, measure="mar")
        parts.append(
            (rows.filter(total=True) if total else rows).select(
                pl.lit(run.name).alias("run"), slices(), "total",
                told("value", "low", "high"), "n_base",
            )
        )  # fmt: skip
    return pl.concat(parts)


def ranking(runs: Sequence[Measured], *, human: float | None = None) -> Chart:
    """Return the runs by MAR, lowest first, with intervals, and the published human line."""
    numbers = (
        mar_of(runs).drop("slice", "total").sort("value", nulls_last=True, maintain_order=True)
    )
    numbers = numbers.with_columns(human=pl.lit(human, pl.Float64))
    each = [
        f"{label(row['run'], 40)} {_rate(row)}" for row in numbers.head(6).iter_rows(named=True)
    ]
    words = f"MAR of {len(runs)} runs, lowest first, with {level(runs[0])} intervals: {'; '.join(each)}."
    if human is not None:
        words += (
            f" The dashed line is the rate of people, {said(human)} %, not measured by these runs."
        )
    height, shown = _ROWS(len(numbers)), _with_words(numbers)
    return Chart("runs-by-mar", "Runs by MAR", words, numbers, _ranking, height, shown)


def _rate(row: Mapping[str, Any]) -> str:
    return "without a value" if row["value"] is None else f"{said(row['value'])} %{ends(row)}"


def _with_words(numbers: pl.DataFrame) -> pl.DataFrame:
    kept = [name for name in numbers.columns if name != "human" or numbers["human"].count()]
    return numbers.select(kept).rename(_RATES, strict=False)


def _ranking(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    places = named_rows(axes, numbers["run"].to_list())
    intervals(axes, numbers, places, VERMILION)
    human = numbers["human"][0]
    if human is not None:
        axes.axvline(human, color=INK, linestyle=(0, (4, 3)), linewidth=0.9)
        axes.text(human, 0.62, " human", color=INK, va="bottom", fontsize="small")
    percent_axis(axes.xaxis, "MAR (%)", most=highest(numbers, "high", "value"))
    beside(axes, places, [f"{n or 0:,}" for n in numbers["n_base"]], "pairs")


def heat(runs: Sequence[Measured]) -> Chart:
    """Return MAR by run and category as a map, the longer side down; few pairs leave a cell empty."""
    numbers = mar_of(runs, total=False).drop("low", "high")
    empty = int(numbers["value"].null_count())
    most = (
        numbers.filter(~pl.col("total"), pl.col("value").is_not_null())
        .sort("value", maintain_order=True)
        .tail(1)
    )
    words = f"MAR in percent of {len(runs)} runs by category."
    for row in most.iter_rows(named=True):
        words += (
            f" Highest: {label(row['run'], 40)} on {label(row['slice'])}, {said(row['value'])} %."
        )
    words += f" {empty} cells have no value, most for too few pairs." * bool(empty)
    wide = numbers.pivot("slice", index="run", values="value", maintain_order=True)
    height = _ROWS(max(len(runs), wide.width - 1) + 4)
    return Chart("mar-map", "MAR by run and category", words, numbers, _heat, height, wide)


def _heat(figure: Figure, numbers: pl.DataFrame) -> None:
    wide = numbers.pivot("slice", index="run", values="value", maintain_order=True)
    values = wide.drop("run").cast(pl.Float64).to_numpy().astype(float)
    rows, columns = wide["run"].to_list(), wide.columns[1:]
    if len(columns) > len(rows):
        values, rows, columns = values.T, columns, rows
    values = values[::-1]
    colours, limits = _warm(), (0.0, max(float(np.nanmax(values, initial=0)), 1.0))
    axes, beside_it = figure.subplots(1, 2, width_ratios=[len(columns) * 4, 1 + len(columns) // 9])
    cells(axes, values, colours, limits)
    for (y, x), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.text(x, y, DASH, ha="center", va="center", color=MUTED)
        else:
            ink = ink_on(colours(value / limits[1]))
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=ink, fontsize="small")
    axes.set_yticks(range(len(rows)), labels(rows[::-1], 18))
    axes.set_xticks(
        range(len(columns)), labels(columns, 18), rotation=60, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(length=0)
    scale(beside_it, colours, limits, "MAR (%)")
    for side in axes.spines.values():
        side.set_visible(False)


def _warm() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415  half a second, which few commands need

    return LinearSegmentedColormap.from_list(
        "warm", ["#FFF4E6", "#F9C784", "#E8862E", "#A63C00", "#4A1A00"]
    )


def accuracy(runs: Sequence[Measured]) -> Chart:
    """Return MAR against accuracy on the contrast prompts, a point a run."""
    right = [
        run.summary.filter(total=True, priming=run.priming, measure="accuracy_contrast")["value"][0]
        for run in runs
    ]
    numbers = (
        mar_of(runs)
        .drop("slice", "total")
        .with_columns(accuracy_contrast=pl.Series(right, dtype=pl.Float64))
    )
    words = f"MAR of {len(runs)} runs against their accuracy on contrast prompts, in percent; bars are {level(runs[0])} intervals of MAR."
    height = by_width(0.65, 0.16 * len(runs))
    shown = _with_words(numbers).rename({"accuracy_contrast": "accuracy, contrast (%)"})
    return Chart(
        "mar-by-accuracy", "MAR against accuracy", words, numbers, _accuracy, height, shown
    )


def _accuracy(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    drawn = numbers.drop_nulls(["value", "accuracy_contrast"])
    names = labels(drawn["run"].to_list())
    for at, (name, row) in enumerate(zip(names, drawn.iter_rows(named=True), strict=True)):
        colour, mark = series(at)
        x, y = row["accuracy_contrast"], row["value"]
        if row["low"] is not None:
            axes.vlines(x, row["low"], row["high"], color=colour, linewidth=1.2)
        axes.plot(x, y, mark, color=colour, markersize=5, label=name, linestyle="none")
    axes.grid(color=FAINT, linewidth=0.4)
    axes.set_axisbelow(True)
    percent_axis(axes.yaxis, "MAR (%)", most=highest(numbers, "high", "value"))
    least = 10 * max((drawn["accuracy_contrast"].to_numpy().min(initial=100) - 2) // 10, 0)
    axes.set(xlim=(least, 100 + 0.02 * (100 - least)), xlabel="accuracy on contrast prompts (%)")
    legend(figure, handletextpad=0.3)


def paired(runs: Sequence[tuple[Measured, Measured]], kind: tuple[str, str]) -> Chart:
    """Return MAR of two runs of each model, joined: base and instruct, or without and with reasoning."""
    sides = [mar_of([pair[at] for pair in runs]).drop("slice", "total") for at in (0, 1)]
    numbers = sides[1].select(
        "run", before=sides[0]["value"], before_low=sides[0]["low"], before_high=sides[0]["high"],
        after="value", after_low="low", after_high="high",
    )  # fmt: skip
    each = [
        f"{label(row['run'], 40)} {said(row['before'])} and {said(row['after'])}"
        for row in numbers.head(6).iter_rows(named=True)
    ]
    words = f"MAR in percent, {kind[0]} and {kind[1]}, with {level(runs[0][0])} intervals: {'; '.join(each)}."
    name = f"{kind[0]}-and-{kind[1]}".replace(" ", "-")

    def draw(figure: Figure, numbers: pl.DataFrame) -> None:
        _paired(figure, numbers, kind)

    shown = numbers.rename(
        {"before": f"{kind[0]} (%)", "before_low": "from", "before_high": "to"}
        | {"after": f"{kind[1]} (%)", "after_low": "from ", "after_high": "to "}
    )
    title, height = f"MAR, {kind[0]} and {kind[1]}", _ROWS(1.6 * len(numbers) + 1)
    return Chart(name, title, words, numbers, draw, height, shown)


def _paired(figure: Figure, numbers: pl.DataFrame, kind: tuple[str, str]) -> None:
    axes = figure.subplots()
    places = named_rows(axes, numbers["run"].to_list())
    axes.hlines(places, *columns(numbers, "before", "after"), color=FAINT, linewidth=2.5)
    dots: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5}
    for name, colour, fill, shift, words in (
        ("before", BLUE, "white", 0.14, kind[0]),
        ("after", VERMILION, VERMILION, -0.14, kind[1]),
    ):
        value, low, high = columns(numbers, name, f"{name}_low", f"{name}_high")
        axes.hlines(places + shift, low, high, color=colour, linewidth=1.2)
        axes.plot(value, places + shift, color=colour, markerfacecolor=fill, label=words, **dots)
    most = highest(numbers, "before_high", "after_high", "before", "after")
    percent_axis(axes.xaxis, "MAR (%)", most=most)
    legend(figure)


def shots(runs: Sequence[Measured]) -> Chart:
    """Return MAR over the number of demonstrations, a line for each model and protocol."""
    models = [f"{run.model}, {run.manifest.settings.protocol.name}" for run in runs]
    n_shots = pl.Series([run.n_shots for run in runs], dtype=pl.Int64)
    numbers = (
        mar_of(runs).drop("slice", "total").with_columns(model=pl.Series(models), n_shots=n_shots)
    )
    numbers = numbers.sort("model", "n_shots", maintain_order=True)
    words = f"MAR in percent over the number of demonstrations before every prompt, with {level(runs[0])} intervals."
    for row in numbers.iter_rows(named=True):
        words += f" {label(row['model'], 40)}, {row['n_shots']}: {_rate(row)}."
    shown = _with_words(numbers.select("model", "n_shots", "value", "low", "high", "n_base"))
    title, height = "MAR by demonstrations", by_width(0.7)
    return Chart("mar-by-shots", title, words, numbers, _shots, height, shown)


def _shots(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    names = labels(numbers["model"].unique(maintain_order=True).to_list())
    for at, part in enumerate(numbers.partition_by("model", maintain_order=True)):
        colour, mark = series(at)
        x, value, low, high = columns(part, "n_shots", "value", "low", "high")
        axes.vlines(x, low, high, color=colour, linewidth=1.2)
        axes.plot(x, value, marker=mark, color=colour, markersize=5, label=names[at])
    axes.set_xlabel("demonstrations")
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    whole_ticks(axes.xaxis)
    percent_axis(axes.yaxis, "MAR (%)", most=highest(numbers, "high", "value"))
    legend(figure)


def differences(comparison: pl.DataFrame, first: str, second: str) -> Chart:
    """Return how far two runs differ in MAR, by category; `comparison` is what `compare` returns."""
    rows = comparison.filter(measure="mar")
    priming = "none" if "none" in rows["priming"] else rows["priming"][0]
    numbers = rows.filter(priming=priming).select(
        slices(), "value", "low", "high", "n_pairs", "total"
    )
    row = numbers.row(0, named=True)
    words = f"MAR of {label(first, 40)} minus that of {label(second, 40)}, in points, on the pairs that both have, priming {priming}. "
    value = (
        "has no value"
        if row["value"] is None
        else f"is {said(row['value'], '+')} points{ends(row)}"
    )
    words += f"All together the difference {value}."
    shown = numbers.drop("total").rename(_DIFFERENCES)
    name = f"difference-{file_name(first)}-{file_name(second)}"
    title, height = f"{label(first)} minus {label(second)}", _ROWS(len(numbers))
    return Chart(name, title, words, numbers, _differences, height, shown)


def _differences(figure: Figure, numbers: pl.DataFrame) -> None:
    axes: Axes = figure.subplots()
    places = sliced_intervals(axes, numbers)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    far = 1.08 * float(np.nanmax(np.abs(columns(numbers, "value", "low", "high")), initial=1))
    axes.set_xlim(-far, far)
    axes.set_xlabel("difference of MAR (points)")
    beside(axes, places, [f"{n:,}" for n in numbers["n_pairs"]], "pairs")
