"""A chart: its numbers, its words and its drawing, for a page, for print and for the screen.

Every chart is drawn from the table of its numbers and from nothing else, so that a test of the table is a
test of the chart. Nothing goes through pyplot: no backend, no window, nothing kept open.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from misfired.report.figures.svg import embedded, inlined

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Widths in inches: one and two columns of a paper, and a page.
WIDTHS = {"one": 3.35, "two": 6.9, "page": 4.7}

#: File formats of `Chart.write`.
FORMATS = ("svg", "pdf", "png")

#: Okabe and Ito's palette: told apart with any kind of colour vision, and in grey.
VERMILION, BLUE, GREEN = "#D55E00", "#0072B2", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
INK, MUTED, FAINT = "#1B1F24", "#666E78", "#C9CED4"

#: Colours of series, in the order in which they are used.
SERIES = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, INK)
#: Markers of the same series, which tell them apart without colour.
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def series(at: int) -> tuple[str, str]:
    """Return colour and marker of a series by its number; 49 series differ.

    Example:
        >>> len({series(at) for at in range(49)})
        49
    """
    again, at = divmod(at, len(SERIES))
    return SERIES[at], MARKS[(at + again) % len(MARKS)]


_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    "axes.titlelocation": "left",
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
    # Names are text: a dollar sign in one begins no formula.
    "text.parse_math": False,
    # Text stays text, and the same numbers give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "misfired",
    "pdf.fonttype": 42,
}
_NO_DATE: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
    "png": {},
}


@dataclass(frozen=True, eq=False)
class Chart:
    """One chart.

    Attributes:
        name: Its file name, without ending.
        title: What it shows, in a few words.
        text: What it says, in sentences; read aloud in its place.
        numbers: The numbers of its marks, a row each.
        draw: Draws `numbers` into an empty figure.
        height: Returns its height from its width, in inches.
        shown: The table beside it; None: `numbers`.
        digits: Decimals of its numbers there.
    """

    name: str
    title: str
    text: str
    numbers: pl.DataFrame
    draw: Callable[[Figure, pl.DataFrame], None]
    height: Callable[[float], float]
    shown: pl.DataFrame | None = None
    digits: int = 1

    @property
    def table(self) -> pl.DataFrame:
        """The numbers to read beside the chart."""
        return self.numbers if self.shown is None else self.shown

    def figure(self, width: str = "one") -> Figure:
        """Return the chart drawn for one of `WIDTHS`; call it inside `style`, as `write` does."""
        from matplotlib.figure import Figure  # noqa: PLC0415  half a second, which few commands need

        inches = WIDTHS[width]
        figure = Figure(figsize=(inches, self.height(inches)))
        self.draw(figure, self.numbers)
        return figure

    def write(
        self, folder: Path | str, formats: Sequence[str] = FORMATS, *, width: str = "one"
    ) -> list[Path]:
        """Write the chart as files of `FORMATS`, named by it; equal numbers give equal files."""
        written = []
        with style():
            for ending in formats:
                written.append(Path(folder) / f"{self.name}.{ending}")
                # Drawn anew: saving moves what the layout places, so that formats would depend on each other.
                content = _saved(self.figure(width), ending)
                if ending == "svg":
                    content = embedded(content.decode(), self.title, self.text).encode()
                written[-1].write_bytes(content)
        return written

    def svg(self, *, prefix: str = "") -> str:
        """Return the chart for a page: `<svg role="img">` with title and description, no style attribute.

        `prefix` begins all its ids, for a page that has the chart of several runs.
        """
        with style(base=9.5):
            content = _saved(self.figure("page"), "svg", transparent=True).decode()
        return inlined(content, f"{prefix}{self.name}", self.title, self.text)


@contextmanager
def style(base: float = 8) -> Iterator[None]:
    """Draw thin lines and type of `base` points; the same file for the same numbers."""
    import matplotlib as mpl  # noqa: PLC0415  half a second, which few commands need

    sizes = {
        **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), base),
        **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), base - 0.5),
    }
    # matplotlib's stub wants each key as a literal type.
    with mpl.rc_context(_STYLE | sizes), warnings.catch_warnings():  # type: ignore[arg-type]
        # A sign that the font lacks is a box in PNG and PDF; a page has other fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _saved(figure: Figure, ending: str, *, transparent: bool = False) -> bytes:
    kept = io.BytesIO()
    figure.savefig(kept, format=ending, dpi=200, metadata=_NO_DATE[ending], transparent=transparent)
    return kept.getvalue()
