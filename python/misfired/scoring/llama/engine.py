"""Prompts in, one row of measurements per prompt out, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.errors import ArgumentError, DataError, ModelError, ScoringError
from misfired.scoring.answers import NO_TEXT, Logp, measured_columns, read_forms
from misfired.scoring.forms import AnswerTokens, Ids, Tokens
from misfired.scoring.intervention import Intervention
from misfired.scoring.llama.devices import MODES, KvCache, Mode
from misfired.scoring.llama.model import Context, Model
from misfired.scoring.protocol import LOGIT, Protocol
from misfired.scoring.tokens import PromptTokenizer

#: Tokens a batch where layers are offloaded, where texts are written, and where scores are read with and
#: without flash attention: large enough to keep the cores busy, small enough that attention over the
#: cells of the batch stays cheap (design/scoring.md has the measurement).
N_BATCH_GPU, N_BATCH_TEXTS, N_BATCH_FLASH, N_BATCH_CPU = 1024, 512, 256, 128

#: Decoded tokens after which a block may end; a block is what an interrupted run repeats.
N_BLOCK = 4096

#: Texts that are written at once: more fill the cores no better, and each holds a whole context.
N_PLACES = 16

#: llama.cpp rounds contexts up to this.
CELLS = 256


#: `packed` fills batches with many prompts; `solo` gives each prompt batches of its own, and keeps in the
#: cache what it shares with the one before; `fresh` keeps nothing.
Packing = Literal["packed", "solo", "fresh"]


@dataclass(frozen=True)
class Job:
    """Everything that must be known before the first token is decoded.

    Attributes:
        names: What to call each prompt in messages.
        ids: Token ids of each prompt up to the scored position; None for a prompt without text.
        answers: Which tokens are read.
        n_prompt_tokens: Length of each whole prompt.
        protocol: How answers are read.
        content_free: The content-free prompt, where the protocol compares with it.
        baseline: Log-probability of each form after that prompt (see `calibrate`).
        in_reasoning: Whether the prompts end inside a reasoning block.
    """

    names: list[str]
    expected: list[str]
    ids: list[Ids | None]
    answers: list[AnswerTokens | None]
    n_prompt_tokens: list[int]
    protocol: Protocol = LOGIT
    content_free: tuple[Ids, AnswerTokens] | None = None
    baseline: dict[str, float] | None = None
    in_reasoning: bool = False

    @property
    def rows(self) -> list[int]:
        """Numbers of the prompts that have text."""
        return [row for row, ids in enumerate(self.ids) if ids is not None]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with the longest of its forms."""
        return max((n_tokens for _, n_tokens in self.lengths()), default=0)

    def lengths(self) -> Iterator[tuple[str, int]]:
        """Name and tokens of each prompt that is decoded, with the longest of its forms."""
        asked = [*zip(self.names, self.ids, self.answers, strict=True)]
        if self.content_free is not None:
            asked.append(("content-free", *self.content_free))
        for name, ids, found in asked:
            if ids is not None and found is not None:
                yield name, len(ids) + found.n_longest


def prepare(
    tokenizer: PromptTokenizer,
    names: Sequence[str],
    texts: Sequence[str | None],
    expected: Sequence[str],
    systems: Sequence[str | None] | None = None,
) -> Job:
    """Render and tokenise every prompt, under its system message if it has one.

    Raises:
        DataError: An expected answer is none of the protocol's.
        TemplateError: A prompt cannot be rendered.
        ModelError: An answer has no form that can be scored.
    """
    protocol = tokenizer.protocol
    for name, answer in zip(names, expected, strict=True):
        if answer not in protocol.answers:
            raise DataError(
                f"prompt {name}: expected answer is {answer!r}, not one of those of protocol "
                f"{protocol.name!r}: {', '.join(protocol.answers)}"
            )
    asked = [
        None if text is None else _asked(tokenizer.with_system(system), text)
        for text, system in zip(texts, systems or [None] * len(texts), strict=True)
    ]
    calibrates = protocol.normalisation == "unconditional"
    return Job(
        list(names),
        list(expected),
        [None if found is None else found[0] for found in asked],
        [None if found is None else found[1] for found in asked],
        [0 if found is None else found[2] for found in asked],
        protocol=protocol,
        content_free=_asked(tokenizer, protocol.content_free)[:2] if calibrates else None,
        in_reasoning=tokenizer.in_reasoning,
    )


def _asked(tokenizer: PromptTokenizer, text: str) -> tuple[Ids, AnswerTokens, int]:
    """Tokens up to the scored position, what is read there, tokens of the whole prompt."""
    whole = tokenizer.encode(text)
    if tokenizer.protocol.generates:
        return whole, AnswerTokens(len(whole), (), []), len(whole)
    found = tokenizer.answers(text, whole)
    return whole[: found.keep], found, len(whole)


