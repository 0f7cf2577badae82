"""The stages in order: prompts, scores, outcomes, summary."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import polars as pl

from misfired.errors import ArgumentError
from misfired.outcomes import OUTCOMES, build_outcomes
from misfired.prompts import build_prompts, check_primings
from misfired.runs import RunFolder, read_answers, read_manifest
from misfired.scoring.answers import measured_columns
from misfired.scoring.engine import (
    Engine,
    Job,
    Settings,
    calibrate,
    open_context,
    prepare,
    without_text,
)
from misfired.scoring.generate import TextEngine, engine_for
from misfired.scoring.library import versions
from misfired.scoring.model import MODES, Mode, Model, default_threads, file_sha256
from misfired.scoring.protocol import LOGIT, Protocol, get_protocol
from misfired.scoring.selfcheck import check_invariance, choose_packing
from misfired.scoring.template import ChatTemplate, template_for
from misfired.scoring.tokens import PromptTokenizer
from misfired.stats import summarize

#: Called with (prompts done, prompts in all).
Progress = Callable[[int, int], None]


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


@dataclass(frozen=True)
class Asking:
    """How a model is asked; together with model and suite it decides every answer."""

    primings: tuple[str, ...] = ("none",)
    protocol: Protocol = LOGIT
    template: str | None = None
    settings: Settings = field(default_factory=Settings)
    n_gpu_layers: int = 0
    seed: int = 0


def score(
    model: Path | str,
    pairs: pl.DataFrame,
    *,
    priming: Sequence[str] = ("none",),
    protocol: str | Protocol = "logit",
    template: str | None = None,
    mode: str = "exact",
    n_gpu_layers: int = 0,
    n_threads: int | None = None,
    n_ctx: int | None = None,
    n_batch: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Put every prompt of a suite to a model and read its answers.

    Args:
        model: A GGUF file.
        pairs: Contrastive pairs, as `build_pairs` or `read_suite` give them.
        priming: Names from `misfired.prompts.PRIMINGS`; `none` is added where a priming needs it.
        protocol: A name that `misfired.scoring.protocol.PROTOCOLS` lists, the path of a TOML file,
            or a `Protocol`.
        template: None for the model's own chat template, `plain`, or a Jinja file.
        mode: `exact` (f32 K/V cache, no flash attention: a score does not depend on the batch
            beyond float rounding) or `fast` (f16 cache, flash attention where possible).
        n_gpu_layers: Layers to offload; -1 offloads all.
        n_threads: CPU threads; all cores by default.
        n_ctx: Cells of the K/V cache; by default as many as the longest prompt and a batch need.
        n_batch: Tokens a batch.
        seed: Chooses the prompts of the batch-invariance check.
        out: A run folder to keep the answers in and to resume from.
        progress: Called after each batch.

    Returns:
        One answer per prompt, in the order of `build_prompts`.

    Raises:
        ModelError: The model cannot be loaded, or an answer form cannot be scored.
        TemplateError: No chat template, or one that cannot render a prompt.
        ArgumentError: An unknown name, or a prompt longer than the context.
        RunFolderError: `out` cannot be written or was made with other settings.
    """
    asking = _asking(
        priming=priming,
        protocol=protocol,
        template=template,
        settings=_settings_of(mode, n_ctx, n_batch, n_threads),
        n_gpu_layers=n_gpu_layers,
        seed=seed,
    )
    return _score(Path(model), pairs, asking, out=out, progress=progress).scores


