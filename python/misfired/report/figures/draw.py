"""Parts that several charts share: rows of a chart, intervals, cells of a map, words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.report.figures.chart import FAINT, INK, MUTED, VERMILION
from misfired.text import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: Signs of a label that are shown.
_LONGEST = 28
#: A dash for what is missing, and the sign of a negative number.
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def label(name: object, longest: int = _LONGEST) -> str:
    """Return a name fit for a label: short, on one line, as `misfired.text.shown` writes it.

    Example:
        >>> label("Age"), label("c" * 40) == "c" * 27 + "\N{HORIZONTAL ELLIPSIS}"
        ('Age', True)
    """
    text = shown(name, None)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def labels(names: Sequence[object], longest: int = _LONGEST) -> list[str]:
    """Return labels of names; those that would look alike are not shortened.

    Example:
        >>> labels(["aaaa-1", "aaaa-2", "bbbb-1"], longest=4)
        ['aaaa-1', 'aaaa-2', 'bbb\N{HORIZONTAL ELLIPSIS}']
    """
    short = [label(name, longest) for name in names]
    return [
        shown(name, None) if short.count(each) > 1 else each
        for name, each in zip(names, short, strict=True)
    ]


def file_name(name: str) -> str:
    """Return a name as part of a file's name."""
    return "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in name)[:60]


def said(value: float | None, sign: str = "", *, digits: int = 1) -> str:
    """Return a number for a reader: no minus before a zero, a dash for what is missing.

    Example:
        >>> said(-0.04), said(1.25, "+"), said(None)
        ('0.0', '+1.2', '\N{EN DASH}')
    """
    if value is None:
        return DASH
    # Adding zero turns a negative zero into zero.
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", MINUS)


def ends(row: Mapping[str, Any], *, digits: int = 1) -> str:
    """Return ` (low to high)` of a row, or nothing where it has no interval."""
    if row["low"] is None:
        return ""
    return f" ({said(row['low'], digits=digits)} to {said(row['high'], digits=digits)})"


def by_rows(fixed: float = 0.75, each: float = 0.24) -> Callable[[float], Callable[[float], float]]:
    """Return how high a chart of some rows is, in inches."""
    return lambda n_rows: lambda _width: fixed + each * n_rows


def by_width(share: float, more: float = 0.0) -> Callable[[float], float]:
    """Return how high a chart is that grows with its width, in inches."""
    return lambda width: share * width + more


def told(*names: str) -> pl.Expr:
    """Return columns of a summary, null where a report withholds the value."""
    return pl.when(pl.col("withheld").is_null()).then(pl.col(*names))


def columns(rows: pl.DataFrame, *names: str) -> npt.NDArray[Any]:
    """Return columns of a table, [columns, rows]; a null becomes NaN, which is not drawn."""
    return rows.select(names).cast(pl.Float64).to_numpy().T


def named_rows(
    axes: Axes, names: Sequence[object], *, first_apart: bool = False
) -> npt.NDArray[Any]:
    """Name the rows of a chart from top to bottom; return their places. `first_apart`: a total above."""
    places = -np.arange(len(names), dtype=np.float64)
    if first_apart and len(names) > 1:
        places[1:] -= 0.5
        axes.axhline(-0.75, color=FAINT, linewidth=0.6)
    axes.set_yticks(places, labels(names))
    axes.set_ylim(places.min(initial=0) - 0.6, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.4)
    axes.set_axisbelow(True)
    return places


def intervals(
    axes: Axes, rows: pl.DataFrame, places: npt.NDArray[Any], colour: str, marker: str = "o"
) -> None:
    """Draw `value` with its interval from `low` to `high` for each row; words for a null."""
    value, low, high = columns(rows, "value", "low", "high")
    axes.hlines(places, low, high, color=colour, linewidth=1.4)
    axes.plot(value, places, marker, color=colour, linestyle="none", markersize=4.5)
    for place, row in zip(places, rows.iter_rows(named=True), strict=True):
        if row["value"] is None:
            words = "too few pairs" if row.get("withheld") else "no value"
            axes.text(
                0.02, place, words, transform=axes.get_yaxis_transform(), va="center", color=MUTED
            )


