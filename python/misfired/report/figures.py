"""Figures of a localisation, as SVG for print and PNG for the screen. Drawing needs matplotlib."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.options import HEAD_METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from misfired.localise.result import Localisation

#: Okabe and Ito's palette: told apart with any kind of colour vision, and in grey.
COLOURS = {
    "stereotyped": "#D55E00",
    "contrast": "#0072B2",
    "residual": "#000000",
    "attention": "#E69F00",
    "feed_forward": "#009E73",
}
MARKERS = dict(zip(COLOURS, "oso^s", strict=True))
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
}

_STYLE: dict[str, Any] = {
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), 8),
    "legend.fontsize": 7,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "figure.constrained_layout.use": True,
    "image.cmap": "PuOr_r",
    "image.origin": "lower",
    "image.aspect": "auto",
    "image.interpolation": "nearest",
    # The same numbers give the same file.
    "svg.hashsalt": "misfired",
}


def check_matplotlib() -> None:
    """Raise `ArgumentError` early if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ArgumentError(
            "matplotlib must be installed for figures: pip install 'misfired[plots]'; or leave the figures "
            "out: --no-figures"
        )


def write_figures(found: Localisation, folder: Path | str) -> list[Path]:
    """Draw what was probed, as `check_matplotlib` allows: `layers`, `recovery`, `heads`, as SVG and PNG."""
    check_matplotlib()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table, draw in DRAWINGS.items():
        if table in found.tables:
            with style():
                figure = draw(found.tables[table])
                for ending in ("svg", "png"):
                    written.append(folder / f"{draw.__name__}.{ending}")
                    # A date would make two equal figures differ.
                    metadata = {"Date": None} if ending == "svg" else None
                    figure.savefig(written[-1], dpi=200, metadata=metadata)
    return written


def style() -> AbstractContextManager[None]:
    """Draw for print: small type, thin lines, the same file for the same numbers."""
    import matplotlib as mpl  # noqa: PLC0415  an optional dependency

    # matplotlib's stub wants each key as a literal type.
    return mpl.rc_context(_STYLE)  # type: ignore[arg-type]


def _panels(n_rows: int, n_columns: int, *, width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415  an optional dependency

    # Not through pyplot: no backend, no window, nothing kept open.
    figure = Figure(figsize=(width * n_columns, height * n_rows))
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)


def layers(curves: pl.DataFrame) -> Figure:
    """Draw the evidence by layer through the lens, stereotyped and contrast, failures and controls.

    Below it are the margins of yes that it is made of: where those of the true and the false question go
    together, the layer leans. Without false questions there is the margin of the right answer alone.
    """
    kinds = curves.filter(pl.col("condition") != "gap").partition_by("kind")
    told = curves["quantity"][0] == "evidence"
    figure, panels = _panels(1 + told, len(kinds), width=3.2, height=2.5)
    for column, part in zip(panels.T, kinds, strict=True):
        for (model, name), curve in part.group_by("model", "condition", maintain_order=True):
            _curve(column[0], curve, str(name), base=model == "base")
            if told and model != "base":
                _questions(column[1], curve, str(name))
        title = f"{TITLES[part['kind'][0]]} ({part['n_pairs'][0]} pairs)"
        for axes in column:
            _layer_axis(axes, title if axes is column[0] else "", levels=[0])
    names = ["evidence", "margin of yes"] if told else ["margin, may be a leaning"]
    for row, name in zip(panels, names, strict=True):
        row[0].set_ylabel(f"{name} (logits)")
        row[0].legend(frameon=False)
    return figure


def _questions(axes: Axes, part: pl.DataFrame, name: str) -> None:
    for question, line in (("true", "-"), ("false", ":")):
        label = f"{TITLES.get(name, name)}, {question} question"
        values = part[f"{question}_question"].to_numpy()
        axes.plot(part["layer"], values, line, color=COLOURS[name], label=label)


def _curve(axes: Axes, part: pl.DataFrame, name: str, *, base: bool = False) -> None:
    line = {"linestyle": "--", "marker": "", "alpha": 0.8} if base else {"marker": MARKERS[name]}
    label, colour = f"{TITLES.get(name, name)}{', base' if base else ''}", COLOURS[name]
    # Null becomes NaN, which is not drawn.
    layer, value, low, high = part.select("layer", "value", "low", "high").to_numpy().T
    axes.plot(layer, value, color=colour, label=label, **line)
    if not base:
        axes.fill_between(layer, low, high, color=colour, alpha=0.2, linewidth=0)


def _layer_axis(axes: Axes, title: str, *, levels: list[int]) -> None:
    for level in levels:
        axes.axhline(level, color="0.5", linewidth=0.6, zorder=0)
    axes.set(xlabel="layer", title=title)
    _whole_ticks(axes.xaxis)


def recovery(curves: pl.DataFrame) -> Figure:
    """Draw recovery by layer: a row per direction, a column per target, a line per site."""
    targets, directions, sites = (
        curves[name].unique(maintain_order=True) for name in ("target", "direction", "site")
    )
    figure, panels = _panels(len(directions), len(targets), width=3.2, height=2.3)
    for row, direction in zip(panels, directions, strict=True):
        for axes, target in zip(row, targets, strict=True):
            for site in sites:
                _curve(axes, curves.filter(site=site, target=target, direction=direction), site)
            _layer_axis(axes, f"{TITLES[direction]}, {TITLES[target]}", levels=[0, 1])
        row[0].set_ylabel("recovery (1: the whole difference)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(sites), frameon=False)
    return figure


def heads(table: pl.DataFrame) -> Figure:
    """Draw the specificity of every head, a panel per method; a ring marks heads that pass."""
    own = table.filter(model="instruct")
    methods = [name for name in HEAD_METHODS if name in own["method"]]
    n_layer, n_head = own["layer"].n_unique(), own["head"].n_unique()
    width = min(6.0, max(1.9, 0.22 * n_head + 1.0))
    figure, panels = _panels(1, len(methods), width=width, height=max(2.2, 0.16 * n_layer + 1.2))
    limit = float(np.nanmax(np.abs(own["specificity"].to_numpy()))) or 1.0
    for axes, method in zip(panels[0], methods, strict=True):
        part = own.filter(method=method).sort("layer", "head")
        values = part["specificity"].to_numpy().reshape(n_layer, n_head)
        image = axes.imshow(values, vmin=-limit, vmax=limit)
        passing = part.filter(pl.col("passes"))
        axes.scatter(passing["head"], passing["layer"], s=28, facecolors="none", edgecolors="black")
        axes.set(xlabel="head", title=TITLES[method])
        _whole_ticks(axes.xaxis, axes.yaxis)
    panels[0][0].set_ylabel("layer")
    figure.colorbar(image, ax=list(panels[0]), label="specificity (logits)", pad=0.02)
    return figure


#: How each table that has a figure is drawn.
DRAWINGS = {"lens_curves": layers, "recovery_curves": recovery, "head_map": heads}


def _whole_ticks(*each: Axis) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  an optional dependency

    for axis in each:
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True))