def run(
    model: Path | str,
    pairs: pl.DataFrame,
    *,
    out: Path | str | None = None,
    n_resamples: int = 10_000,
    unit: str = "scenario",
    confidence_level: float = 0.95,
    priming: Sequence[str] = ("none",),
    protocol: str | Protocol = "logit",
    template: str | None = None,
    mode: str = "exact",
    n_gpu_layers: int = 0,
    n_threads: int | None = None,
    n_ctx: int | None = None,
    n_batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Run:
    """Score a suite and summarise it: `score`, then `summarize`.

    With `out`, a folder with `manifest.json`, `answers.parquet` and `summary.json` is left, and an
    interrupted run goes on where it was. Arguments and errors are those of `score` and
    `misfired.summarize`.
    """
    asking = _asking(
        priming=priming,
        protocol=protocol,
        template=template,
        settings=_settings_of(mode, n_ctx, n_batch, n_threads),
        n_gpu_layers=n_gpu_layers,
        seed=seed,
    )
    statistics = {
        "n_resamples": n_resamples,
        "unit": unit,
        "confidence_level": confidence_level,
        "rng": seed,
    }
    return _score(Path(model), pairs, asking, out=out, statistics=statistics, progress=progress)


def _settings_of(
    mode: str, n_ctx: int | None, n_batch: int | None, n_threads: int | None
) -> Settings:
    if mode not in MODES:
        raise ArgumentError(f"mode is {mode!r}, not one of {', '.join(MODES)}")
    for name, value in {"n_threads": n_threads, "n_ctx": n_ctx, "n_batch": n_batch}.items():
        if value is not None and value < 1:
            raise ArgumentError(f"{name} is {value}, at least 1 needed")
    return Settings(cast("Mode", mode), n_ctx, n_batch, n_threads)


def _asking(*, priming: Sequence[str], protocol: str | Protocol, **rest: Any) -> Asking:
    if isinstance(protocol, str):
        protocol = get_protocol(protocol)
    return Asking(primings=check_primings(priming), protocol=protocol, **rest)


def _score(
    path: Path,
    pairs: pl.DataFrame,
    asking: Asking,
    *,
    out: Path | str | None = None,
    statistics: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Run:
    prompts = build_prompts(pairs, asking.primings)
    with Model(path, asking.n_gpu_layers) as model:
        template = template_for(model, asking.template)
        settings = _settings(model, pairs, asking, template, statistics)
        with contextlib.ExitStack() as stack:
            folder = None if out is None else stack.enter_context(RunFolder(out, settings))
            if folder is not None and folder.complete:
                return _read(folder.path, statistics)
            return _measure(
                model,
                prompts,
                asking,
                template,
                settings=settings,
                folder=folder,
                statistics=statistics,
                progress=progress,
            )


def _read(path: Path, statistics: dict[str, Any] | None) -> Run:
    scores = Scores(read_answers(path), read_manifest(path))
    return Run(scores, summarize(build_outcomes(scores.answers), **(statistics or {})))


def _measure(
    model: Model,
    prompts: pl.DataFrame,
    asking: Asking,
    template: ChatTemplate,
    *,
    settings: dict[str, Any],
    folder: RunFolder | None,
    statistics: dict[str, Any] | None,
    progress: Progress | None,
) -> Run:
    started = time.time()
    tokenizer = PromptTokenizer(model.tokenizer, template, asking.protocol)
    job = prepare(tokenizer, *_columns(prompts))
    measured = dict(folder.recorded) if folder else {}
    n_recorded = len(measured)
    with open_context(model, job, asking.settings) as context:
        job = calibrate(model, context, job)
        packing = choose_packing(model, context, job, asking.settings.mode)
        engine = engine_for(
            model, context, job, packing=packing["packing"], noise=packing["max_difference"] or 0.0
        )
        _drain(engine, job, measured, folder, progress)
        check = check_invariance(model, context, job, measured, seed=asking.seed)
        n_decoded = engine.scorer.n_decoded_tokens
    answers = _frame(prompts, measured, asking.protocol)
    summary = summarize(build_outcomes(answers), **(statistics or {}))
    manifest = {
        "settings": settings,
        "versions": versions(),
        "n_threads": asking.settings.n_threads or default_threads(),
        "model": {
            "path": str(model.path),
            "description": model.description,
            "metadata": model.metadata,
        },
        "example_prompt": _example(tokenizer, prompts),
        "answer_tokens": _answer_tokens(model, job),
        "tokens": {
            "in_prompts": sum(job.n_prompt_tokens),
            "distinct": engine.scorer.n_distinct_tokens,
        },
        "joined_across_the_answer": _n_joined(job),
        "packing": packing,
        "batch_invariance": check,
        "outcomes": _tally(answers),
        "times": {
            "started": started,
            "seconds": time.time() - started,
            "n_resumed_from": n_recorded,
            "n_decoded_tokens": n_decoded,
        },
    }
    if folder is not None:
        rows = summary.to_dicts() if statistics is not None else None
        folder.finish(answers, manifest, rows)
    return Run(Scores(answers, manifest), summary)


def _drain(
    engine: Engine | TextEngine,
    job: Job,
    measured: dict[int, dict[str, Any]],
    folder: RunFolder | None,
    progress: Progress | None,
) -> None:
    """Run every block that is not recorded whole; what is recorded already is not written twice."""

    def take(rows: list[tuple[int, dict[str, Any]]]) -> None:
        fresh = [(number, row) for number, row in rows if number not in measured]
        measured.update(fresh)
        if folder is not None and fresh:
            folder.append(fresh)
        if progress is not None:
            progress(len(measured), len(job.names))

    take(list(without_text(job)))
    for block, rows in enumerate(engine.blocks()):
        if all(row in measured for row in rows):
            continue
        for answered in engine.run_block(block):
            take(answered)


def _settings(
    model: Model,
    pairs: pl.DataFrame,
    asking: Asking,
    template: ChatTemplate,
    statistics: dict[str, Any] | None,
) -> dict[str, Any]:
    made_by = versions()
    settings = {
        "model_sha256": file_sha256(model.path),
        "suite": ", ".join(sorted(set(pairs.get_column("suite").to_list()))),
        "suite_sha256": _digest(pairs.write_ndjson()),
        "n_pairs": len(pairs),
        "primings": list(asking.primings),
        "protocol": asking.protocol.to_json(),
        "template": {
            "name": template.name,
            "sha256": _digest(template.source),
            "date": template.date.isoformat(),
        },
        **asdict(replace(asking.settings, n_threads=None)),
        "n_gpu_layers": asking.n_gpu_layers,
        "seed": asking.seed,
        "misfired": made_by["misfired"],
        "llama_cpp_python": made_by["llama_cpp_python"],
    }
    # Threads are no setting: they change the time, not the numbers.
    del settings["n_threads"]
    if statistics is not None:
        settings["statistics"] = {k: v for k, v in statistics.items() if k != "rng"}
    return settings


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _columns(prompts: pl.DataFrame) -> tuple[list[str], list[str | None], list[str]]:
    names = prompts.select(
        pl.concat_str("id", pl.lit(" ("), "priming", pl.lit(", "), "condition", pl.lit(")"))
    ).to_series()
    return names.to_list(), prompts["text"].to_list(), prompts["expected"].to_list()


def _frame(
    prompts: pl.DataFrame, measured: dict[int, dict[str, Any]], protocol: Protocol
) -> pl.DataFrame:
    rows = [measured[number] for number in range(len(prompts))]
    return prompts.drop("text").hstack(pl.DataFrame(rows, schema=measured_columns(protocol)))


def _example(tokenizer: PromptTokenizer, prompts: pl.DataFrame) -> str | None:
    texts = prompts["text"].drop_nulls()
    return tokenizer.rendered(texts[0]) if len(texts) else None


def _answer_tokens(model: Model, job: Job) -> dict[str, Any]:
    found = next((answers for answers in job.answers if answers is not None), None)
    if found is None:
        return {}
    piece = model.tokenizer.piece
    tokens = {
        answer: {str(token): piece(token).decode(errors="replace") for token in ids}
        for answer, ids in found.ids.items()
    }
    return {"scored": tokens, "dropped_forms": found.dropped}


def _n_joined(job: Job) -> int:
    pairs = zip(job.answers, job.n_prompt_tokens, strict=True)
    return sum(answers is not None and answers.keep < n_tokens for answers, n_tokens in pairs)


def _tally(answers: pl.DataFrame) -> dict[str, int]:
    counted = answers.get_column("outcome").value_counts()
    found = dict(counted.iter_rows())
    return {outcome: int(found.get(outcome, 0)) for outcome in OUTCOMES}
