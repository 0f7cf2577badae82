"""Draw docs/demo.svg from what `misfired demo --json` prints.

misfired demo --json | python tools/demo_picture.py             # docs/demo.svg
misfired demo --json | python tools/demo_picture.py picture.png # somewhere else, as PNG
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

OUT = Path(__file__).parents[1] / "docs" / "demo.svg"
COLOURS = {"base": "#4878a8", "instruct": "#c44e52"}
#: Line style of each prompt of a pair.
LINES = {"stereotyped": "-", "contrast": "--"}


def draw_rates(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw MAR with its interval for each model and priming, and the designed rate as a mark."""
    primings = list(dict.fromkeys(row["priming"] for row in rows))
    for offset, (model, colour) in zip((-0.17, 0.17), COLOURS.items(), strict=True):
        own = [row for row in rows if row["model"] == model]
        places = [primings.index(row["priming"]) + offset for row in own]
        values = [row["mar"] for row in own]
        errors = [
            [row["mar"] - row["low"] for row in own],
            [row["high"] - row["mar"] for row in own],
        ]
        axes.bar(places, values, width=0.32, color=colour, label=model)
        axes.errorbar(places, values, yerr=errors, fmt="none", ecolor="black", capsize=3)
        designed = "designed" if model == "instruct" else None
        axes.plot(places, [row["designed"] for row in own], "kx", label=designed)
    axes.set_xticks(range(len(primings)), primings)
    axes.set(xlabel="priming", ylabel="MAR (%)", title="How often the model misfires")
    axes.legend(frameon=False, fontsize=8)


def draw_lens(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the lead of the right answer after each layer."""
    for model, colour in COLOURS.items():
        for condition, line in LINES.items():
            own = [row for row in rows if (row["model"], row["condition"]) == (model, condition)]
            layers = [row["layer"] for row in own]
            leads = [row["margin"] for row in own]
            axes.plot(layers, leads, line, color=colour, label=f"{model}, {condition}")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="layer", ylabel="lead of the right answer", title="Where it is overruled")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def main() -> None:
    """Draw the picture to `docs/`, or to the path of the first argument."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "misfired", "axes.spines.top": False}
    mpl.rcParams |= {"axes.spines.right": False, "axes.titlesize": 11}
    found = json.load(sys.stdin)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    draw_rates(left, found["rows"])
    draw_lens(right, found["lens"])
    figure.tight_layout()
    metadata = {"Date": None} if out.suffix == ".svg" else None
    figure.savefig(out, facecolor="white", metadata=metadata, dpi=110)


if __name__ == "__main__":
    main()
