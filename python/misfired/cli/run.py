"""`misfired run` and `misfired score`: a model file in, answers and their rates out."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from typer import Argument, Exit, Option

from misfired.cli.options import Json, split_words, takes
from misfired.cli.output import echo, echo_data, echo_error
from misfired.cli.progress import progress_shown
from misfired.errors import ArgumentError
from misfired.options import Options, option
from misfired.prompts.primings import check_primings, default_primings
from misfired.runs.options import EndingOptions, LimitOptions, RunOptions, ScoreOptions
from misfired.scoring.backend import is_url
from misfired.scoring.protocol import get_protocol
from misfired.text import LONGEST_MESSAGE, shown

_ADDRESS = "a server's address: http(s)://HOST[:PORT]/v1."
_OUT = "Run folder. Created if missing; an interrupted run resumes."
_RAY = "Address of a Ray cluster that does the work; local starts one."
_UNSET = {"priming": "none, and cue where the suite has one"}


@dataclass(frozen=True, kw_only=True)
class PairsOptions(Options):
    """Which pairs are measured."""

    bbq: Path | None = option(None, help="Build the pairs from BBQ's files in this folder.")
    suite: Path | None = option(None, help="Read the pairs: .parquet, .jsonl or .csv.")
    variant: str | None = option(
        None, help="Rules for BBQ: paper or strict; `run` compares paper,strict. Default: paper."
    )
    category: list[str] | None = option(
        None, help="Only this category; may be repeated.", metavar="NAME"
    )

    def check_together(self) -> None:
        """Refuse no source of pairs and two."""
        if (self.bbq is None) == (self.suite is None):
            raise ArgumentError("name the pairs: either --bbq DIR or --suite FILE")
        if self.bbq is None and self.variant is not None:
            raise ArgumentError("--variant is for pairs that are built: name --bbq DIR")


@takes(PairsOptions, RunOptions, unset=_UNSET)
def run(
    models: list[str] = Argument(
        metavar="MODELS", help=f"GGUF model files, pypi:PACKAGE, or {_ADDRESS}"
    ),
    *,
    out: Path = Option(..., "-o", "--out", help=_OUT),
    as_json: Json = False,
    ray: str | None = Option(None, help=_RAY, rich_help_panel="Devices"),
    **options: Any,
) -> None:
    """Measure models on pairs; print MAR with intervals.

    Writes manifest.json, pairs.parquet, answers.parquet and summary.json to the run folder. Several
    models or chat templates get a folder each in it. The same command resumes an interrupted run.

    Examples:
      misfired run model.gguf --bbq BBQ -o runs/model
      misfired run base.gguf chat.gguf --suite pairs.parquet -o runs
      misfired run base.gguf --suite pairs.parquet --template plain -o runs/base
      misfired run m.gguf --suite pairs.parquet --template plain,x.jinja -o runs
      misfired run model.gguf --bbq BBQ --variant paper,strict -o runs/both
      misfired run http://127.0.0.1:8000/v1 --suite pairs.parquet -o runs/server
    """
    _begin(models[0], ray)
    from misfired.runs.pipeline import run as run_pipeline

    suites = _chosen(options, several=True)
    pairs = next(iter(suites.values()))
    templates = split_words(options["template"] or "")
    if len(suites) > 1:
        _run_variants(models, suites, out, as_json=as_json, ray=ray, **options)
    elif len(models) > 1 or len(templates) > 1:
        if len(templates) > 1:
            options |= {"template": None, "templates": templates}
        _run_many(models, pairs, out, as_json=as_json, ray=ray, **options)
    else:
        with progress_shown() as told:
            options |= {"out": out, "ray": ray, "progress": told("")}
            done = run_pipeline(models[0], pairs, **options)
        from misfired.report.run import run_json, run_report

        if as_json:
            echo_data(json.dumps(run_json(done, out)))
        else:
            echo(run_report(done, out))
        _check_answered({out: done.scores.answers})


def _check_answered(runs: Mapping[Path, pl.DataFrame]) -> None:
    """End with exit code 1, and a line for each run, if no prompt of it has an answer."""
    nothing = {}
    for out, answers in runs.items():
        outcomes = answers["outcome"]
        if (outcomes == "error").all():
            nothing[out] = f"all {len(outcomes)} answers are errors, the first: "
            nothing[out] += shown(answers["reason"][0])
    for out, problem in nothing.items():
        echo_error(f"error: {shown(out)}: {problem}")
    if nothing:
        raise Exit(1)


def _begin(model: str, ray: str | None = None) -> None:
    """Begin to try a model file in a process of its own, while this one still imports and reads."""
    from misfired.scoring.llama.guard import begin

    if ray is None and not is_url(model):
        begin(model)


def _chosen(options: dict[str, Any], *, several: bool = False) -> dict[str, pl.DataFrame]:
    """Return the pairs by variant; remove their options, and set primings by the first suite."""
    chosen = PairsOptions.take(options)
    for part in (LimitOptions, EndingOptions):
        # A wrong value is named before the pairs are read.
        part(**{name: options[name] for name in part.panels() if name in options})
    answers = get_protocol(options["protocol"]).answers
    variant = chosen.variant or "paper"
    names = split_words(variant) if several else [variant]
    suites = {name: choose_pairs(chosen, name, answers=answers) for name in names}
    options["priming"] = options["priming"] or default_primings(suites[names[0]])
    return suites


def _run_variants(
    models: list[str], suites: dict[str, pl.DataFrame], out: Path, *, as_json: bool, **rest: Any
) -> None:
    from misfired.report.run import run_json
    from misfired.report.stats import variants_table
    from misfired.report.table import paragraph, text
    from misfired.report.verdict import verdict_sentences
    from misfired.runs.pipeline import run as run_pipeline
    from misfired.stats import compare_variants

    if len(models) > 1 or len(suites) > 2:
        raise ArgumentError("--variant compares two variants with one model")
    with progress_shown() as told:
        runs = {
            name: run_pipeline(models[0], pairs, out=out / name, progress=told(name), **rest)
            for name, pairs in suites.items()
        }
    statistics = {name: rest[name] for name in ("n_resamples", "confidence_level")}
    outcomes = [each.outcomes for each in runs.values()]
    compared = compare_variants(*outcomes, rng=rest["seed"], **statistics)
    if as_json:
        each = {name: run_json(one, out / name) for name, one in runs.items()}
        echo_data(json.dumps({"variants": each, "comparison": compared.to_dicts()}))
    else:
        first, second = runs
        for name, one in runs.items():
            echo("\n".join([name, *map(paragraph, verdict_sentences(one.analyses.verdict)), ""]))
        echo(text(variants_table(compared, (first, second))))
        echo(f"runs   {shown(out)}/{{{first},{second}}}")
    _check_answered({out / name: one.scores.answers for name, one in runs.items()})


def _run_many(
    models: list[str], pairs: pl.DataFrame, out: Path, *, as_json: bool, **rest: Any
) -> None:
    from misfired.report.run import run_json
    from misfired.report.stats import ranking_tables
    from misfired.report.table import text
    from misfired.runs.many import run_many
    from misfired.runs.pipeline import Run
    from misfired.stats import leaderboard

    with progress_shown() as told:
        results = run_many(models, pairs, out=out, progress=told, **rest)
    runs = {name: each for name, each in results.items() if isinstance(each, Run)}
    if as_json:
        for name, each in runs.items():
            echo_data(json.dumps(run_json(each, out / name)))
    elif runs:
        answers = {name: each.scores.answers for name, each in runs.items()}
        statistics = {name: rest[name] for name in ("unit", "confidence_level")}
        for priming in (one.name for one in check_primings(rest["priming"])):
            ranked = leaderboard(answers, priming=priming, **statistics)
            tables = ranking_tables(ranked, f"MAR, priming {priming}")
            echo("\n".join(map(text, tables)) + "\n")
        names = ",".join(map(shown, runs))
        echo(f"runs   {shown(out)}/" + (f"{{{names}}}" if len(runs) > 1 else names))
    failed = [each for each in results.values() if not isinstance(each, Run)]
    for error in failed:
        echo_error(f"error: {shown(error, LONGEST_MESSAGE)}")
    _check_answered({out / name: each.scores.answers for name, each in runs.items()})
    if failed:
        raise Exit(1)


@takes(PairsOptions, ScoreOptions, unset=_UNSET)
def score(
    model: str = Argument(metavar="MODEL", help=f"A GGUF model file, pypi:PACKAGE, or {_ADDRESS}"),
    *,
    out: Path | None = Option(None, "-o", "--out", help=_OUT),
    explain: bool = Option(
        False, "--explain", help="Show how the first pair is put and read; score no other."
    ),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Score a suite and leave the answers in a run folder.

    Examples:
      misfired score model.gguf --suite pairs.parquet -o runs/model
      misfired score model.gguf --suite pairs.parquet --explain
    """
    _begin(model)
    from misfired.report.explain import explanation_lines
    from misfired.report.run import scores_json, scores_report
    from misfired.runs.pipeline import score as score_pipeline
    from misfired.scoring.llama.explain import explain as explain_prompt

    (pairs,) = _chosen(options).values()
    if explain and is_url(model):
        raise ArgumentError("--explain must have a model file, a server gives no tokens")
    if explain:
        del options["limit"]
        explained = explain_prompt(model, pairs, **options)
        if as_json:
            echo_data(json.dumps(explained))
        else:
            echo("\n".join(explanation_lines(explained)))
    elif out is None:
        raise ArgumentError("score needs a run folder: -o RUN (or --explain)")
    else:
        with progress_shown() as told:
            scores = score_pipeline(model, pairs, out=out, progress=told(""), **options)
        if as_json:
            echo_data(json.dumps(scores_json(scores, out)))
        else:
            echo(scores_report(scores, out))
        _check_answered({out: scores.answers})


def choose_pairs(
    options: PairsOptions, variant: str = "paper", *, answers: Collection[str] | None = None
) -> pl.DataFrame:
    """Return the pairs that the options name.

    Raises:
        ArgumentError: A category is not in the suite.
    """
    from misfired.suites import build_pairs, read_suite

    wanted = options.category or []
    if options.bbq is not None:
        pairs = build_pairs(options.bbq, categories=options.category, variant=variant)
    else:
        pairs = read_suite(str(options.suite), answers=answers)
        known = pairs["category"].unique().sort().to_list()
        if unknown := [name for name in wanted if name not in known]:
            listed = ", ".join(known)
            raise ArgumentError(f"{options.suite}: no category {unknown[0]!r}; it has {listed}")
        if wanted:
            pairs = pairs.filter(pl.col("category").is_in(wanted))
    return pairs
