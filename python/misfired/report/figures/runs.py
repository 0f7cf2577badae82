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
    cells,
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
    whole_ticks,
)
from misfired.report.figures.rates import level, slices
from misfired.report.measured import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_ROWS = by_rows()


def mar_of(runs: Sequence[Measured], *, total: bool = True) -> pl.DataFrame:
    """Return MAR of each run under its own priming: `run`, `slice`, `value`, `low`, `high`, `n_base`.

    Values that a report withholds are null. Without `total`, also those of every category.
    """
    shown = pl.col("withheld").is_null()
    parts = []
    for run in runs:
        rows = run.summary.filter(priming=run.priming, measure="mar")
        parts.append(
            (rows.filter(total=True) if total else rows).select(
                pl.lit(run.name).alias("run"), slices(), "total",
                *(pl.when(shown).then(name).alias(name) for name in ("value", "low", "high")), "n_base",
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
    return Chart(
        "runs-by-mar",
        "Runs by MAR",
        words,
        numbers,
        _ranking,
        _ROWS(len(numbers)),
        _with_words(numbers),
    )


def _rate(row: Mapping[str, Any]) -> str:
    return "without a value" if row["value"] is None else f"{said(row['value'])} %{ends(row)}"


def _with_words(numbers: pl.DataFrame) -> pl.DataFrame:
    names = {
        "value": "MAR (%)",
        "low": "from",
        "high": "to",
        "n_base": "pairs behind it",
        "human": "human (%)",
    }
    kept = [name for name in numbers.columns if name != "human" or numbers["human"].count()]
    return numbers.select(kept).rename({name: new for name, new in names.items() if name in kept})


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
    n_rows = max(len(runs), wide.width - 1)
    return Chart(
        "mar-map", "MAR by run and category", words, numbers, _heat, _ROWS(n_rows + 4), wide
    )


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
    axes.set_xticks(range(len(columns)), labels(columns, 18), rotation=40, ha="right")
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
    return Chart(
        "mar-by-accuracy", "MAR against accuracy", words, numbers, _accuracy,
        lambda width: 0.65 * width + 0.16 * len(runs),
        _with_words(numbers).rename({"accuracy_contrast": "accuracy, contrast (%)"}),
    )  # fmt: skip


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

    return Chart(
        name,
        f"MAR, {kind[0]} and {kind[1]}",
        words,
        numbers,
        draw,
        _ROWS(1.6 * len(numbers) + 1),
        numbers.rename(
            {"before": f"{kind[0]} (%)", "before_low": "from", "before_high": "to"}
            | {"after": f"{kind[1]} (%)", "after_low": "from ", "after_high": "to "}
        ),
    )


def _paired(figure: Figure, numbers: pl.DataFrame, kind: tuple[str, str]) -> None:
    axes = figure.subplots()
    places = named_rows(axes, numbers["run"].to_list())
    before, after = numbers.select("before", "after").cast(pl.Float64).to_numpy().T
    axes.hlines(places, before, after, color=FAINT, linewidth=2.5)
    for name, colour, shift, values, filled in (
        ("before", BLUE, 0.14, before, False),
        ("after", VERMILION, -0.14, after, True),
    ):
        low, high = numbers.select(f"{name}_low", f"{name}_high").cast(pl.Float64).to_numpy().T
        axes.hlines(places + shift, low, high, color=colour, linewidth=1.2)
        fill = colour if filled else "white"
        axes.plot(
            values,
            places + shift,
            "o",
            color=colour,
            markerfacecolor=fill,
            linestyle="none",
            label=kind[filled],
            markersize=5,
        )
    most = highest(numbers, "before_high", "after_high", "before", "after")
    percent_axis(axes.xaxis, "MAR (%)", most=most)
    legend(figure)


def shots(runs: Sequence[Measured]) -> Chart:
    """Return MAR over the number of demonstrations, a line for each model and protocol."""
    told = [(f"{run.model}, {run.manifest.settings.protocol.name}", run.n_shots) for run in runs]
    numbers = (
        mar_of(runs)
        .drop("slice", "total")
        .with_columns(
            model=pl.Series([model for model, _ in told]),
            n_shots=pl.Series([n for _, n in told], dtype=pl.Int64),
        )
    )
    numbers = numbers.sort("model", "n_shots", maintain_order=True)
    words = f"MAR in percent over the number of demonstrations before every prompt, with {level(runs[0])} intervals."
    for row in numbers.iter_rows(named=True):
        words += f" {label(row['model'], 40)}, {row['n_shots']}: {_rate(row)}."
    return Chart(
        "mar-by-shots",
        "MAR by demonstrations",
        words,
        numbers,
        _shots,
        lambda width: 0.7 * width,
        _with_words(
            numbers.with_columns(human=pl.lit(None)).select(
                "model", "n_shots", "value", "low", "high", "n_base"
            )
        ),
    )


def _shots(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    names = labels(numbers["model"].unique(maintain_order=True).to_list())
    for at, part in enumerate(numbers.partition_by("model", maintain_order=True)):
        colour, mark = series(at)
        x, value, low, high = (
            part.select("n_shots", "value", "low", "high").cast(pl.Float64).to_numpy().T
        )
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
    shown = numbers.drop("total").rename(
        {
            "slice": "category",
            "value": "difference (points)",
            "low": "from",
            "high": "to",
            "n_pairs": "pairs",
        }
    )
    name = f"difference-{file_name(first)}-{file_name(second)}"
    return Chart(
        name,
        f"{label(first)} minus {label(second)}",
        words,
        numbers,
        _differences,
        _ROWS(len(numbers)),
        shown,
    )


def _differences(figure: Figure, numbers: pl.DataFrame) -> None:
    axes: Axes = figure.subplots()
    places = named_rows(axes, numbers["slice"].to_list(), first_apart=True)
    for part, colour, marker in ((True, INK, "D"), (False, VERMILION, "o")):
        rows = numbers.filter(total=part)
        intervals(axes, rows, places[(numbers["total"] == part).to_numpy()], colour, marker)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    far = [
        abs(value)
        for name in ("value", "low", "high")
        for value in numbers[name]
        if value is not None
    ]
    axes.set_xlim(-1.08 * max(far, default=1), 1.08 * max(far, default=1))
    axes.set_xlabel("difference of MAR (points)")
    beside(axes, places, [f"{n:,}" for n in numbers["n_pairs"]], "pairs")
