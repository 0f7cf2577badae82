"""`misfired run` and `misfired score`: a model file in, answers and their rates out."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from misfired.cli import options
from misfired.cli.progress import progress_bar
from misfired.errors import ArgumentError
from misfired.prompts.primings import check_primings
from misfired.report.explain import explanation_lines
from misfired.report.run import run_json, run_report, scores_json, scores_report
from misfired.report.stats import ranking_table, variants_table
from misfired.report.table import text
from misfired.runs.many import run_many
from misfired.runs.pipeline import Progress, Run
from misfired.runs.pipeline import run as run_pipeline
from misfired.runs.pipeline import score as score_pipeline
from misfired.scoring.backend import is_url
from misfired.scoring.llama.explain import explain as explain_prompt
from misfired.scoring.protocol import get_protocol
from misfired.stats import compare_variants, leaderboard
from misfired.suites import build_pairs, read_suite

Out = Annotated[Path, typer.Option("-o", "--out", help="Run folder; made, or gone on with.")]


@options.asking
def run(
    models: options.Models,
    *,
    out: Out,
    bbq: options.Bbq = None,
    variant: options.Variant = None,
    suite: options.Suite = None,
    category: options.Category = None,
    limit: options.Limit = None,
    n_resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 10_000,
    unit: Annotated[str, typer.Option(help="What is resampled: scenario or pair.")] = "scenario",
    confidence_level: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.95,
    ray: options.Ray = None,
    as_json: options.Json = False,
    **asking: Any,
) -> None:
    """Measure models on pairs; print MAR with intervals.

    Leaves manifest.json, pairs.parquet, answers.parquet and summary.json in the run folder; of several
    models (and chat templates) each has a folder in it. The same command goes on where an interrupted run was.

    Examples:
      misfired run model.gguf --bbq BBQ/data -o runs/model

      misfired run base.gguf chat.gguf --suite pairs.parquet -o runs

      misfired run base.gguf --bbq BBQ/data --template plain -o runs/base --json

      misfired run base.gguf chat.gguf --suite pairs.parquet --template plain,chat.gguf -o runs

      misfired run model.gguf --bbq BBQ/data --variant paper,strict -o runs/both

      misfired run http://127.0.0.1:8000/v1 --suite pairs.parquet --protocol generate -o runs/s
    """
    variants = options.split_words(variant or "paper")
    answers = get_protocol(asking["protocol"]).answers
    suites = {
        name: choose_pairs(bbq, suite, category, limit, variant=variant and name, answers=answers)
        for name in variants
    }
    pairs = suites[variants[0]]
    asking["priming"] = primings(asking["priming"], pairs)
    asking |= {"n_resamples": n_resamples, "unit": unit, "confidence_level": confidence_level}
    if len(suites) > 1:
        _run_variants(models, suites, out, as_json=as_json, ray=ray, **asking)
        return
    templates = options.split_words(asking["template"] or "")
    if len(models) > 1 or len(templates) > 1:
        if len(templates) > 1:
            asking |= {"template": None, "templates": templates}
        _run_many(models, pairs, out, as_json=as_json, ray=ray, **asking)
        return
    with progress_bar("scoring") as progress:
        result = run_pipeline(models[0], pairs, out=out, ray=ray, progress=progress, **asking)
    if as_json:
        typer.echo(json.dumps(run_json(result, out)))
    else:
        typer.echo(run_report(result, out))


def _run_variants(
    models: list[str], suites: dict[str, pl.DataFrame], out: Path, *, as_json: bool, **rest: Any
) -> None:
    if len(models) > 1 or len(suites) > 2:
        raise ArgumentError("--variant sets two variants side by side, of one model")
    runs = {}
    for name, pairs in suites.items():
        with progress_bar(name) as progress:
            runs[name] = run_pipeline(models[0], pairs, out=out / name, progress=progress, **rest)
    statistics = {name: rest[name] for name in ("n_resamples", "confidence_level")}
    outcomes = [each.outcomes for each in runs.values()]
    compared = compare_variants(*outcomes, rng=rest["seed"], **statistics)
    if as_json:
        each = {name: run_json(one, out / name) for name, one in runs.items()}
        typer.echo(json.dumps({"variants": each, "comparison": compared.to_dicts()}))
        return
    first, second = runs
    typer.echo(text(variants_table(compared, (first, second))))
    typer.echo(f"runs   {out}/{{{first},{second}}}")


def _run_many(
    models: list[str], pairs: pl.DataFrame, out: Path, *, as_json: bool, **rest: Any
) -> None:
    with ExitStack() as stack:

        def bar(name: str) -> Progress:
            return stack.enter_context(progress_bar(name))

        results = run_many(models, pairs, out=out, progress=bar, **rest)
    runs = {name: each for name, each in results.items() if isinstance(each, Run)}
    if as_json:
        for name, each in runs.items():
            typer.echo(json.dumps(run_json(each, out / name)))
    elif runs:
        outcomes = {name: each.outcomes for name, each in runs.items()}
        statistics = {name: rest[name] for name in ("n_resamples", "unit", "confidence_level")}
        for priming in (one.name for one in check_primings(rest["priming"])):
            ranked = leaderboard(outcomes, priming=priming, rng=rest["seed"], **statistics)
            typer.echo(text(ranking_table(ranked, f"MAR, priming {priming}")) + "\n")
        typer.echo(
            f"runs   {out}/" + (f"{{{','.join(runs)}}}" if len(runs) > 1 else next(iter(runs)))
        )
    failed = {name: each for name, each in results.items() if not isinstance(each, Run)}
    for error in failed.values():
        typer.echo(f"error: {error}", err=True)
    if failed:
        raise typer.Exit(1)


@options.asking
def score(
    model: options.ModelName,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder; made, or gone on with.")
    ] = None,
    bbq: options.Bbq = None,
    variant: options.Variant = None,
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
    """Score a suite and leave the answers in a run folder.

    Examples:
      misfired score model.gguf --suite pairs.parquet -o runs/model

      misfired score model.gguf --suite pairs.parquet --explain
    """
    answers = get_protocol(asking["protocol"]).answers
    pairs = choose_pairs(bbq, suite, category, limit, variant=variant, answers=answers)
    asking["priming"] = primings(asking["priming"], pairs)
    if explain and is_url(model):
        raise ArgumentError("--explain shows tokens, of which a server tells nothing")
    if explain:
        shown = explain_prompt(model, pairs, **asking)
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
        typer.echo(json.dumps(scores_json(scores, out)))
    else:
        typer.echo(scores_report(scores, out))


def choose_pairs(
    bbq: Path | None,
    suite: Path | None,
    category: list[str] | None,
    limit: int | None,
    *,
    variant: str | None = None,
    answers: Collection[str] | None = None,
) -> pl.DataFrame:
    """The pairs that the options name.

    Raises:
        ArgumentError: Neither or both sources were named, or no pair is left.
    """
    if bbq is not None and suite is None:
        pairs = build_pairs(bbq, categories=category, variant=variant or "paper")
    elif suite is None or bbq is not None:
        raise ArgumentError("name the pairs: either --bbq DIR or --suite FILE")
    elif variant is not None:
        raise ArgumentError("--variant is for pairs that are built: name --bbq DIR")
    else:
        pairs = read_suite(suite, answers=answers)
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
