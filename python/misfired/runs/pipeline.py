"""The stages in order: prompts, scores, outcomes, summary."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import ArgumentError
from misfired.options import takes_options
from misfired.prompts.neutral import neutral_facts, with_neutral
from misfired.prompts.prompt_set import N_SHARD, PromptSet
from misfired.prompts.shots import Shot, draw_shots
from misfired.runs.folder import RunFolder, pairs_sha256, read_answers, read_manifest
from misfired.scoring.backend import Backend, Counts, Row, drain, is_url
from misfired.scoring.llama.library import versions
from misfired.scoring.options import ScoringOptions, ServerOptions
from misfired.stats import summarize
from misfired.stats.options import ResamplingOptions
from misfired.stats.outcomes import OUTCOMES, build_outcomes

#: Called with (prompts done, prompts in all).
Progress = Callable[[int, int], None]

#: Options of a run that decide its summary.
_STATISTICS = ("n_resamples", "unit", "confidence_level")

#: Prompts, evenly spread over all, that a backend looks at before the first shard.
N_SAMPLE = 24


@dataclass(frozen=True)
class Scores:
    """Answers to every prompt, and how they were made.

    Attributes:
        answers: One row per prompt: `id`, `category`, `scenario`, `priming`, `condition`,
            `expected`, then `answer`, `outcome`, `reason`, `logp_yes`, `logp_no`, `logit_diff`,
            `mass`, `top_token`, `top_logp`, `n_prompt_tokens`.
        manifest: Model, suite, template, tokens, batch-invariance check, versions, times.
    """

    answers: pl.DataFrame
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run: its scores, and the summary with intervals."""

    scores: Scores
    summary: pl.DataFrame


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
    """Put every prompt of a suite to a model and read its answers.

    Args:
        model: A GGUF file, or the address of an OpenAI-compatible server (`http://HOST:PORT/v1`).
        pairs: Contrastive pairs, as `build_pairs` or `read_suite` give them.
        out: A run folder to keep the answers in and to resume from.
        ray: Address of a Ray cluster that is to do it, `local` for one on this machine.
        progress: Called after each batch.
        options: How to ask; see `misfired.scoring.options.ScoringOptions`.

    Returns:
        One answer per prompt, in the order of `build_prompts`.

    Raises:
        ModelError: The model cannot be loaded, or an answer form cannot be scored.
        TemplateError: No chat template, or one that cannot render a prompt.
        ArgumentError: An unknown name, or a prompt longer than the context.
        ServerError: The server cannot be reached, or refuses every request.
        RunFolderError: `out` cannot be written or was made with other settings.
    """
    asked = ScoringOptions.of(options)
    return _measure(model, pairs, asked, out=out, ray=ray, progress=progress).scores


