"""Charts of a localisation: evidence by layer, patches, heads, attention, and models over relative depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from misfired.files import make_folder
from misfired.localise.options import HEAD_METHODS
from misfired.report.figures.chart import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    VERMILION,
    Chart,
    series,
)
from misfired.report.figures.draw import (
    by_width,
    cells,
    columns,
    highest,
    label,
    labels,
    legend,
    said,
    scale,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours and markers of the lines.
COLOURS = {
    "stereotyped": VERMILION,
    "contrast": BLUE,
    "residual": INK,
    "attention": ORANGE,
    "feed_forward": GREEN,
    "instruct": VERMILION,
    "base": BLUE,
}
MARKERS = dict(zip(COLOURS, "oso^sos", strict=True))
TITLES = {
    "failure": "failures",
    "control": "controls",
    "last": "last token",
    "span": "person asked about",
    "denoising": "contrast into stereotyped",
    "noising": "stereotyped into contrast",
    "zero": "zeros",
    "mean": "mean",
    "resample": "another pair's output",
    "patch": "the other prompt's output",
    "feed_forward": "feed-forward output",
    "attention": "attention output",
    "residual": "residual stream",
    "instruct": "the model",
    "base": "its base model",
    "asked": "person asked about",
    "other": "the other person",
}


_GAP = "gap (logits)"


def localisation_charts(tables: Mapping[str, pl.DataFrame]) -> list[Chart]:
    """Return the charts of what was probed, from the tables of a localisation."""
    return [draw(tables[name]) for name, draw in DRAWINGS if name in tables and len(tables[name])]


def write_figures(tables: Mapping[str, pl.DataFrame], folder: Path | str) -> list[Path]:
    """Draw what was probed: `layers`, `gap`, `recovery`, `heads`, `attention`, as SVG and PNG."""
    folder = Path(folder)
    make_folder(folder)
    charts = localisation_charts(tables)
    return [path for chart in charts for path in chart.write(folder, ("svg", "png"), width="two")]


def _panels(figure: Figure, n_rows: int, n_columns: int, **options: Any) -> Any:
    return figure.subplots(n_rows, n_columns, squeeze=False, **options)


def _quantity(curves: pl.DataFrame) -> str:
    return "evidence" if curves["quantity"][0] == "evidence" else "margin, may be a leaning"


def layers(curves: pl.DataFrame) -> Chart:
    """Return the evidence by layer through the lens, stereotyped and contrast, failures and controls.

    Below it are the margins of yes that it is made of: where those of the true and the false question go
    together, the layer leans. Without false questions there is the margin of the right answer alone.
    """
    numbers = curves.filter(pl.col("condition") != "gap")
    what, rows = _quantity(numbers), 1 + (numbers["quantity"][0] == "evidence")
    words = f"Mean {what} in logits after each layer, read through the lens, of stereotyped and contrast stories."
    for row in _ends(numbers.filter(model="instruct"), "kind", "condition"):
        words += f" {TITLES[row['kind']].capitalize()}, {row['condition']}: {said(row['first'])} at layer {row['from']}, {said(row['last'])} at layer {row['to']}."
    height = by_width(0.46 * rows, 0.5)
    return Chart(
        "layers", "Evidence by layer", words, numbers, _layers, height, _table(numbers), digits=2
    )


def _ends(curves: pl.DataFrame, *by: str) -> list[dict[str, Any]]:
    """Return the first and the last value of each curve, as far as it has any."""
    told = curves.drop_nulls("value").group_by(by, maintain_order=True).agg(
        first=pl.col("value").first(), last=pl.col("value").last(),
        to=pl.col("layer").last(), **{"from": pl.col("layer").first()},
    )  # fmt: skip
    return told.to_dicts()


def _table(numbers: pl.DataFrame) -> pl.DataFrame:
    left = ("quantity", "reason", "true_question", "false_question", "n_scenarios")
    kept = numbers.drop(*(name for name in left if name in numbers.columns))
    return kept.rename({"low": "from", "high": "to", "n_pairs": "pairs"}, strict=False)


def _layers(figure: Figure, numbers: pl.DataFrame) -> None:
    kinds = numbers.partition_by("kind", maintain_order=True)
    told = numbers["quantity"][0] == "evidence"
    panels = _panels(figure, 1 + told, len(kinds), sharey="row", sharex=True)
    for column, part in zip(panels.T, kinds, strict=True):
        for (model, name), curve in part.group_by("model", "condition", maintain_order=True):
            _curve(column[0], curve, str(name), base=model == "base")
            if told and model != "base":
                _questions(column[1], curve, str(name))
        title = f"{TITLES[part['kind'][0]]} ({part['n_pairs'][0]} pairs)"
        for axes in column:
            _layer_axis(axes, title if axes is column[0] else "", levels=[0])
        column[-1].set_xlabel("layer")
    names = ["evidence (logits)", "yes margin (logits)"] if told else ["margin (logits)"]
    for row, name in zip(panels, names, strict=True):
        row[0].set_ylabel(name)
    _legend(figure, panels)


def _legend(figure: Figure, panels: Any) -> None:
    """Put what all panels draw above them, each name once."""
    found: dict[str, Any] = {}
    for axes in panels.flat:
        found |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(found.values(), found.keys(), loc="outside upper left", ncols=2)


def _questions(axes: Axes, part: pl.DataFrame, name: str) -> None:
    for question, line in (("true", "-"), ("false", ":")):
        words = f"{TITLES.get(name, name)}, {question} question"
        values = part[f"{question}_question"].to_numpy()
        axes.plot(part["layer"], values, line, color=COLOURS[name], label=words)


def _curve(axes: Axes, part: pl.DataFrame, name: str, *, base: bool = False) -> None:
    line = {"linestyle": "--", "marker": "", "alpha": 0.8} if base else {"marker": MARKERS[name]}
    words, colour = f"{TITLES.get(name, name)}{', base' if base else ''}", COLOURS[name]
    layer, value, low, high = columns(part, "layer", "value", "low", "high")
    axes.plot(layer, value, color=colour, label=words, **line)
    if not base:
        axes.fill_between(layer, low, high, color=colour, alpha=0.2, linewidth=0)


def _layer_axis(axes: Axes, title: str, *, levels: Sequence[float]) -> None:
    for each in levels:
        axes.axhline(each, color=MUTED, linewidth=0.6, zorder=0)
    axes.set_title(title)
    whole_ticks(axes.xaxis)


def gap(curves: pl.DataFrame) -> Chart:
    """Return the gap by layer, contrast minus stereotyped, of failures: the model and its base model."""
    numbers = curves.filter(condition="gap", kind="failure")
    words = f"Gap by layer: mean {_quantity(curves)} of contrast stories minus that of stereotyped stories, in logits, of failures."
    for row in _ends(numbers, "model"):
        words += f" {TITLES[row['model']].capitalize()}: {said(row['first'])} at layer {row['from']}, {said(row['last'])} at layer {row['to']}."
    title, height, shown = (
        "Gap between contrast and stereotyped",
        by_width(0.5, 0.4),
        _table(numbers),
    )
    return Chart("gap", title, words, numbers, _gap, height, shown, digits=2)


def _gap(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    for part in numbers.partition_by("model", maintain_order=True):
        _curve(axes, part, part["model"][0])
    _layer_axis(axes, "", levels=[0])
    axes.set(xlabel="layer", ylabel=_GAP)
    legend(figure)


def recovery(curves: pl.DataFrame) -> Chart:
    """Return recovery by layer: a row per direction, a column per target, a line per site."""
    n_rows = curves["direction"].n_unique()
    words = "Recovery by layer: the share of the difference in evidence that a patch brings back; 1 is all of it."
    onset = (
        curves.filter(pl.col("value") >= 0.5, direction="denoising", target="last")
        .group_by("site", "target", "direction", maintain_order=True)
        .agg(pl.col("layer").min())
    )
    for row in onset.iter_rows(named=True):
        words += f" {TITLES[row['site']].capitalize()}, last token, contrast into stereotyped: half from layer {row['layer']}."
    title, height, shown = "Recovery by layer", by_width(0.36 * n_rows, 0.5), _table(curves)
    return Chart("recovery", title, words, curves, _recovery, height, shown, digits=2)


def _recovery(figure: Figure, curves: pl.DataFrame) -> None:
    targets, directions, sites = (
        curves[name].unique(maintain_order=True) for name in ("target", "direction", "site")
    )
    panels = _panels(figure, len(directions), len(targets), sharey=True, sharex=True)
    for row, direction in zip(panels, directions, strict=True):
        for axes, target in zip(row, targets, strict=True):
            for site in sites:
                _curve(axes, curves.filter(site=site, target=target, direction=direction), site)
            _layer_axis(axes, f"{TITLES[direction]},\n{TITLES[target]}", levels=[0, 1])
        row[0].set_ylabel("recovery (ratio)")
    for axes in panels[-1]:
        axes.set_xlabel("layer")
    _legend(figure, panels)


def heads(table: pl.DataFrame) -> Chart:
    """Return the specificity of every head, a panel per method; a ring marks heads that pass."""
    numbers = table.filter(model="instruct").select(
        "method", "layer", "head", "specificity", "low", "high", "passes", "rank"
    )
    words = "Specificity of every head, in logits: how much more its removal changes stereotyped stories than contrast stories."
    passing = numbers.filter("passes").sort("specificity", descending=True)
    named = [
        f"layer {row['layer']} head {row['head']} ({row['method']}, {said(row['specificity'])})"
        for row in passing.head(5).iter_rows(named=True)
    ]
    words += (
        f" {len(passing)} pass the test, ringed: {', '.join(named)}."
        if named
        else " No head passes the test."
    )
    n_methods, n_layer = numbers["method"].n_unique(), numbers["layer"].n_unique()
    height = by_width(0, -(-n_methods // 2) * max(1.7, 0.11 * n_layer + 0.9))
    shown, more = _foremost(numbers.sort("rank", "method"), "foremost")
    title = "Specificity of heads"
    return Chart("heads", title, words + more, numbers, _heads, height, shown, digits=2)


def _foremost(ordered: pl.DataFrame, kind: str) -> tuple[pl.DataFrame, str]:
    """Return the first rows for the table beside a map, and what is said where they are not all."""
    shown = ordered.head(40).rename({"low": "from", "high": "to"})
    more = f" The table has the {len(shown)} {kind} of {len(ordered)} rows."
    return shown, more if len(shown) < len(ordered) else ""


def _heads(figure: Figure, numbers: pl.DataFrame) -> None:
    methods = [name for name in HEAD_METHODS if name in numbers["method"]]
    maps = {TITLES[method]: numbers.filter(method=method) for method in methods}
    for axes, part in _maps(figure, maps, "specificity", "specificity (logits)"):
        passing = part.filter("passes")
        axes.scatter(
            passing["head"],
            passing["layer"],
            s=30,
            facecolors="none",
            edgecolors=INK,
            linewidths=1.2,
            label="passes",
        )
        rings = axes.get_legend_handles_labels()[0]
    if numbers["passes"].any():
        figure.legend(rings, ["passes the test"], loc="outside upper left")


def _maps(
    figure: Figure, maps: Mapping[str, pl.DataFrame], column: str, words: str
) -> list[tuple[Axes, pl.DataFrame]]:
    """Draw a map of layers and heads for each table, two a row, and one scale for all."""
    from matplotlib import colormaps  # noqa: PLC0415  half a second, which few commands need

    far = (float(np.nanmax(np.abs(columns(part, column)), initial=0)) for part in maps.values())
    limit = max(far) or 1.0
    colours, limits = colormaps["PuOr_r"], (-limit, limit)
    n_rows, n_columns = -(-len(maps) // 2), min(2, len(maps))
    widths = [12] * n_columns + [1]
    panels = _panels(figure, n_rows, n_columns + 1, width_ratios=widths)
    drawn = []
    for place, (title, part) in enumerate(maps.items()):
        axes = panels[place // 2][place % 2]
        n_layer, n_head = (int(highest(part, name)) + 1 for name in ("layer", "head"))
        values = np.full((n_layer, n_head), np.nan)
        values[part["layer"].to_numpy(), part["head"].to_numpy()] = columns(part, column)[0]
        cells(axes, values, colours, limits)
        axes.set(xlabel="head", ylabel="layer" if place % 2 == 0 else "", title=title)
        whole_ticks(axes.xaxis, axes.yaxis)
        drawn.append((axes, part))
    for place in range(len(maps), n_rows * n_columns):
        panels[place // 2][place % 2].set_axis_off()
    scale(panels[0][-1], colours, limits, words)
    for row in panels[1:]:
        row[-1].set_axis_off()
    return drawn


def attention(table: pl.DataFrame) -> Chart:
    """Return how much more the last token looks at a person in the stereotyped prompt, by head, of failures."""
    numbers = table.filter(kind="failure", question="true").select(
        "person", "layer", "head", "stereotyped", "contrast", "difference", "low", "high"
    )
    words = "Attention of the last token on each person by head, stereotyped prompt minus contrast prompt, of failures."
    ordered = numbers.sort(pl.col("difference").abs(), descending=True, nulls_last=True)
    for row in ordered.drop_nulls("difference").head(1).iter_rows(named=True):
        words += f" Largest: layer {row['layer']} head {row['head']} on {TITLES[row['person']]}, {said(row['difference'], '+', digits=2)}."
    n_layer = numbers["layer"].n_unique()
    shown, more = _foremost(ordered, "largest")
    title, height = "Attention by head", by_width(0, max(1.9, 0.11 * n_layer + 0.9))
    return Chart("attention", title, words + more, numbers, _attention, height, shown, digits=2)


def _attention(figure: Figure, numbers: pl.DataFrame) -> None:
    persons = numbers["person"].unique(maintain_order=True)
    maps = {TITLES[person]: numbers.filter(person=person) for person in persons}
    _maps(figure, maps, "difference", "difference of weight")


def depth(curves: Mapping[str, pl.DataFrame]) -> Chart:
    """Return the gap of several models over relative depth: 0 the first layer, 1 the last.

    `curves` are the tables `lens_curves` of localisations, by name of the model.
    """
    parts = []
    for name, table in curves.items():
        part = table.filter(condition="gap", kind="failure", model="instruct")
        last = part["layer"].max() or 1
        of = {"model": pl.lit(name), "depth": pl.col("layer") / last}
        parts.append(part.select("layer", "value", "low", "high", **of))
    numbers = pl.concat(parts)
    words = f"Gap between contrast and stereotyped stories of {len(curves)} models over relative depth, in logits, of failures."
    for row in _ends(numbers, "model"):
        words += f" {label(row['model'], 40)}: {said(row['last'])} at the last layer."
    title, height = "Gap over relative depth", by_width(0.5, 0.4)
    return Chart("gap-by-depth", title, words, numbers, _depth, height, digits=2)


def _depth(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    names = labels(numbers["model"].unique(maintain_order=True).to_list())
    for at, part in enumerate(numbers.partition_by("model", maintain_order=True)):
        colour, mark = series(at)
        x, value, low, high = columns(part, "depth", "value", "low", "high")
        axes.plot(x, value, marker=mark, color=colour, label=names[at])
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=0.6, zorder=0)
    axes.grid(axis="y", color=FAINT, linewidth=0.4)
    axes.set(xlabel="relative depth (0: first layer, 1: last)", ylabel=_GAP)
    legend(figure)


#: How each table that has a chart is drawn.
DRAWINGS: tuple[tuple[str, Callable[[pl.DataFrame], Chart]], ...] = (
    ("lens_curves", layers),
    ("lens_curves", gap),
    ("recovery_curves", recovery),
    ("head_map", heads),
    ("attention_map", attention),
)
