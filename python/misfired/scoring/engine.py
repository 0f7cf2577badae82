"""Prompts in, one row of measurements per prompt out, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.errors import ArgumentError, ScoringError
from misfired.scoring.answers import Logp, read_answer, unscored
from misfired.scoring.model import N_SEQUENCES, Context, Mode, Model
from misfired.scoring.tokens import AnswerTokens, Ids, PromptTokenizer

#: Tokens a batch where nothing is offloaded: large enough to keep the cores busy, small enough that
#: attention over the cells of the batch stays cheap (design/scoring.md has the measurement).
N_BATCH_CPU = 256
N_BATCH_GPU = 1024

#: Decoded tokens after which a block may end; a block is what an interrupted run repeats.
N_BLOCK = 4096

#: llama.cpp rounds contexts up to this.
CELLS = 256


#: `packed` fills batches with many prompts; `solo` gives each prompt batches of its own.
Packing = Literal["packed", "solo"]


@dataclass(frozen=True)
class Job:
    """Everything that must be known before the first token is decoded.

    Attributes:
        names: What to call each prompt in messages.
        ids: Token ids of each prompt up to the scored position; None for a prompt without text.
        answers: Which tokens are read.
        n_prompt_tokens: Length of each whole prompt.
    """

    names: list[str]
    expected: list[str]
    ids: list[Ids | None]
    answers: list[AnswerTokens | None]
    n_prompt_tokens: list[int]

    @property
    def rows(self) -> list[int]:
        """Numbers of the prompts that have text."""
        return [row for row, ids in enumerate(self.ids) if ids is not None]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max((len(ids) for ids in self.ids if ids is not None), default=0)


def prepare(
    tokenizer: PromptTokenizer,
    names: Sequence[str],
    texts: Sequence[str | None],
    expected: Sequence[str],
) -> Job:
    """Render and tokenise every prompt.

    Raises:
        TemplateError: A prompt cannot be rendered.
        ModelError: An answer has no form that can be scored.
    """
    ids: list[Ids | None] = []
    answers: list[AnswerTokens | None] = []
    lengths = []
    for text in texts:
        whole = None if text is None else tokenizer.encode(text)
        found = None if text is None or whole is None else tokenizer.answers(text, whole)
        ids.append(None if whole is None or found is None else whole[: found.keep])
        answers.append(found)
        lengths.append(0 if whole is None else len(whole))
    return Job(list(names), list(expected), ids, answers, lengths)


@dataclass(frozen=True)
class Settings:
    """How a job is decoded. `n_ctx` and `n_batch` None choose for the job and the device.

    `n_ctx` bounds the K/V cache, which holds one prompt and one batch.
    """

    mode: Mode = "exact"
    n_ctx: int | None = None
    n_batch: int | None = None
    n_threads: int | None = None


def open_context(model: Model, job: Job, settings: Settings) -> Context:
    """A context in which every prompt of the job fits.

    Raises:
        ArgumentError: A prompt is longer than the context, or than the model was trained for.
    """
    on_gpu = model.n_gpu_layers != 0
    n_batch = settings.n_batch or (N_BATCH_GPU if on_gpu else N_BATCH_CPU)
    n_ctx = settings.n_ctx or -(-(job.longest + n_batch) // CELLS) * CELLS
    n_batch = min(n_batch, n_ctx // 2)
    for name, ids in zip(job.names, job.ids, strict=True):
        n_tokens = 0 if ids is None else len(ids)
        if n_tokens > n_ctx - n_batch:
            raise ArgumentError(
                f"prompt {name}: {n_tokens} tokens, but n_ctx {n_ctx} leaves {n_ctx - n_batch} "
                f"beside a batch of {n_batch}"
            )
        if 0 < model.n_ctx_train < n_tokens:
            raise ArgumentError(
                f"prompt {name}: {n_tokens} tokens, the model was trained for {model.n_ctx_train}"
            )
    return model.context(n_ctx, n_batch=n_batch, mode=settings.mode, n_threads=settings.n_threads)


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
        ids = [_present(job.ids[row]) for row in self.rows]
        self._wanted = [
            np.array([*chain(*_present(job.answers[row]).ids.values())], dtype=np.int32)
            for row in self.rows
        ]
        self.scorer = _core.Scorer(
            model.library,
            context.address,
            *_ragged(ids),
            *_ragged(self._wanted),
            n_block=N_BLOCK,
            packing=packing if model.can_share_prefixes else "fresh",
        )

    def blocks(self) -> Iterator[list[int]]:
        """For each block the numbers of its prompts."""
        for block in range(self.scorer.n_blocks):
            yield [self.rows[place] for place in self.scorer.block_sequences(block).tolist()]

    def run_block(self, block: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Decode a block; after each batch yield (number of the prompt, its measurements)."""
        for batch in self.run_block_in_full(block):
            yield [(row, measured) for row, measured, _ in batch]

    def run_block_in_full(self, block: int) -> Iterator[list[tuple[int, dict[str, Any], Logp]]]:
        """The same, with the log-probability of every answer token in the job's order."""
        self.scorer.start(block)
        while (result := self._step()) is not None:
            places, logps, top_tokens, top_logps = result
            tokens, maxima = top_tokens.tolist(), top_logps.tolist()
            stops = np.cumsum([len(self._wanted[place]) for place in places.tolist()])[:-1]
            batch = []
            for at, logp in enumerate(np.split(logps, stops) if len(places) else []):
                row = self.rows[places[at]]
                batch.append((row, self._measure(row, logp, tokens[at], maxima[at]), logp))
            yield batch

    def _step(self) -> tuple[npt.NDArray[np.int64], Logp, Ids, Logp] | None:
        try:
            return self.scorer.step()
        except ScoringError as error:
            raise ScoringError(f"{self.model.path}: {error}") from None

    def _measure(self, row: int, logp: Logp, token: int, top_logp: float) -> dict[str, Any]:
        answers = _present(self.job.answers[row])
        cuts = np.cumsum([len(ids) for ids in answers.ids.values()])[:-1]
        measured = read_answer(
            dict(zip(answers.ids, np.split(logp, cuts), strict=True)), self.job.expected[row]
        )
        piece = self.model.tokenizer.piece(token).decode(errors="replace") if token >= 0 else None
        return {
            **measured,
            "top_token": piece,
            "top_logp": None if np.isnan(top_logp) else top_logp,
            "n_prompt_tokens": self.job.n_prompt_tokens[row],
        }


def without_text(job: Job) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of the prompts that have no text: nothing was asked, and that is said."""
    for row, ids in enumerate(job.ids):
        if ids is None:
            blank = {"top_token": None, "top_logp": None, "n_prompt_tokens": None}
            yield row, {**unscored("the suite has no text for this priming"), **blank}


def _ragged(rows: Sequence[Ids]) -> tuple[Ids, npt.NDArray[np.int64]]:
    lengths = [len(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, np.int32)
    return values, offsets


def _present(value: Any) -> Any:
    assert value is not None, "only prompts with text are scored"  # noqa: S101
    return value


__all__ = ["N_SEQUENCES", "Engine", "Job", "Settings", "open_context", "prepare", "without_text"]