@takes_options(ScoringOptions, ResamplingOptions)
def run(
    model: Path | str,
    pairs: pl.DataFrame,
    *,
    out: Path | str | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Score a suite and summarise it: `score`, then `summarize`.

    With `out`, a folder with `manifest.json`, `pairs.parquet`, `answers.parquet` and `summary.json` is
    left, and an interrupted run goes on where it was. Arguments and errors are those of `score` and
    `misfired.summarize`.
    """
    own = {name: options.pop(name) for name in _STATISTICS if name in options}
    asked = ScoringOptions.of(options)
    resampling = ResamplingOptions(**own, seed=asked.seed)
    statistics = {name: getattr(resampling, name) for name in _STATISTICS} | {"rng": asked.seed}
    return _measure(model, pairs, asked, statistics, out=out, ray=ray, progress=progress)


def _measure(
    model: Path | str,
    pairs: pl.DataFrame,
    options: ScoringOptions,
    statistics: dict[str, Any] | None = None,
    *,
    out: Path | str | None,
    ray: str | None,
    progress: Progress | None,
) -> Run:
    if pairs.is_empty():
        raise ArgumentError("the suite has no pairs")
    suite = pairs
    shots, pairs = draw_shots(
        suite, options.n_shots, seed=options.shots_seed, hold_out=options.hold_out
    )
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(contextlib.closing(_backend(model, options, ray, shots)))
        settings = _settings(backend, pairs, options, shots, statistics)
        folder = None if out is None else stack.enter_context(RunFolder(out, settings))
        if folder is not None and folder.complete and not _is_taken_up(folder, backend):
            scores = Scores(read_answers(folder.path), read_manifest(folder.path))
            return Run(scores, _summary(scores.answers, statistics))
        started = time.time()
        if folder is not None:
            folder.keep_pairs(pairs)
        pairs = with_neutral(pairs, options.primings, backend.count_tokens)
        prompts = PromptSet(pairs, options.primings)
        n_recorded = len(folder.recorded) if folder else 0
        answers, counts = _answer(backend, prompts, AnswerRecorder(folder, len(prompts), progress))
        summary = _summary(answers, statistics)
        times = {
            "started": started,
            "seconds": time.time() - started,
            "n_resumed_from": n_recorded,
            **counts.pop("times", {}),
        }
        manifest = {
            "settings": settings,
            "versions": versions(),
            **backend.facts(prompts, answers),
            **counts,
            "held_out": suite.join(pairs, on="id", how="anti")["id"].to_list(),
            **neutral_facts(pairs),
            "outcomes": _tally(answers),
            "times": times,
        }
        if folder is not None:
            rows = summary.to_dicts() if statistics is not None else None
            folder.finish(answers, manifest, rows)
        return Run(Scores(answers, manifest), summary)


def _backend(
    model: Path | str, options: ScoringOptions, ray: str | None, shots: Sequence[Shot]
) -> Backend:
    """Open the model. Backends are imported here: a server needs no llama.cpp, a file no HTTP."""
    if is_url(model):
        if ray is not None:
            raise ArgumentError("ray is for model files; a server does its own work")
        from misfired.scoring.server.backend import ServerBackend  # noqa: PLC0415

        return ServerBackend(str(model), options, shots)
    if given := options.given(ServerOptions):
        raise ArgumentError(f"{given[0]} must go with a server's http(s) address, got {model}")
    if ray is not None:
        from misfired.scoring.llama.ray import RayBackend  # noqa: PLC0415

        return RayBackend(model, options, ray, shots)
    from misfired.scoring.llama.backend import LocalBackend  # noqa: PLC0415

    return LocalBackend(model, options, shots)


def _is_taken_up(folder: RunFolder, backend: Backend) -> bool:
    """Whether a complete run is gone on with, since its errors may have passed."""
    return backend.errors_may_pass and folder.take_up_errors(list(backend.columns))


def _summary(answers: pl.DataFrame, statistics: dict[str, Any] | None) -> pl.DataFrame:
    return summarize(build_outcomes(answers), **(statistics or {}))


class AnswerRecorder:
    """Where answers come in: they are recorded and counted, from several threads at once if need be."""

    def __init__(self, folder: RunFolder | None, n_prompts: int, progress: Progress | None) -> None:
        self.recorded = folder.recorded if folder else {}
        self._folder, self._progress = folder, progress
        self._n_done, self._n_prompts = 0, n_prompts
        self._lock = threading.Lock()

    def take(self, n_known: int, fresh: dict[int, Row]) -> None:
        """Count answers that were known already and record others, by number of the prompt."""
        with self._lock:
            if self._folder is not None and fresh:
                self._folder.append(fresh.items())
            self._n_done += n_known + len(fresh)
            if self._progress is not None:
                self._progress(self._n_done, self._n_prompts)


def _answer(
    backend: Backend, prompts: PromptSet, desk: AnswerRecorder
) -> tuple[pl.DataFrame, Counts]:
    """Every answer in order, and the counts of all shards."""
    backend.open(prompts.spread(N_SAMPLE))

    def answer(index: int) -> tuple[pl.DataFrame, Counts]:
        return _answer_shard(backend, *prompts.shard(index), desk)

    shards = range(prompts.n_shards)
    if backend.n_parallel == 1:
        answered = [answer(index) for index in shards]
    else:
        with ThreadPoolExecutor(backend.n_parallel) as pool:
            answered = list(pool.map(answer, shards))
    counts: Counts = {}
    for _, more in answered:
        _add(counts, more)
    return pl.concat(frame for frame, _ in answered), counts


def _answer_shard(
    backend: Backend, first: int, shard: pl.DataFrame, desk: AnswerRecorder
) -> tuple[pl.DataFrame, Counts]:
    known = (number for number in range(len(shard)) if first + number in desk.recorded)
    measured: dict[int, Row] = {number: desk.recorded.pop(first + number) for number in known}
    desk.take(len(measured), {})

    def take(rows: list[tuple[int, Row]]) -> None:
        # What is recorded already is not written twice.
        fresh = {number: row for number, row in rows if number not in measured}
        measured.update(fresh)
        desk.take(0, {first + number: row for number, row in fresh.items()})

    counts = drain(backend.answer(shard, dict(measured)), take)
    # Of what a row holds the columns are taken, and not what it may be cached under.
    in_order = [measured[number] for number in range(len(shard))]
    columns = pl.DataFrame(in_order, schema=dict(backend.columns))
    return shard.drop("text", "system").hstack(columns), counts


def _add(total: Counts, more: Counts) -> None:
    for section, named in more.items():
        for name, number in named.items():
            total.setdefault(section, {}).setdefault(name, 0)
            total[section][name] += number


def _settings(
    backend: Backend,
    pairs: pl.DataFrame,
    options: ScoringOptions,
    shots: Sequence[Shot],
    statistics: dict[str, Any] | None,
) -> dict[str, Any]:
    settings = {
        "suite": ", ".join(pairs["suite"].unique().sort().to_list()),
        "suite_sha256": pairs_sha256(pairs),
        "n_pairs": len(pairs),
        "n_shard": N_SHARD,
        "primings": [priming.to_json() for priming in options.primings],
        "protocol": options.resolved_protocol.to_json(),
        "shots": _shots(options, shots),
        "seed": options.seed,
        **backend.settings(),
        "misfired": versions()["misfired"],
    }
    if statistics is not None:
        settings["statistics"] = {k: v for k, v in statistics.items() if k != "rng"}
    return settings


def _shots(options: ScoringOptions, shots: Sequence[Shot]) -> dict[str, Any] | None:
    """The demonstrations and how they were drawn, for the manifest."""
    if not shots:
        return None
    drawn = [asdict(shot) for shot in shots]
    return {"seed": options.shots_seed, "hold_out": options.hold_out, "demonstrations": drawn}


def _tally(answers: pl.DataFrame) -> dict[str, int]:
    found = dict(answers["outcome"].value_counts().iter_rows())
    return {outcome: int(found.get(outcome, 0)) for outcome in OUTCOMES}
