"""`misfired localise`: where in a model the evidence is overruled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from misfired.cli import options
from misfired.cli.options import split_words
from misfired.cli.output import print_json, print_table
from misfired.cli.progress import progress_bar
from misfired.localise import PROBES, Localisation
from misfired.localise import localise as localise_run
from misfired.report.figures import check_matplotlib, write_figures

_N_SHOWN = 5


def localise(
    model: options.ModelFile,
    *,
    run: Annotated[Path, typer.Option("--run", help="Folder of a finished run of this model.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for tables and figures.")],
    base: Annotated[
        Path | None, typer.Option(help="A base model to set beside it (lens and heads).")
    ] = None,
    probe: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(PROBES),
    priming: Annotated[str, typer.Option(help="Which of the run's primings to study.")] = "none",
    n_pairs: Annotated[
        int | None, typer.Option("--n-pairs", help="At most so many failures. Default: all.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Of heads: zero, mean, resample, patch. Default: all.")
    ] = None,
    positions: Annotated[
        str, typer.Option(help="Change heads at the last token, or (zero only) at all.")
    ] = "last",
    n_heads: Annotated[
        int, typer.Option(help="Heads chosen on one half and tested on the other.")
    ] = 1,
    n_random: Annotated[int, typer.Option(help="Sets of random heads to compare with.")] = 5,
    n_resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 10_000,
    confidence_level: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.95,
    alpha: Annotated[float, typer.Option(help="False discovery rate of the head map.")] = 0.05,
    seed: options.Seed = 0,
    mode: options.Mode = "exact",
    n_gpu_layers: options.GpuLayers = 0,
    n_threads: options.Threads = None,
    figures: Annotated[bool, typer.Option(help="Draw figures (needs matplotlib).")] = True,
    as_json: options.Json = False,
) -> None:
    """Find which layers and heads overrule the evidence in a run.

    Failures (stereotyped prompt wrong, contrast right) are studied beside as many controls (both
    right) of the same categories. Leaves tables (Parquet), figures (SVG, PNG) and manifest.json.

    Examples:
      misfired localise model.gguf --run runs/model -o found

      misfired localise model.gguf --run runs/model --base base.gguf -o found

      misfired localise model.gguf --run runs/model --probe lens,heads --n-pairs 50
      --methods zero -o quick
    """
    if figures:
        check_matplotlib()
    with progress_bar("localising") as progress:
        found = localise_run(
            model,
            run,
            base=base,
            probes=split_words(probe),
            priming=priming,
            n_pairs=n_pairs,
            methods=None if methods is None else split_words(methods),
            positions=positions,
            n_heads=n_heads,
            n_random=n_random,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            alpha=alpha,
            seed=seed,
            mode=mode,
            n_gpu_layers=n_gpu_layers,
            n_threads=n_threads,
            progress=progress,
        )
    found.write(out)
    if figures:
        write_figures(found, out)
    if as_json:
        print_json(_as_json(found, out))
    else:
        _print(found, out)


def _as_json(found: Localisation, out: Path) -> dict[str, Any]:
    tables: dict[str, Any] = {
        name: json.loads(found.tables[name].write_json())
        for name in ("figures", "head_map", "ablation")
        if name in found.tables
    }
    names = ("n_failures", "n_controls", "n_tested", "n_unaligned", "check")
    return {"out": str(out)} | {name: found.manifest[name] for name in names} | tables


def _print(found: Localisation, out: Path) -> None:
    counts = found.manifest
    typer.echo(
        f"{counts['n_failures']} failures, {counts['n_controls']} controls; persons not aligned in "
        f"{counts['n_unaligned']}"
    )
    moved = max(check["redecoding"] for check in counts["check"].values())
    typer.echo(f"decoding anew moves a margin by up to {moved:.1g}: what is less means nothing")
    if "figures" in found.tables:
        typer.echo()
        _print_figures(found.tables["figures"])
    if "head_map" in found.tables:
        typer.echo()
        _print_heads(found.tables["head_map"])
    if "ablation" in found.tables:
        typer.echo()
        _print_ablation(found.tables["ablation"])
    typer.echo(f"\ntables, figures and manifest in {out}")


def _print_figures(figures: pl.DataFrame) -> None:
    shown = figures.filter(pl.col("kind") == "failure", pl.col("value").is_not_null())
    rows = [
        (
            row["probe"] + ("" if row["model"] == "instruct" else f", {row['model']}"),
            row["measure"],
            _number(row["value"]),
            _interval(row),
        )
        for row in shown.iter_rows(named=True)
    ]
    print_table(("probe", "measure", "value", "interval"), rows)


def _print_heads(table: pl.DataFrame) -> None:
    shown = table.filter(pl.col("rank") <= _N_SHOWN, pl.col("method") == table["method"][0])
    rows = [
        (
            row["model"],
            row["method"],
            row["layer"],
            row["head"],
            _number(row["specificity"]),
            _interval(row),
            "yes" if row["passes"] else "no",
        )
        for row in shown.sort("model", "rank", descending=[True, False]).iter_rows(named=True)
    ]
    print_table(("model", "method", "layer", "head", "specificity", "interval", "passes"), rows)


def _print_ablation(table: pl.DataFrame) -> None:
    shown = table.filter(pl.col("measure").is_in(["mar", "recovery_rate", "kept"]))
    rows = [
        (
            row["set"],
            row["heads"],
            row["measure"],
            _number(row["before"]),
            _number(row["after"]),
            _interval(row),
        )
        for row in shown.iter_rows(named=True)
    ]
    print_table(("heads ablated", "which", "measure", "before", "after", "change"), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(row: dict[str, Any]) -> str:
    return "-" if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"
