"""Draw docs/architecture.svg: the flow of data, the layers of the package, and the three crates.

python tools/architecture_picture.py             # docs/architecture.svg
python tools/architecture_picture.py picture.png # somewhere else, as PNG
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

OUT = Path(__file__).parents[1] / "docs" / "architecture.svg"
BLUE, SAND, GREEN, GREY, INK = "#dbe7f5", "#f7ead0", "#dcefdc", "#eeeeee", "#222222"

#: Left edge, title and content of each stage of the flow.
STAGES = (
    (0.2, "suites", "pairs of prompts"),
    (3.2, "prompts", "priming, few-shot"),
    (6.2, "scoring", "llama.cpp or server"),
    (9.2, "stats", "rates, intervals, tests"),
    (12.2, "report", "text, CSV, LaTeX, JSON"),
)
#: File that lies between a stage and the next.
FILES = ("pairs.parquet", "", "answers.parquet", "summary.json")

#: Layers from top to bottom; a layer imports from those below it only.
LAYERS = (
    ("cli", "commands"),
    ("report", "data to text, CSV, LaTeX, JSON, figures"),
    ("demo", "the shipped models"),
    ("localise", "probes of layers and heads"),
    ("runs", "run folder, manifest, pipeline, many models"),
    ("scoring  |  stats", "ask a model  |  rates and intervals"),
    ("prompts", "primings, neutral sentences, demonstrations"),
    ("suites", "pairs: VETO from BBQ, organism, your own"),
    ("options, files, errors", "what all layers use"),
)


def box(
    axes: Axes, place: tuple[float, float, float, float], colour: str, title: str, text: str
) -> None:
    """Draw a box (left, bottom, width, height) with a bold title and a line of text."""
    x, y, width, height = place
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=colour, edgecolor=INK, linewidth=0.8,
        )
    )  # fmt: skip
    middle = x + width / 2
    axes.text(
        middle, y + height * 0.64, title, ha="center", va="center", weight="bold", fontsize=10
    )
    axes.text(middle, y + height * 0.28, text, ha="center", va="center", fontsize=7.5)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow from one point to another."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.1})


def draw_flow(axes: Axes) -> None:
    """Draw the stages, the files between them, and localisation as a branch."""
    axes.text(0.2, 10.75, "Flow of data", weight="bold", fontsize=12)
    for x, title, text in STAGES:
        box(axes, (x, 9.4, 2.2, 0.95), BLUE, title, text)
    for (x, *_), file in zip(STAGES, FILES, strict=False):
        arrow(axes, (x + 2.25, 9.88), (x + 2.95, 9.88))
        axes.text(x + 2.6, 9.22, file, ha="center", va="center", fontsize=7.5, style="italic")
    box(axes, (9.2, 7.9, 2.2, 0.95), BLUE, "localise", "layers and heads")
    axes.plot([7.3, 7.3], [9.35, 8.38], color=INK, linewidth=1.1)
    arrow(axes, (7.3, 8.38), (9.15, 8.38))
    arrow(axes, (11.45, 8.38), (13.3, 9.35))
    axes.text(8.2, 8.14, "a finished run", ha="center", va="center", fontsize=7.5, style="italic")


def draw_layers(axes: Axes) -> None:
    """Draw the layers of the Python package, imports pointing down."""
    axes.text(0.2, 7.35, "python/misfired: imports go down", weight="bold", fontsize=12)
    height = 0.66
    for row, (name, text) in enumerate(LAYERS):
        y = 6.45 - row * (height + 0.1)
        box(axes, (0.8, y, 5.9, height), GREEN if row < len(LAYERS) - 1 else GREY, name, text)
    arrow(axes, (0.45, 7.1), (0.45, 0.4))


def draw_crates(axes: Axes) -> None:
    """Draw the three crates and what they stand on."""
    axes.text(8.2, 7.35, "rust: three crates", weight="bold", fontsize=12)
    box(
        axes,
        (9.0, 5.75, 4.3, 0.95),
        SAND,
        "rust/py",
        "binding: extract, release the GIL, call, wrap",
    )
    box(axes, (7.6, 3.6, 3.3, 0.95), SAND, "rust/core", "pairs, statistics; no unsafe code")
    box(axes, (11.2, 3.6, 3.3, 0.95), SAND, "rust/llama", "batches, scores, probes; unsafe")
    box(axes, (11.2, 1.5, 3.3, 0.95), GREY, "libllama", "the one inside llama-cpp-python")
    arrow(axes, (10.2, 5.7), (9.4, 4.6))
    arrow(axes, (12.1, 5.7), (12.7, 4.6))
    arrow(axes, (12.85, 3.55), (12.85, 2.5))
    axes.plot([6.95, 6.95], [0.4, 7.1], color=INK, linewidth=1.1)
    arrow(axes, (6.95, 6.2), (8.95, 6.2))
    axes.text(7.95, 6.42, "misfired._core", ha="center", va="center", fontsize=7.5, style="italic")


def main() -> None:
    """Draw the picture to `docs/`, or to the path of the first argument."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    mpl.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": "misfired",
        "font.family": "sans-serif",
    }
    figure, axes = plt.subplots(figsize=(11, 8.2))
    axes.set_xlim(0, 14.7)
    axes.set_ylim(0, 11.1)
    axes.set_axis_off()
    draw_flow(axes)
    draw_layers(axes)
    draw_crates(axes)
    metadata = {"Date": None} if out.suffix == ".svg" else None
    figure.savefig(out, bbox_inches="tight", facecolor="white", metadata=metadata, dpi=110)


if __name__ == "__main__":
    main()
