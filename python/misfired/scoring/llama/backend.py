"""A GGUF model in this process that answers prompts."""

import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import polars as pl

from misfired.errors import ModelError
from misfired.prompts.prompt_set import N_SHARD, PromptSet
from misfired.prompts.shots import Shot
from misfired.scoring.answers import measured_columns
from misfired.scoring.backend import AnswerStream, Row
from misfired.scoring.cache import AnswerCache, ShardCache, job_keys, keyed
from misfired.scoring.environment import default_threads
from misfired.scoring.llama.device import computed_on, placed
from misfired.scoring.llama.engine import Job, without_text
from misfired.scoring.llama.invariance import Costs, check_run, choose_packing, measure_effect
from misfired.scoring.llama.lanes import open_engines, run_blocks
from misfired.scoring.llama.library import versions
from misfired.scoring.llama.markers import describe, find_markers
from misfired.scoring.llama.model import Context
from misfired.scoring.llama.session import Session, calibrate
from misfired.scoring.options import ScoringOptions
from misfired.scoring.rows import RowCheck


class LocalBackend:
    """Scores prompts through llama.cpp; see `misfired.scoring.backend.Backend`."""

    n_parallel = 1
    errors_may_pass = False

    def __init__(
        self, path: Path | str, options: ScoringOptions, shots: Sequence[Shot] = ()
    ) -> None:
        """Load the model; errors as `Session` and `AnswerCache`."""
        self.options, self.cache, self.is_open = options, None, False
        with ExitStack() as stack:
            if options.cache is not None:
                self.cache = stack.enter_context(closing(AnswerCache(options.cache)))
            self.session = stack.enter_context(Session(path, options, shots))
            self._open = stack.pop_all()
        self.columns = measured_columns(self.session.protocol)

    def settings(self) -> dict[str, Any]:
        """Return model, template and llama.cpp, and how prompts are decoded."""
        options, template = self.options, self.session.template
        intervention = self.session.intervention
        digest = hashlib.sha256(template.source.encode()).hexdigest()
        # Threads are no setting: they change the time, not the numbers.
        return {
            "model_sha256": self.session.model.file.sha256,
            "template": {
                "name": template.name,
                "sha256": digest,
                "date": template.date.isoformat(),
            },
            "mode": options.mode,
            "n_ctx": options.n_ctx,
            "n_batch": options.n_batch,
            "kv_cache": asdict(options.kv_cache),
            "intervention": None if intervention is None else intervention.to_json(),
            "devices": asdict(self.session.model.devices),
            "llama_cpp_python": versions()["llama_cpp_python"],
        }

    def about(self) -> dict[str, str]:
        """Return model, device and template, and once it is open how prompts are packed."""
        model, n_threads = self.session.model, self.options.n_threads or default_threads()
        about = {
            "model": model.description,
            "device": placed(model.devices, model.header, n_threads),
            "template": self.session.template.name,
        }
        if self.is_open:
            about["packing"] = self._trial.packing
        return about

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text on its own, special tokens read as text."""
        return self.session.tokenizer.count_tokens(texts)

    def open(self, sample: pl.DataFrame, n_prompts: int) -> None:
        """Measure on a sample whether prompts can share batches, and calibrate.

        Raises:
            ModelError: The intervention is a direction that changes nothing.
        """
        self.is_open, self._sample, self._effect = True, sample, None
        session, job = self.session, self.session.prepare(sample)
        with session.context(job) as context:
            self._calibrated = job = calibrate(context, job)
            self._costs = Costs.of(job, n_prompts)
            self._trial = choose_packing(context, job, self.options, n_prompts)
            self._kept = {job.prompts[row].key: row_ for row, row_ in self._trial.kept.items()}
            if session.intervention is None:
                return
            with session.context(job, unchanged=True) as unchanged:
                self._effect = effect = measure_effect(unchanged, context, job)
        # Heads may well do nothing; a direction that does nothing was not applied.
        if not effect["n_changed"] and session.intervention.is_direction_only:
            model = session.model
            raise ModelError(
                f"{model.path}: the direction of {session.intervention.name} changes nothing in "
                f"{effect['n_tried']} prompts: llama.cpp may not support control vectors for "
                f"architecture {model.metadata.get('general.architecture', '?')!r}"
            )

    def answer(self, shard: pl.DataFrame, recorded: Mapping[int, Row]) -> AnswerStream:
        """Score a shard, block by block; a block that is not recorded whole is run again whole."""
        job = self._prepare(shard)
        tokens = _count_tokens(job)
        yield without_text(job)
        if not job.prompts:
            return {"tokens": tokens}
        with self.session.context(job) as context:
            keys = job_keys(job, self._scope(context))
            check, expected = RowCheck(self.session.protocol), shard["expected"].to_list()
            shard_cache = ShardCache(self.cache, keys, recorded, check, expected)
            yield list(shard_cache.known.items())
            unchanged = self.session.model.file.check
            unchanged()
            # What the trial has decoded alone is answered.
            found = {row: self._kept.get(prompt.key) for row, prompt in job.prompts.items()}
            kept = {
                row: keyed(answer, keys[row])
                for row, answer in found.items()
                if answer is not None and row not in shard_cache.known
            }
            shard_cache.learn(kept.values())
            yield list(kept.items())
            times = shard_cache.counts
            # Planned whatever is recorded, so that an interrupted run keeps its bits.
            known = shard_cache.known.keys() | kept.keys()
            if asked := [row for row in job.prompts if row not in known]:
                another = functools.partial(self.session.context, job)
                todo, packing = job.only(asked), self._trial.packing
                how: dict[str, Any] = {"noise": self._trial.noise, "seed": self.options.seed}
                with open_engines(context, another, todo, packing, **how) as engines:
                    needed = [
                        block
                        for block, rows in enumerate(engines[0].blocks())
                        if not all(row in recorded for row in rows)
                    ]
                    for answered in run_blocks(engines, needed):
                        # Before they are recorded: these are answers of the file that was loaded.
                        unchanged()
                        fresh = [(row, keyed(answer, keys[row])) for row, answer in answered]
                        shard_cache.learn(answer for _, answer in fresh)
                        yield fresh
                    decoded = (engine.scorer.n_decoded_tokens for engine in engines)
                    times["n_decoded_tokens"] = sum(decoded)
                    # With a cache the plan depends on what it knew, which says nothing about the answers.
                    if self.cache is None:
                        tokens["distinct"] = engines[0].scorer.n_distinct_tokens
            unchanged()
            # Not before: an interrupted shard finds the cache as it was, and plans the same batches.
            shard_cache.store()
            return {"tokens": tokens, "times": times}

    def conclude(
        self, prompts: PromptSet, answers: pl.DataFrame
    ) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Check a sample; return the answers, and model, example, scored tokens, packing, the check.

        Raises:
            ModelError: The model file is not the one that was loaded.
            ScoringError: In mode `exact` a prompt alone does not score the same twice.
        """
        self.session.model.file.check()
        model, texts = self.session.model, self._sample["text"].drop_nulls()

        about = {"path": str(model.path), "description": model.description}

        answers, check = check_run(
            answers,
            self.session.protocol,
            functools.partial(self._rescore, prompts),
            self._trial,
            self._costs,
            exact=self.options.mode == "exact",
            seed=self.options.seed,
        )
        # Where answers were off, the file's size and times are no proof.
        model.file.check(again=bool(check["n_rescored"]))
        facts = {
            "n_threads": self.options.n_threads or default_threads(),
            "model": about | {"metadata": model.metadata},
            "computed_on": computed_on(model.devices),
            "example_prompt": self.session.tokenizer.rendered(texts[0]) if len(texts) else None,
            "answer_tokens": self._answer_tokens(),
            "template_markers": describe(find_markers(model, self.session.tokenizer)),
            "packing": self._trial.facts,
            **({"intervention_effect": self._effect} if self._effect else {}),
            "batch_invariance": check,
        }
        return answers, facts

    def _rescore(
        self, prompts: PromptSet, rows: list[int], packing: Literal["solo", "fresh"]
    ) -> list[Row]:
        """Score rows again, part by part, since a whole suite takes much memory as tokens."""
        found: list[Row] = []
        for start in range(0, len(rows), N_SHARD):
            job = self._prepare(prompts.at(rows[start : start + N_SHARD]))
            another = functools.partial(self.session.context, job)
            with another() as context, open_engines(context, another, job, packing) as engines:
                batches = run_blocks(engines, range(engines[0].scorer.n_blocks))
                measured = dict(itertools.chain.from_iterable(batches))
            found += [measured[row] for row in job.prompts]
        return found

    def close(self) -> None:
        """Give the memory back."""
        self._open.close()

    def _prepare(self, prompts: pl.DataFrame) -> Job:
        return self.session.prepare(prompts).with_baseline(self._calibrated.baseline)

    def _scope(self, context: Context) -> dict[str, Any]:
        """Return everything that changes an answer, except the prompt itself."""
        # The template shows in the token ids; the size of the context changes no bit.
        settings = {k: v for k, v in self.settings().items() if k not in {"template", "n_ctx"}}
        return settings | {
            "protocol": self.session.protocol.to_json(),
            "n_batch": context.n_batch,
            "packing": self._trial.packing,
            **({"seed": self.options.seed} if self._trial.packing == "stable" else {}),
            "versions": versions(),
            "computed_on": computed_on(self.session.model.devices),
        }

    def _answer_tokens(self) -> dict[str, Any]:
        """Return the tokens that the first prompt's answer is read from, and the forms left out."""
        prompt = next(iter(self._calibrated.prompts.values()), None)
        if prompt is None:
            return {}
        text_of, ids = self.session.model.text_of, prompt.answers.ids.items()
        scored = {answer: {str(token): text_of(token) for token in own} for answer, own in ids}
        answers = prompt.answers
        return {
            "scored": scored,
            "dropped_forms": answers.dropped,
            "partial_forms": answers.partial,
        }


def _count_tokens(job: Job) -> dict[str, int]:
    prompts = job.prompts.values()
    return {
        "in_prompts": sum(prompt.n_tokens for prompt in prompts),
        "joined_to_the_answer": sum(len(each.ids) < each.n_tokens for each in prompts),
    }
