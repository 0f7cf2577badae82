"""The stages in order: prompts, scores, outcomes, summary."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.options import takes_options
from misfired.progress import Listener, listener
from misfired.prompts.neutral import with_neutral
from misfired.prompts.order import limit_pairs, pair_order
from misfired.prompts.prompt_set import PromptSet
from misfired.prompts.shots import Shot
from misfired.runs.analyses import Analyses, analyse
from misfired.runs.asking import Asking, Progress
from misfired.runs.finished import ANALYSES, SUMMARY
from misfired.runs.folder import RunFolder, read_answers, read_pairs
from misfired.runs.manifest import build_manifest, pairs_settings, run_settings
from misfired.runs.options import RunOptions, ScoreOptions
from misfired.runs.plan import plan_for
from misfired.scoring.backend import Backend, is_url
from misfired.scoring.environment import before_loading
from misfired.scoring.llama.guard import begin
from misfired.scoring.options import ScoringOptions, ServerOptions
from misfired.scoring.rows import RowCheck
from misfired.stats import summarize
from misfired.stats.boundary import mar_range
from misfired.stats.outcomes import build_outcomes
from misfired.suites.io import check_frame
from misfired.suites.twins import with_reading_check


@dataclass(frozen=True)
class Scores:
    """Answers to every prompt, and how they were made.

    Attributes:
        answers: One row per prompt: `id`, `category`, `scenario`, `priming`, `condition`,
            `expected`, then `answer`, `outcome`, `reason`, `logp_yes`, `logp_no`, `logit_diff`,
            `mass`, `top_token`, `top_logp`, `n_prompt_tokens`.
        manifest: `manifest.json`, described by `misfired.runs.manifest.MANIFEST_KEYS`.
    """

    answers: pl.DataFrame
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run: its scores, and what `build_outcomes`, `summarize` and `analyse` make of them."""

    scores: Scores
    outcomes: pl.DataFrame
    summary: pl.DataFrame
    analyses: Analyses


_Result = TypeVar("_Result", Scores, Run)

#: Columns of suites that no prompt needs.
_UNASKED = ("stereotyped_group", "contrast_group", "cue")

#: Makes the result of scores, and further files of the run folder: content for JSON by name.
_Finish = Callable[[Scores], tuple[_Result, dict[str, Any]]]