@dataclass(frozen=True)
class Settings:
    """How a job is decoded. `n_ctx` and `n_batch` None choose for the job and the device.

    `n_ctx` bounds the K/V cache, which holds one prompt and one batch. An `intervention` is at work at
    every position of every prompt, so that a prefix that prompts share is changed for all of them alike.
    """

    mode: Mode = "exact"
    n_ctx: int | None = None
    n_batch: int | None = None
    n_threads: int | None = None
    kv_cache: KvCache = MODES["exact"]
    intervention: Intervention | None = None


def open_context(model: Model, job: Job, settings: Settings) -> Context:
    """A context in which every prompt of the job fits.

    Raises:
        ArgumentError: A prompt is longer than the context, or than the model was trained for.
    """
    n_batch = batch_size(model, settings, generates=job.protocol.generates)
    if job.protocol.generates:
        return _open_for_texts(model, job, settings, n_batch)
    n_ctx = settings.n_ctx or -(-(job.longest + n_batch) // CELLS) * CELLS
    n_batch = min(n_batch, n_ctx // 2)
    for name, n_tokens in job.lengths():
        if n_tokens > n_ctx - n_batch:
            raise ArgumentError(
                f"prompt {name}: {n_tokens} tokens, but n_ctx {n_ctx} leaves {n_ctx - n_batch} "
                f"beside a batch of {n_batch}"
            )
        _check_trained(model, name, n_tokens)
    return model.context(
        n_ctx,
        n_batch=n_batch,
        cache=settings.kv_cache,
        n_threads=settings.n_threads,
        intervention=settings.intervention,
    )


def batch_size(model: Model, settings: Settings, *, generates: bool = False) -> int:
    """Tokens a batch: what was asked for, or what suits the device and the work."""
    if settings.n_batch:
        return settings.n_batch
    if model.devices.n_gpu_layers:
        return N_BATCH_GPU
    if generates:
        return N_BATCH_TEXTS
    return N_BATCH_CPU if settings.kv_cache.flash_attention == "off" else N_BATCH_FLASH


def _open_for_texts(model: Model, job: Job, settings: Settings, n_batch: int) -> Context:
    """A context of separate streams, one for each text in flight and one for the common prefix.

    A text attends to its own stream only; in a unified cache it would pass over the cells of all.
    """
    n_generate = job.protocol.n_generate
    n_stream = -(-(job.longest + n_generate) // CELLS) * CELLS
    n_places = min(N_PLACES, max(len(job.rows), 2), n_batch - 1)
    if settings.n_ctx is not None:
        n_places = min(n_places, settings.n_ctx // n_stream - 1)
    for name, n_tokens in job.lengths():
        if n_places < 2:
            raise ArgumentError(
                f"n_ctx is {settings.n_ctx}, but two texts of up to {n_stream} tokens and what their "
                f"prompts share need {3 * n_stream}"
            )
        _check_trained(model, f"{name} and a text of {n_generate}", n_tokens + n_generate)
    return model.context(
        n_stream * (n_places + 1),
        n_batch=n_batch,
        cache=settings.kv_cache,
        n_threads=settings.n_threads,
        n_sequences=n_places + 1,
        unified=False,
        intervention=settings.intervention,
    )


def _check_trained(model: Model, name: str, n_tokens: int) -> None:
    if 0 < model.n_ctx_train < n_tokens:
        raise ArgumentError(
            f"prompt {name}: {n_tokens} tokens, the model was trained for {model.n_ctx_train}"
        )


class Engine:
    """A job on its way through a context, block by block.

    Blocks do not depend on one another, so that an interrupted job repeats only the block it was in
    and gives the same bits.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        job: Job,
        rows: Sequence[int] | None = None,
        *,
        packing: Packing = "packed",
    ) -> None:
        """Plan the job's prompts, or those in `rows`."""
        self.job = job
        self.model = model
        self.rows = job.rows if rows is None else list(rows)
        self._positions = [
            (row, path) for row in self.rows for path, _ in _present(job.answers[row]).nodes
        ]
        self._wanted = [
            np.array(wanted, dtype=np.int32)
            for row in self.rows
            for _, wanted in _present(job.answers[row]).nodes
        ]
        ids = [
            np.concatenate([_present(job.ids[row]), np.array(path, dtype=np.int32)])
            for row, path in self._positions
        ]
        self._read: dict[int, _Reading] = {}
        self.scorer = _core.Scorer(
            context.handle,
            ragged(ids),
            ragged(self._wanted),
            n_block=N_BLOCK,
            packing=packing,
        )

    def blocks(self) -> Iterator[list[int]]:
        """For each block the numbers of the prompts that need it."""
        for block in range(self.scorer.n_blocks):
            places = self.scorer.block_sequences(block).tolist()
            yield list(dict.fromkeys(self._positions[place][0] for place in places))

    def run_block(self, block: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Decode a block; after each batch yield (number of the prompt, its measurements)."""
        for batch in self.run_block_in_full(block):
            yield [(row, measured) for row, measured, _ in batch]

    def run_block_in_full(
        self, block: int
    ) -> Iterator[list[tuple[int, dict[str, Any], list[float]]]]:
        """The same, with the log-probability of every form of `AnswerTokens.forms`."""
        self.scorer.start(block)
        while (result := self._step()) is not None:
            places, logps, top_tokens, top_logps = result
            tokens, maxima = top_tokens.tolist(), top_logps.tolist()
            values = iter(logps.tolist())
            complete = []
            for place, token, maximum in zip(places.tolist(), tokens, maxima, strict=True):
                row, path = self._positions[place]
                reading = self._read.setdefault(row, _Reading())
                for wanted in self._wanted[place].tolist():
                    reading.logp[path, wanted] = next(values)
                if not path:
                    reading.top = token, maximum
                reading.n_positions += 1
                if reading.n_positions == len(_present(self.job.answers[row]).nodes):
                    complete.append((row, *self._measure(row, self._read.pop(row))))
            yield complete

    def _step(self) -> tuple[npt.NDArray[np.int64], Logp, Ids, Logp] | None:
        try:
            return self.scorer.step()
        except ScoringError as error:
            raise ScoringError(f"{self.model.path}: {error}") from None

    def _measure(self, row: int, reading: _Reading) -> tuple[dict[str, Any], list[float]]:
        answers = _present(self.job.answers[row])
        logp = answers.log_probabilities(reading.logp)
        measured = read_forms(
            self.job.protocol, answers.forms, logp, self.job.expected[row], self.job.baseline
        )
        token, top_logp = reading.top
        piece = self.model.tokenizer.piece(token).decode(errors="replace") if token >= 0 else None
        return {
            **measured,
            "top_token": piece,
            "top_logp": None if np.isnan(top_logp) else top_logp,
            "n_prompt_tokens": self.job.n_prompt_tokens[row],
        }, logp


@dataclass
class _Reading:
    """What has been read of one prompt; its positions may come in several batches."""

    logp: dict[tuple[Tokens, int], float] = field(default_factory=dict)
    top: tuple[int, float] = (-1, float("nan"))
    n_positions: int = 0


def calibrate(model: Model, context: Context, job: Job) -> Job:
    """Score the forms after the content-free prompt, where the protocol compares with that.

    Raises:
        ModelError: A form can be scored after a prompt but not after the content-free one.
    """
    if job.content_free is None:
        return job
    ids, answers = job.content_free
    alone = replace(
        job,
        names=["content-free"],
        expected=[""],
        ids=[ids],
        answers=[answers],
        n_prompt_tokens=[len(ids)],
    )
    ((_, _, logp),) = (
        row
        for batch in Engine(model, context, alone, packing="fresh").run_block_in_full(0)
        for row in batch
    )
    return with_baseline(
        job, {form.text: value for form, value in zip(answers.forms, logp, strict=True)}
    )


def with_baseline(job: Job, baseline: dict[str, float] | None) -> Job:
    """The job, its forms compared with what they score after the content-free prompt.

    Raises:
        ModelError: A form of the job has no such score.
    """
    if baseline is None:
        return job
    for name, found in zip(job.names, job.answers, strict=True):
        for form in found.forms if found else ():
            if form.text not in baseline:
                raise ModelError(f"prompt {name}: form {form.text!r} has no unconditional score")
    return replace(job, baseline=baseline)


def without_text(job: Job) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of the prompts that have no text: nothing was asked, and that is said."""
    for row, ids in enumerate(job.ids):
        if ids is None:
            yield (
                row,
                {
                    **dict.fromkeys(measured_columns(job.protocol)),
                    "outcome": "error",
                    "reason": NO_TEXT,
                },
            )


def ragged(rows: Sequence[Ids]) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Rows in one flat array, and the offsets of their ends."""
    lengths = [len(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, np.int32)
    return values, offsets


def _present(value: Any) -> Any:
    assert value is not None, "only prompts with text are scored"  # noqa: S101
    return value


__all__ = ["Engine", "Job", "Settings", "open_context", "prepare", "without_text"]