def sliced_intervals(axes: Axes, numbers: pl.DataFrame) -> npt.NDArray[Any]:
    """Draw the interval of a total and below it those of its slices; return the places of the rows."""
    places = named_rows(axes, numbers["slice"].to_list(), first_apart=True)
    for total, colour, marker in ((True, INK, "D"), (False, VERMILION, "o")):
        own = (numbers["total"] == total).to_numpy()
        intervals(axes, numbers.filter(total=total), places[own], colour, marker)
    return places


def percent_axis(axis: Axis, words: str, *, most: float, least: float = 0.0) -> None:
    """Name an axis of percentages, from `least` to a little above `most`, at most 100."""
    most = min(100.0, max(most * 1.08, 5.0))
    name = "x" if axis is axis.axes.xaxis else "y"
    axis.set_label_text(words)
    axis.axes.set(**{f"{name}lim": (least - 0.02 * (most - least), most + 0.01 * most)})


def highest(numbers: pl.DataFrame, *columns: str) -> float:
    """Return the highest number of some columns; 0 where there is none.

    Example:
        >>> highest(pl.DataFrame({"value": [1.0, None], "high": [3.0, None]}), "value", "high")
        3.0
    """
    known = [float(number) for name in columns for number in numbers[name].drop_nulls()]
    return max(known, default=0.0)


def legend(figure: Figure, **options: Any) -> None:
    """Put the legend above the axes, in two columns where its names are short enough."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    inches = max(map(len, names), default=0) * 0.07 + 0.4
    ncols = 2 if 2 * inches < figure.get_figwidth() else 1
    if handles:
        figure.legend(handles, names, loc="outside upper left", ncols=ncols, **options)


def beside(axes: Axes, places: npt.NDArray[Any], words: Sequence[str], title: str) -> None:
    """Write a word to the right of each row, under a title."""
    across = axes.get_yaxis_transform()
    for place, word in zip(places, words, strict=True):
        axes.text(1.02, place, word, transform=across, va="center", color=MUTED, fontsize="small")
    axes.text(1.02, 0.75, title, transform=across, va="bottom", color=MUTED, fontsize="small")


def cells(
    axes: Axes,
    values: npt.NDArray[Any],
    colours: Colormap,
    limits: tuple[float, float],
    *,
    n_levels: int = 64,
) -> None:
    """Fill the cells of a map, [rows, columns], row 0 at the bottom; a NaN stays empty.

    One path for each of `n_levels` colours keeps a map of thousands of cells small, and free of pictures.
    """
    from matplotlib.patches import PathPatch  # noqa: PLC0415
    from matplotlib.path import Path  # noqa: PLC0415  half a second, which few commands need

    low, high = limits
    span = (high - low) or 1.0
    level = np.clip(np.round((values - low) / span * (n_levels - 1)), 0, n_levels - 1)
    for step in np.unique(level[np.isfinite(level)]):
        corners = [
            Path(
                [(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5)],
                closed=False,
            )
            for y, x in np.argwhere(level == step)
        ]
        fill = colours(step / (n_levels - 1))
        axes.add_patch(
            PathPatch(Path.make_compound_path(*corners), facecolor=fill, edgecolor="none")
        )
    n_rows, n_columns = values.shape
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(-0.5, n_rows - 0.5))


def scale(axes: Axes, colours: Colormap, limits: tuple[float, float], words: str) -> None:
    """Draw the scale of a map, beside the axes given."""
    steps = np.linspace(*limits, 24)
    cells(axes, steps[:, None], colours, limits)
    low, high = limits
    ticks = [low, (low + high) / 2, high]
    axes.set_yticks(
        np.interp(ticks, limits, (0, len(steps) - 1)), [f"{tick:.3g}" for tick in ticks]
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(words)
    for side in axes.spines.values():
        side.set_visible(False)


def whole_ticks(*each: Axis) -> None:
    """Put ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  half a second, which few commands need

    for axis in each:
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return the ink that is legible on a colour, by day and by night: no ink of the page."""
    red, green, blue, _ = colour
    return "#111111" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "#FFFFFF"