@takes_options(ScoreOptions)
def score(
    model: Path | str,
    pairs: pl.DataFrame,
    *,
    out: Path | str | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Scores:
    """Put every prompt of a suite to a model; return one answer per prompt, as `build_prompts` orders.

    Args:
        model: A GGUF file, `pypi:NAME` (one inside an installed package), or the address of an OpenAI-compatible server (`http://HOST:PORT/v1`).
        pairs: Contrastive pairs, as `build_pairs` or `read_suite` give them.
        out: A run folder, created if missing; an interrupted run resumes.
        ray: Address of a Ray cluster that does the work; `local` starts one on this machine.
        progress: Called after each batch with (prompts done, in all), or a `misfired.progress.Listener`.
        options: How to ask; see `misfired.runs.options.ScoreOptions`.

    Raises:
        ModelError: The model cannot be loaded, or an answer form cannot be scored.
        TemplateError: No chat template, or one that cannot render a prompt.
        ArgumentError: An unknown name, or a prompt longer than the context.
        ServerError: The server cannot be reached, or refuses every request.
        RunFolderError: `out` cannot be written or was made with other settings.
    """

    def finish(scores: Scores) -> tuple[Scores, dict[str, Any]]:
        return scores, {}

    asked = ScoreOptions.of(options)
    return _measure(model, pairs, asked, finish, out=out, ray=ray, progress=progress)


@takes_options(RunOptions)
def run(
    model: Path | str,
    pairs: pl.DataFrame,
    *,
    out: Path | str | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Score a suite and analyse the answers: `score`, then `summarize` and what the design allows.

    With `out`, the run folder keeps `manifest.json`, `pairs.parquet`, `answers.parquet`,
    `summary.json` and `analyses.json`; an interrupted run resumes. Arguments and errors are those of
    `score` and `misfired.summarize`.
    """
    asked = RunOptions.of(options)
    statistics = asked.statistics | {"rng": asked.seed}

    def finish(scores: Scores) -> tuple[Run, dict[str, Any]]:
        outcomes = build_outcomes(scores.answers)
        summary = summarize(outcomes, **statistics)
        analyses = analyse(scores.answers, outcomes, **statistics)
        tables = {SUMMARY: analyses.summary_rows(summary), ANALYSES: analyses.to_json()}
        return Run(scores, outcomes, summary, analyses), tables

    return _measure(model, pairs, asked, finish, out=out, ray=ray, progress=progress)


def _measure(
    model: Path | str,
    suite: pl.DataFrame,
    options: ScoreOptions,
    finish: _Finish[_Result],
    *,
    out: Path | str | None,
    ray: str | None,
    progress: Progress | None,
) -> _Result:
    """Score a suite, or read its answers from a complete run, and return what `finish` makes of them."""
    suite = check_frame(suite, "pairs", None, optional=_UNASKED).select(suite.columns)
    heard = _begun(model, ray, progress)
    shots, left = options.choose_shots(suite)
    pairs = limit_pairs(left, options.limit, seed=options.seed)
    if options.reading_check:
        pairs = with_reading_check(pairs, pair_order(left, seed=options.seed))
    plan = plan_for(pairs, options, _base(options, pairs))
    with contextlib.ExitStack() as stack:
        stack.callback(heard.end)
        backend = stack.enter_context(contextlib.closing(_backend(model, options, ray, shots)))
        heard.tell_new(backend.about())
        settings = run_settings(pairs, options, shots, backend.settings(), n_block=plan.n_block)
        check = RowCheck(options.resolved_protocol, server=is_url(model))
        folder = None if out is None else stack.enter_context(RunFolder(out, settings, plan, check))
        if folder is not None and folder.complete:
            retries = backend.errors_may_pass and folder.retry_errors()
            if not retries:
                return finish(Scores(read_answers(folder.path), folder.manifest))[0]
        started = time.time()
        if folder is not None:
            folder.keep_pairs(pairs)
        primed = with_neutral(pairs, options.primings, backend.count_tokens)
        n_recorded = len(folder.recorded) if folder else 0
        asking = Asking(backend, plan, primed, options.primings, folder, heard)
        heard.tell("pairs", asking.counted)
        asked, answers = asking.ask()
        if len(asked) < len(pairs):
            pairs = pairs.filter(pl.col("id").is_in(asked["id"].to_list()))
            settings |= pairs_settings(pairs)
        heard.stage("check")
        answers, facts = _concluded(backend, PromptSet(asked, options.primings), answers)
        manifest = build_manifest(
            settings,
            asked,
            answers,
            facts=facts | plan.told(),
            counts=asking.tallies,
            held_out=suite.join(left, on="id", how="anti")["id"],
            started=started,
            n_resumed_from=n_recorded,
        )
        heard.stage("statistics")
        result, tables = finish(Scores(answers, manifest))
        if folder is not None:
            folder.keep_pairs(pairs)
            folder.finish(answers, manifest, tables)
        return result


def _begun(model: Path | str, ray: str | None, progress: Progress | None) -> Listener:
    """Begin to try a model file, and return who listens to the run."""
    heard = listener(progress)
    heard.stage("loading")
    if ray is None and not is_url(model):
        begin(model)
    return heard


def _concluded(
    backend: Backend, prompts: PromptSet, answers: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the checked answers, and what the manifest tells of them."""
    from misfired.scoring.llama.library import versions  # noqa: PLC0415  as in `_backend`

    answers, facts = backend.conclude(prompts, answers)
    check = facts.get("batch_invariance")
    if check is not None and check["bound"] is None:
        check["mar_range"] = mar_range(answers, check["noise"])
    return answers, {"versions": versions(), **facts}


def _base(options: ScoreOptions, pairs: pl.DataFrame) -> pl.DataFrame | None:
    """Return the outcomes of the run that `against` names.

    Raises:
        DataError: It is not complete, or has other texts under the ids of these pairs.
    """
    if not isinstance(options, RunOptions) or options.against is None:
        return None
    outcomes = build_outcomes(read_answers(options.against))
    if Path(options.against).is_dir():
        texts = ["id", "stereotyped", "contrast", "expected_stereotyped", "expected_contrast"]
        own, other = pairs.select(texts), read_pairs(options.against).select(texts)
        both = own.join(other, on="id", how="semi")
        changed = both.join(other, on=texts, how="anti")["id"]
        if len(changed):
            raise DataError(
                f"{options.against}: pair {changed[0]!r} must have the texts of this suite"
            )
    return outcomes


def _backend(
    model: Path | str, options: ScoringOptions, ray: str | None, shots: Sequence[Shot]
) -> Backend:
    """Open the model; import its backend only now.

    A model file needs no HTTP client, and what llama.cpp's library reads as it loads is set before.
    """
    before_loading(options.precision)
    if is_url(model):
        if ray is not None:
            raise ArgumentError(f"ray must go with a model file, got {model}")
        from misfired.scoring.server.backend import ServerBackend  # noqa: PLC0415

        return ServerBackend(str(model), options, shots)
    if given := options.given(ServerOptions):
        raise ArgumentError(f"{given[0]} must go with a server's http(s) address, got {model}")
    if ray is not None:
        from misfired.scoring.llama.ray import RayBackend  # noqa: PLC0415

        return RayBackend(model, options, ray, shots)
    from misfired.scoring.llama.backend import LocalBackend  # noqa: PLC0415

    return LocalBackend(model, options, shots)
