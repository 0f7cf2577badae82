"""A GGUF model in this process that answers prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from misfired.errors import ModelError
from misfired.prompts.prompt_set import PromptSet
from misfired.scoring.answers import measured_columns
from misfired.scoring.backend import Answers, Row
from misfired.scoring.cache import AnswerCache, ShardCache, job_keys, keyed
from misfired.scoring.intervention import Intervention
from misfired.scoring.llama.engine import Engine, Job, without_text
from misfired.scoring.llama.generate import TextEngine, engine_for
from misfired.scoring.llama.invariance import (
    alone,
    check_invariance,
    choose_packing,
    measure_effect,
)
from misfired.scoring.llama.library import devices, versions
from misfired.scoring.llama.markers import describe, find_markers
from misfired.scoring.llama.model import Context, Model, default_threads, model_sha256
from misfired.scoring.llama.session import Session, calibrate, with_baseline
from misfired.scoring.options import Devices, ScoringOptions

if TYPE_CHECKING:
    from misfired.prompts.shots import Shot


class LocalBackend:
    """Scores prompts through llama.cpp; see `misfired.scoring.backend.Backend`."""

    n_parallel = 1
    errors_may_pass = False

    def __init__(
        self, path: Path | str, options: ScoringOptions, shots: Sequence[Shot] = ()
    ) -> None:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded.
            DataError: It has no place for the intervention.
            TemplateError: It has no chat template, or one that cannot be used.
            CacheError: The cache cannot be used.
        """
        self.options = options
        self.cache = None if options.cache is None else AnswerCache(options.cache)
        try:
            self.session = Session(path, options, shots)
        except BaseException:
            self._close_cache()
            raise
        self.is_open = False
        self._effect: dict[str, Any] = {}

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Names and types of what the protocol measures."""
        return measured_columns(self.session.protocol)

    def settings(self) -> dict[str, Any]:
        """Model, template and llama.cpp, and how prompts are decoded."""
        options, template = self.options, self.session.template
        intervention = self.session.intervention
        # Threads are no setting: they change the time, not the numbers.
        return {
            "model_sha256": self._sha256,
            "template": {
                "name": template.name,
                "sha256": hashlib.sha256(template.source.encode()).hexdigest(),
                "date": template.date.isoformat(),
            },
            "mode": options.mode,
            "n_ctx": options.n_ctx,
            "n_batch": options.n_batch,
            "kv_cache": asdict(options.kv_cache),
            "intervention": None if intervention is None else intervention.to_json(),
            "devices": asdict(options.part(Devices)),
            "llama_cpp_python": versions()["llama_cpp_python"],
        }

    @cached_property
    def _sha256(self) -> str:
        return model_sha256(self.session.model.path)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text on its own, special tokens read as text."""
        return self.session.tokenizer.count_tokens(texts)

    def open(self, sample: pl.DataFrame) -> None:
        """Measure on a sample whether prompts can share batches, and what forms score without one.

        Raises:
            ModelError: The intervention is a direction that changes nothing.
        """
        self.is_open = True
        self._sample = sample
        job = self.session.prepare(sample)
        with self.session.context(job) as context:
            self._calibrated = calibrate(self.session.model, context, job)
            self._packing = choose_packing(
                self.session.model, context, self._calibrated, self.options
            )
            if self.session.intervention is not None:
                self._measure_effect(context, self.session.intervention)

    def answer(self, shard: pl.DataFrame, recorded: Mapping[int, Row]) -> Answers:
        """Score a shard, block by block; a block that is not recorded whole is run again whole."""
        job = with_baseline(self.session.prepare(shard), self._calibrated.baseline)
        tokens = {"in_prompts": sum(job.n_prompt_tokens), "joined_to_the_answer": _n_joined(job)}
        yield list(without_text(job))
        if not job.rows:
            return {"tokens": tokens}
        with self.session.context(job) as context:
            keys = job_keys(job, self._scope(context))
            shelf = ShardCache(self.cache, keys, recorded)
            yield list(shelf.known.items())
            times = shelf.counts
            # Planned without regard to what is recorded, so that an interrupted run keeps its bits.
            if asked := [row for row in job.rows if row not in shelf.known]:
                engine = self._engine(context, job, asked)
                for block, rows in enumerate(engine.blocks()):
                    if not all(row in recorded for row in rows):
                        for answered in engine.run_block(block):
                            fresh = [(row, keyed(answer, keys[row])) for row, answer in answered]
                            shelf.learn(answer for _, answer in fresh)
                            yield fresh
                times["n_decoded_tokens"] = engine.scorer.n_decoded_tokens
                # What is planned hangs on what the cache knew, which is no fact of the answers.
                if self.cache is None:
                    tokens["distinct"] = engine.scorer.n_distinct_tokens
            # Not before: an interrupted shard finds the cache as it was, and plans the same batches.
            shelf.store()
            return {"tokens": tokens, "times": times}

    def _engine(self, context: Context, job: Job, asked: list[int]) -> Engine | TextEngine:
        return engine_for(
            self.session.model,
            context,
            job,
            asked,
            packing=self._packing["packing"],
            noise=self._packing["differences"].get("packed", 0.0),
        )

    def facts(self, prompts: PromptSet, answers: pl.DataFrame) -> dict[str, Any]:
        """Model, example prompt, scored tokens, packing, and a sample scored again alone."""
        model = self.session.model
        return {
            "n_threads": self.options.n_threads or default_threads(),
            "model": {
                "path": str(model.path),
                "description": model.description,
                "metadata": model.metadata,
            },
            "example_prompt": self._example(),
            "answer_tokens": _answer_tokens(model, self._calibrated),
            "template_markers": describe(find_markers(model, self.session.tokenizer)),
            "packing": self._packing,
            **({"intervention_effect": self._effect} if self._effect else {}),
            "batch_invariance": check_invariance(
                answers, self.session.protocol, self._alone(prompts), seed=self.options.seed
            ),
        }

    def close(self) -> None:
        """Give the memory back."""
        self.session.close()
        self._close_cache()

    def _close_cache(self) -> None:
        if self.cache is not None:
            self.cache.close()

    def _scope(self, context: Context) -> dict[str, Any]:
        """All that changes an answer, beside the prompt itself."""
        settings = self.settings()
        del (
            settings["template"],
            settings["n_ctx"],
        )  # seen in the token ids; and bits do not hang on it
        return {
            **settings,
            "protocol": self.session.protocol.to_json(),
            "n_batch": context.n_batch,
            "packing": self._packing["packing"],
            "versions": versions(),
            "computed_on": devices(),
        }

    def _measure_effect(self, changed: Context, intervention: Intervention) -> None:
        """Score some prompts with and without the intervention."""
        job, model = self._calibrated, self.session.model
        with self.session.context(job, changed=False) as unchanged:
            self._effect = measure_effect(model, unchanged, changed, job)
        # Of ablated heads one may well find that they do nothing.
        if not self._effect["n_changed"] and intervention.is_direction_only:
            raise ModelError(
                f"{model.path}: the direction of {intervention.name} changes nothing in "
                f"{self._effect['n_tried']} prompts: llama.cpp may not support control vectors for "
                f"architecture {model.metadata.get('general.architecture', '?')!r}"
            )

    def _alone(self, prompts: PromptSet) -> Callable[[list[int]], list[Row]]:
        def score(rows: list[int]) -> list[Row]:
            if not rows:
                return []
            job = with_baseline(self.session.prepare(prompts.at(rows)), self._calibrated.baseline)
            with self.session.context(job) as context:
                return [alone(self.session.model, context, job, row) for row in range(len(rows))]

        return score

    def _example(self) -> str | None:
        texts = self._sample["text"].drop_nulls()
        return self.session.tokenizer.rendered(texts[0]) if len(texts) else None


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
