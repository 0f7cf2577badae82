"""Is the planted head found, and only that? Counts over draws of pairs, for docs/localise.md.

    python tools/localise_recall.py [--seeds 5] [-o docs]       # one --organism at a time if need be

Models: the shipped instruct organism, and `decoy` and `category` of tests/data, each with one planted
head, beside the base that has none. Writes `localise-recall.json` and `localise-recall.svg`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from misfired import run
from misfired.localise import Localisation, localise
from misfired.report.figures import COLOURS, style
from misfired.suites.organism import build_organism_suite, card, models

TEST_DATA = Path(__file__).parents[1] / "tests" / "data"
ORGANISMS = ("instruct", "decoy", "category")
METHODS = ("zero", "resample")
OPTIONS = {
    "probes": ["lens", "patch", "heads"],
    "methods": list(METHODS),
    "n_pairs": 24,
    "n_random": 1,
    "n_threads": 1,
}


def draws(organism: str, n_seeds: int, folder: Path) -> Iterator[Localisation]:
    path = models().get(organism, TEST_DATA / f"organism-{organism}.gguf")
    suite = build_organism_suite(organism=organism)
    run(path, suite, out=folder, protocol="logit-bare", n_resamples=10, n_threads=1)
    for seed in range(n_seeds):
        yield localise(path, folder, base=models()["base"], seed=seed, **OPTIONS)


def heads_of(organism: str, seed: int, found: Localisation) -> pl.DataFrame:
    planted = card()["organisms"][organism]["planted_head"]
    is_planted = (pl.col("layer") == planted["layer"]) & (pl.col("head") == planted["head"])
    return found.tables["head_map"].select(
        pl.lit(organism).alias("organism"),
        pl.lit(seed).alias("seed"),
        pl.all(),
        is_planted.alias("planted"),
    )


def onsets(found: Localisation) -> dict[str, float | None]:
    return {
        "lens": found.figure("onset_of_suppression", model="instruct", kind="failure"),
        "lens, base": found.figure("onset_of_suppression", model="base", kind="failure"),
        **{
            f"{site} patch": found.figure("onset_of_recovery", probe=f"patch {site} last denoising")
            for site in ("residual", "attention")
        },
    }


def counts(table: pl.DataFrame) -> list[dict[str, Any]]:
    own, base = (pl.col("model") == name for name in ("instruct", "base"))
    return (
        table.group_by("organism", "method", maintain_order=True)
        .agg(
            pl.col("seed").n_unique().alias("draws"),
            (own & pl.col("planted") & (pl.col("rank") == 1)).sum().alias("ranked_first"),
            (own & pl.col("planted") & pl.col("passes")).sum().alias("found"),
            (own & ~pl.col("planted")).sum().alias("other_heads"),
            (own & ~pl.col("planted") & pl.col("passes")).sum().alias("false_positives"),
            base.sum().alias("base_heads"),
            (base & pl.col("passes")).sum().alias("base_false_positives"),
        )
        .to_dicts()
    )


GROUPS = {
    "planted head": ("stereotyped", "o", 14),
    "other heads": ("contrast", "s", 7),
    "heads of the base": ("residual", "x", 7),
}


def draw(table: pl.DataFrame, path: Path) -> None:
    """Every head of every draw; what passes has a black edge."""
    base, planted = pl.col("model") == "base", pl.col("planted")
    parts = dict(zip(GROUPS, (~base & planted, ~base & ~planted, base), strict=True))
    organisms = table["organism"].unique(maintain_order=True).to_list()
    with style():
        figure = Figure(figsize=(2.3 * len(organisms), 2.6))
        panels = figure.subplots(1, len(organisms), sharey=True, squeeze=False)[0]
        for axes, organism in zip(panels, organisms, strict=True):
            for place, (group, (colour, marker, size)) in enumerate(GROUPS.items()):
                rows = table.filter(pl.col("organism") == organism, parts[group])
                for passes, edge in ((False, "none"), (True, "black")):
                    some = rows.filter(pl.col("passes") == passes)
                    x = [METHODS.index(name) + 0.25 * (place - 1) for name in some["method"]]
                    edges = COLOURS[colour] if marker == "x" else edge
                    axes.scatter(
                        x,
                        some["specificity"],
                        s=size,
                        c=COLOURS[colour],
                        marker=marker,
                        edgecolors=None if marker == "x" else edges,
                        linewidths=0.7,
                        label=None if passes != (group == "planted head") else group,
                    )
            axes.axhline(0, color="0.5", linewidth=0.6, zorder=0)
            axes.set_xticks(range(len(METHODS)), METHODS)
            axes.set(title=organism, xlabel="output replaced by")
        panels[0].set_ylabel("specificity (logits)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def measure(organism: str, n_seeds: int, rows: Path) -> None:
    frames, layers = [], []
    with TemporaryDirectory() as folder:
        for seed, found in enumerate(draws(organism, n_seeds, Path(folder))):
            frames.append(heads_of(organism, seed, found))
            layers.append({"organism": organism, "seed": seed, **onsets(found)})
    pl.concat(frames).write_parquet(rows / f"{organism}.parquet")
    (rows / f"{organism}.json").write_text(json.dumps(layers), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--organism", choices=ORGANISMS, help="measure this one now")
    parser.add_argument("--rows", type=Path, default=Path("recall"), help="rows measured so far")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    options.rows.mkdir(parents=True, exist_ok=True)
    for organism in [options.organism] if options.organism else ORGANISMS:
        if not (options.rows / f"{organism}.json").exists():
            measure(organism, options.seeds, options.rows)
    if not all((options.rows / f"{organism}.json").exists() for organism in ORGANISMS):
        return
    table = pl.concat(pl.read_parquet(options.rows / f"{name}.parquet") for name in ORGANISMS)
    layers = [
        row for name in ORGANISMS for row in json.loads((options.rows / f"{name}.json").read_text())
    ]
    document = {"heads": counts(table), "onsets": layers}
    text = json.dumps(document, indent=1)
    (options.out / "localise-recall.json").write_text(text + "\n", encoding="utf-8")
    draw(table, options.out / "localise-recall.svg")
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=200):
        print(pl.DataFrame(document["heads"]), pl.DataFrame(layers))


if __name__ == "__main__":
    main()
