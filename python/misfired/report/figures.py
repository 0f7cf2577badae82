"""Figures of a localisation, as SVG for print and PNG for the screen. Drawing needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.options import HEAD_METHODS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "figure.constrained_layout.use": True,
    # The same numbers give the same file.
    "svg.hashsalt": "misfired",
}


def check_matplotlib() -> None:
    """Refuse early if figures cannot be drawn.

    Raises:
        ArgumentError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ArgumentError(
            "matplotlib must be installed for figures: pip install 'misfired[plots]', or leave them out"
        )


def write_figures(found: Localisation, folder: Path | str) -> list[Path]:
    """Draw what was probed: `layers`, `recovery` and `heads`, each as SVG and PNG.

    Raises:
        ArgumentError: matplotlib is not installed.
    """
    check_matplotlib()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table, draw in DRAWINGS.items():
        if table not in found.tables:
            continue
        with style():
            figure = draw(found.tables[table])
            for ending in ("svg", "png"):
                path = folder / f"{draw.__name__}.{ending}"
                # A date would make two equal figures differ.
                metadata = {"Date": None} if ending == "svg" else None
                figure.savefig(path, dpi=200, metadata=metadata)
                written.append(path)
    return written


@contextmanager
def style() -> Iterator[None]:
    """Draw for print: small type, thin lines, the same file for the same numbers."""
    import matplotlib as mpl  # noqa: PLC0415  an optional dependency

    # matplotlib's stub wants each key as a literal type.
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def _panels(n_rows: int, n_columns: int, *, width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415  an optional dependency

    # Not through pyplot: no backend, no window, nothing kept open.
    figure = Figure(figsize=(width * n_columns, height * n_rows))
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)


def layers(curves: pl.DataFrame) -> Figure:
    """Draw the margin by layer through the lens, stereotyped and contrast, failures and controls."""
    kinds = [kind for kind in ("failure", "control") if kind in curves["kind"]]
    figure, panels = _panels(1, len(kinds), width=3.2, height=2.5)
    for axes, kind in zip(panels[0], kinds, strict=True):
        for (model, condition), part in curves.filter(kind=kind).group_by(
            "model", "condition", maintain_order=True
        ):
            if condition != "gap":
                _curve(axes, part, str(condition), base=model == "base")
        axes.axhline(0, color="0.5", linewidth=0.6, zorder=0)
        n_pairs = curves.filter(kind=kind)["n_pairs"][0]
        axes.set(xlabel="layer", title=f"{TITLES[kind]} ({n_pairs} pairs)")
        _whole_ticks(axes)
    panels[0][0].set_ylabel("margin of the right answer (logits)")
    panels[0][0].legend(frameon=False)
    return figure


def _curve(axes: Axes, part: pl.DataFrame, name: str, *, base: bool) -> None:
    line = {"linestyle": "--", "marker": "", "alpha": 0.8} if base else {"marker": MARKERS[name]}
    label = f"{TITLES.get(name, name)}{', base' if base else ''}"
    axes.plot(part["layer"], part["value"], color=COLOURS[name], label=label, **line)
    if not base:
        axes.fill_between(
            part["layer"], part["low"], part["high"], color=COLOURS[name], alpha=0.2, linewidth=0
        )


def recovery(curves: pl.DataFrame) -> Figure:
    """Draw recovery by layer: a row per direction, a column per target, a line per site."""
    targets, directions, sites = (
        curves[name].unique(maintain_order=True) for name in ("target", "direction", "site")
    )
    figure, panels = _panels(len(directions), len(targets), width=3.2, height=2.3)
    for row, direction in zip(panels, directions, strict=True):
        for axes, target in zip(row, targets, strict=True):
            for site in sites:
                part = curves.filter(site=site, target=target, direction=direction)
                _curve(axes, part, site, base=False)
            for level in (0, 1):
                axes.axhline(level, color="0.5", linewidth=0.6, zorder=0)
            axes.set(xlabel="layer", title=f"{TITLES[direction]}, {TITLES[target]}")
            _whole_ticks(axes)
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
        image = axes.imshow(
            part["specificity"].to_numpy().reshape(n_layer, n_head),
            cmap="PuOr_r",
            vmin=-limit,
            vmax=limit,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
        )
        passing = part.filter(pl.col("passes"))
        axes.scatter(passing["head"], passing["layer"], s=28, facecolors="none", edgecolors="black")
        axes.set(xlabel="head", title=TITLES[method])
        _whole_ticks(axes, both=True)
    panels[0][0].set_ylabel("layer")
    figure.colorbar(image, ax=list(panels[0]), label="specificity (logits)", pad=0.02)
    return figure


#: How each table that has a figure is drawn.
DRAWINGS = {"lens_curves": layers, "recovery_curves": recovery, "head_map": heads}


def _whole_ticks(axes: Axes, *, both: bool = False) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  an optional dependency

    for axis in (axes.xaxis, axes.yaxis) if both else (axes.xaxis,):
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True))
