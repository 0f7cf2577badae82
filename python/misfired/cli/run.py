"""`misfired run` and `misfired score`: a model file in, answers and their rates out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console

from misfired.cli import options
from misfired.cli.progress import progress_bar
from misfired.errors import ArgumentError
from misfired.pipeline import Run, Scores
from misfired.pipeline import run as run_pipeline
from misfired.pipeline import score as score_pipeline
from misfired.report.terminal import explanation_lines, run_report, scores_report
from misfired.scoring.explain import explain as explain_prompt
from misfired.suites import build_pairs, read_suite

Out = Annotated[Path, typer.Option("-o", "--out", help="Run folder; made, or gone on with.")]


@options.asking
def run(
    model: options.ModelFile,
    *,
    out: Out,
    bbq: options.Bbq = None,
    suite: options.Suite = None,
    category: options.Category = None,
    limit: options.Limit = None,
    n_resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 10_000,
    unit: Annotated[str, typer.Option(help="What is resampled: scenario or pair.")] = "scenario",
    confidence_level: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.95,
    as_json: options.Json = False,
    **asking: Any,
) -> None:
    """Measure a model: build or read pairs, score them, print MAR with intervals.

    Leaves manifest.json, answers.parquet and summary.json in the run folder. The same command goes
    on where an interrupted run was.

    Examples:
      misfired run model.gguf --bbq BBQ/data -o runs/model

      misfired run model.gguf --suite pairs.parquet --priming none --limit 200 -o runs/quick

      misfired run base.gguf --bbq BBQ/data --template plain -o runs/base --json
    """
    pairs = choose_pairs(bbq, suite, category, limit)
    asking["priming"] = primings(asking["priming"], pairs)
    with progress_bar("scoring") as progress:
        result = run_pipeline(
            model,
            pairs,
            out=out,
            n_resamples=n_resamples,
            unit=unit,
            confidence_level=confidence_level,
            progress=progress,
            **asking,
        )
    if as_json:
        typer.echo(json.dumps(_run_json(result, out)))
    else:
        Console(highlight=False).print(*run_report(result, out), sep="\n")


@options.asking
def score(
    model: options.ModelFile,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder; made, or gone on with.")
    ] = None,
    bbq: options.Bbq = None,
    suite: options.Suite = None,
    category: options.Category = None,
    limit: options.Limit = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show how the first pair is put and read; score no other."),
    ] = False,
    as_json: options.Json = False,
    **asking: Any,
) -> None:
    """Score a suite and leave the answers in a run folder, for `misfired stats` to read.

    Examples:
      misfired score model.gguf --suite pairs.parquet -o runs/model

      misfired score model.gguf --suite pairs.parquet --explain
    """
    pairs = choose_pairs(bbq, suite, category, limit)
    asking["priming"] = primings(asking["priming"], pairs)
    if explain:
        shown = explain_prompt(
            model,
            pairs.head(1),
            **{name: asking[name] for name in ("protocol", "template", "n_gpu_layers")},
        )
        typer.echo(json.dumps(shown) if as_json else "\n".join(explanation_lines(shown)))
        return
    if out is None:
        raise ArgumentError("score needs a run folder: -o RUN (or --explain)")
    with progress_bar("scoring") as progress:
        scores = score_pipeline(
            model,
            pairs,
            out=out,
            progress=progress,
            **asking,
        )
    if as_json:
        typer.echo(json.dumps(_scores_json(scores, out)))
    else:
        Console(highlight=False).print(*scores_report(scores, out), sep="\n")


def choose_pairs(
    bbq: Path | None, suite: Path | None, category: list[str] | None, limit: int | None
) -> pl.DataFrame:
    """The pairs that the options name.

    Raises:
        ArgumentError: Neither or both sources were named, or no pair is left.
    """
    if bbq is not None and suite is None:
        pairs = build_pairs(bbq, categories=category)
    elif suite is None or bbq is not None:
        raise ArgumentError("name the pairs: either --bbq DIR or --suite FILE")
    else:
        pairs = read_suite(suite)
        known = pairs["category"].unique().sort().to_list()
        for name in category or []:
            if name not in known:
                raise ArgumentError(f"{suite}: no category {name!r}; it has {', '.join(known)}")
        if category:
            pairs = pairs.filter(pl.col("category").is_in(category))
    return pairs if limit is None else _spread(pairs, limit)


def primings(named: str | None, pairs: pl.DataFrame) -> list[str]:
    """The primings that the option names, or else those that the suite has sentences for."""
    if named is not None:
        return options.split_words(named)
    return ["none", "cue"] if "cue" in pairs.columns else ["none"]


def _spread(pairs: pl.DataFrame, limit: int) -> pl.DataFrame:
    """At most `limit` pairs at even distances, each with its twin if it has one."""
    twin_of = pl.col("twin_of") if "twin_of" in pairs.columns else pl.lit(None, pl.String)
    first = pairs.filter(twin_of.is_null())["id"]
    n = min(limit, len(first))
    kept = first.gather([place * len(first) // n for place in range(n)]).to_list()
    return pairs.filter(pl.coalesce(twin_of, pl.col("id")).is_in(kept))


def _scores_json(scores: Scores, out: Path) -> dict[str, Any]:
    return {"run": str(out), "outcomes": scores.manifest["outcomes"]}


def _run_json(result: Run, out: Path) -> dict[str, Any]:
    return {**_scores_json(result.scores, out), "summary": result.summary.to_dicts()}
