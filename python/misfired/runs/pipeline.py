"""The stages in order: prompts, scores, outcomes, summary."""

import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from misfired.errors import ArgumentError
from misfired.options import takes_options
from misfired.prompts.neutral import with_neutral
from misfired.prompts.prompt_set import PromptSet
from misfired.prompts.shots import Shot, draw_shots
from misfired.runs.analyses import Analyses, analyse
from misfired.runs.folder import ANALYSES, SUMMARY, RunFolder, read_answers
from misfired.runs.manifest import build_manifest, run_settings
from misfired.runs.options import RunOptions
from misfired.scoring.backend import Backend, Row, Tallies, drain, is_url
from misfired.scoring.environment import before_loading
from misfired.scoring.options import ScoringOptions, ServerOptions
from misfired.stats import summarize
from misfired.stats.outcomes import build_outcomes

#: Called with (prompts done, prompts in all).
Progress = Callable[[int, int], None]

#: Prompts, evenly spread over all, that a backend looks at before the first shard.
N_SAMPLE = 24


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

#: Makes the result of scores, and further files of the run folder: content for JSON by name.
_Finish = Callable[[Scores], tuple[_Result, dict[str, Any]]]


@takes_options(ScoringOptions)
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
        progress: Called after each batch.
        options: How to ask; see `misfired.scoring.options.ScoringOptions`.

    Raises:
        ModelError: The model cannot be loaded, or an answer form cannot be scored.
        TemplateError: No chat template, or one that cannot render a prompt.
        ArgumentError: An unknown name, or a prompt longer than the context.
        ServerError: The server cannot be reached, or refuses every request.
        RunFolderError: `out` cannot be written or was made with other settings.
    """

    def finish(scores: Scores) -> tuple[Scores, dict[str, Any]]:
        return scores, {}

    asked = ScoringOptions.of(options)
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
        tables = {SUMMARY: summary.to_dicts(), ANALYSES: analyses.to_json()}
        return Run(scores, outcomes, summary, analyses), tables

    return _measure(model, pairs, asked, finish, out=out, ray=ray, progress=progress)


def _measure(
    model: Path | str,
    suite: pl.DataFrame,
    options: ScoringOptions,
    finish: _Finish[_Result],
    *,
    out: Path | str | None,
    ray: str | None,
    progress: Progress | None,
) -> _Result:
    """Score a suite, or read its answers from a complete run, and return what `finish` makes of them."""
    if suite.is_empty():
        raise ArgumentError("the suite has no pairs")
    shots, pairs = draw_shots(
        suite, options.n_shots, seed=options.shots_seed, hold_out=options.hold_out
    )
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(contextlib.closing(_backend(model, options, ray, shots)))
        settings = run_settings(pairs, options, shots, backend.settings())
        folder = None if out is None else stack.enter_context(RunFolder(out, settings))
        if folder is not None and folder.complete:
            retries = backend.errors_may_pass and folder.retry_errors(list(backend.columns))
            if not retries:
                return finish(Scores(read_answers(folder.path), folder.manifest))[0]
        from misfired.scoring.llama.library import versions  # noqa: PLC0415  as in `_backend`

        started = time.time()
        if folder is not None:
            folder.keep_pairs(pairs)
        primed = with_neutral(pairs, options.primings, backend.count_tokens)
        prompts = PromptSet(primed, options.primings)
        n_recorded = len(folder.recorded) if folder else 0
        answers, counts = _answer(backend, prompts, folder, progress)
        manifest = build_manifest(
            settings,
            primed,
            answers,
            facts={"versions": versions(), **backend.facts(prompts, answers)},
            counts=counts,
            held_out=suite.join(pairs, on="id", how="anti")["id"],
            started=started,
            n_resumed_from=n_recorded,
        )
        result, tables = finish(Scores(answers, manifest))
        if folder is not None:
            folder.finish(answers, manifest, tables)
        return result


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


def _answer(
    backend: Backend, prompts: PromptSet, folder: RunFolder | None, progress: Progress | None
) -> tuple[pl.DataFrame, Tallies]:
    """Return every answer in order, and the counts of all shards."""
    backend.open(prompts.spread(N_SAMPLE))
    recorded = folder.recorded if folder else {}
    lock, n_done = threading.Lock(), 0

    def record(fresh: dict[int, Row], n_known: int = 0) -> None:
        # Shards are answered in threads.
        nonlocal n_done
        with lock:
            if folder is not None and fresh:
                folder.append(fresh.items())
            n_done += n_known + len(fresh)
            if progress is not None:
                progress(n_done, len(prompts))

    def answer(index: int) -> tuple[pl.DataFrame, Tallies]:
        return _answer_shard(backend, *prompts.shard(index), recorded, record)

    shards = range(prompts.n_shards)
    if backend.n_parallel == 1:
        answered = list(map(answer, shards))
    else:
        with ThreadPoolExecutor(backend.n_parallel) as pool:
            answered = list(pool.map(answer, shards))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for section, named in chain.from_iterable(tallies.items() for _, tallies in answered):
        counts[section].update(named)
    answers = pl.concat(frame for frame, _ in answered)
    return answers, {section: dict(named) for section, named in counts.items()}


def _answer_shard(
    backend: Backend,
    first: int,
    shard: pl.DataFrame,
    recorded: dict[int, Row],
    record: Callable[..., None],
) -> tuple[pl.DataFrame, Tallies]:
    """Return answers and counts of a shard; number `first` of the run's prompts is its first."""
    numbers = range(len(shard))
    known = [number for number in numbers if first + number in recorded]
    measured: dict[int, Row] = {number: recorded.pop(first + number) for number in known}
    record({}, len(known))

    def take(rows: list[tuple[int, Row]]) -> None:
        # What is recorded already is not written twice.
        fresh = {number: row for number, row in rows if number not in measured}
        measured.update(fresh)
        record({first + number: row for number, row in fresh.items()})

    counts = drain(backend.answer(shard, dict(measured)), take)
    # Rows also hold their keys in the cache, which are no columns.
    rows = [measured[number] for number in numbers]
    columns = pl.DataFrame(rows, schema=dict(backend.columns))
    return shard.drop("text", "system").hstack(columns), counts
