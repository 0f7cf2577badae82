"""A GGUF model in this process that answers prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import ModelError
from misfired.prompts.prompt_set import PromptSet
from misfired.scoring.answers import measured_columns
from misfired.scoring.backend import Answers, Row
from misfired.scoring.cache import AnswerCache, ShardCache, job_keys, keyed
from misfired.scoring.intervention import Intervention
from misfired.scoring.llama.engine import (
    Engine,
    Job,
    calibrate,
    open_context,
    prepare,
    with_baseline,
    without_text,
)
from misfired.scoring.llama.generate import TextEngine, engine_for
from misfired.scoring.llama.guard import open_model
from misfired.scoring.llama.invariance import (
    alone,
    check_invariance,
    choose_packing,
    measure_effect,
)
from misfired.scoring.llama.library import devices, versions
from misfired.scoring.llama.markers import describe, find_markers
from misfired.scoring.llama.model import Context, Model, default_threads, model_sha256
from misfired.scoring.options import ScoringOptions
from misfired.scoring.template import template_for
from misfired.scoring.tokens import PromptTokenizer


class LocalBackend:
    """Scores prompts through llama.cpp; see `misfired.scoring.backend.Backend`."""

    n_parallel = 1
    errors_may_pass = False

    def __init__(self, path: Path | str, asking: ScoringOptions) -> None:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded.
            DataError: It has no place for the intervention.
            TemplateError: It has no chat template, or one that cannot be used.
            CacheError: The cache cannot be used.
        """
        self.asking = asking
        self.model = open_model(path, asking.devices)
        self.cache: AnswerCache | None = None
        try:
            if asking.cache is not None:
                self.cache = AnswerCache(asking.cache)
            if asking.settings.intervention is not None:
                asking.settings.intervention.check(self.model.sizes)
            self.template = template_for(self.model, asking.template)
            self.tokenizer = PromptTokenizer(
                self.model.tokenizer, self.template, asking.protocol, asking.shots
            )
        except BaseException:
            self.close()
            raise
        self.is_open = False
        self._effect: dict[str, Any] = {}

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Names and types of what the protocol measures."""
        return measured_columns(self.asking.protocol)

    def settings(self) -> dict[str, Any]:
        """Model, template and llama.cpp, and how prompts are decoded."""
        intervention = self.asking.settings.intervention
        settings = {
            "model_sha256": self._sha256,
            "template": {
                "name": self.template.name,
                "sha256": hashlib.sha256(self.template.source.encode()).hexdigest(),
                "date": self.template.date.isoformat(),
            },
            **asdict(replace(self.asking.settings, intervention=None)),
            "intervention": None if intervention is None else intervention.to_json(),
            "devices": asdict(self.asking.devices),
            "llama_cpp_python": versions()["llama_cpp_python"],
        }
        # Threads are no setting: they change the time, not the numbers.
        del settings["n_threads"]
        return settings

    @cached_property
    def _sha256(self) -> str:
        return model_sha256(self.model.path)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text on its own, special tokens read as text."""
        return self.tokenizer.count_tokens(texts)

    def open(self, sample: pl.DataFrame) -> None:
        """Measure on a sample whether prompts can share batches, and what forms score without one.

        Raises:
            ModelError: The intervention is a direction that changes nothing.
        """
        self.is_open = True
        self._sample = sample
        job = self._prepare(sample)
        with self._context(job) as context:
            self._calibrated = calibrate(self.model, context, job)
            self._packing = choose_packing(
                self.model, context, self._calibrated, self.asking.settings
            )
            if self.asking.settings.intervention is not None:
                self._measure_effect(context, self.asking.settings.intervention)

    def answer(self, shard: pl.DataFrame, recorded: Mapping[int, Row]) -> Answers:
        """Score a shard, block by block; a block that is not recorded whole is run again whole."""
        job = with_baseline(self._prepare(shard), self._calibrated.baseline)
        tokens = {"in_prompts": sum(job.n_prompt_tokens), "joined_to_the_answer": _n_joined(job)}
        yield list(without_text(job))
        if not job.rows:
            return {"tokens": tokens}
        with self._context(job) as context:
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
            self.model,
            context,
            job,
            asked,
            packing=self._packing["packing"],
            noise=self._packing["differences"].get("packed", 0.0),
        )

    def facts(self, prompts: PromptSet, answers: pl.DataFrame) -> dict[str, Any]:
        """Model, example prompt, scored tokens, packing, and a sample scored again alone."""
        model = self.model
        return {
            "n_threads": self.asking.settings.n_threads or default_threads(),
            "model": {
                "path": str(model.path),
                "description": model.description,
                "metadata": model.metadata,
            },
            "example_prompt": self._example(),
            "answer_tokens": _answer_tokens(model, self._calibrated),
            "template_markers": describe(find_markers(model, self.tokenizer)),
            "packing": self._packing,
            **({"intervention_effect": self._effect} if self._effect else {}),
            "batch_invariance": check_invariance(
                answers, self.asking.protocol, self._alone(prompts), seed=self.asking.seed
            ),
        }

    def close(self) -> None:
        """Give the memory back."""
        self.model.close()
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
            "protocol": self.asking.protocol.to_json(),
            "n_batch": context.n_batch,
            "packing": self._packing["packing"],
            "versions": versions(),
            "computed_on": devices(),
        }

    def _prepare(self, prompts: pl.DataFrame) -> Job:
        names = prompts.select(
            pl.concat_str("id", pl.lit(" ("), "priming", pl.lit(", "), "condition", pl.lit(")"))
        ).to_series()
        return prepare(
            self.tokenizer,
            names.to_list(),
            prompts["text"].to_list(),
            prompts["expected"].to_list(),
            prompts["system"].to_list(),
        )

    def _context(self, job: Job) -> Context:
        return open_context(self.model, job, self.asking.settings)

    def _measure_effect(self, changed: Context, intervention: Intervention) -> None:
        """Score some prompts with and without the intervention."""
        job, settings = self._calibrated, replace(self.asking.settings, intervention=None)
        with open_context(self.model, job, settings) as unchanged:
            self._effect = measure_effect(self.model, unchanged, changed, job)
        # Of ablated heads one may well find that they do nothing.
        if not self._effect["n_changed"] and intervention.is_direction_only:
            raise ModelError(
                f"{self.model.path}: the direction of {intervention.name} changes nothing in "
                f"{self._effect['n_tried']} prompts: llama.cpp may not support control vectors for "
                f"architecture {self.model.metadata.get('general.architecture', '?')!r}"
            )

    def _alone(self, prompts: PromptSet) -> Callable[[list[int]], list[Row]]:
        def score(rows: list[int]) -> list[Row]:
            if not rows:
                return []
            job = with_baseline(self._prepare(prompts.at(rows)), self._calibrated.baseline)
            with self._context(job) as context:
                return [alone(self.model, context, job, row) for row in range(len(rows))]

        return score

    def _example(self) -> str | None:
        texts = self._sample["text"].drop_nulls()
        return self.tokenizer.rendered(texts[0]) if len(texts) else None


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
