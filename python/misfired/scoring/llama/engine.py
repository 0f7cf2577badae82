"""Prompts in, one row of measurements per prompt out, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.errors import ScoringError
from misfired.scoring.answers import NO_TEXT, Logp, measured_columns, read_forms
from misfired.scoring.forms import AnswerTokens, Ids, Tokens
from misfired.scoring.llama.model import Context, Model
from misfired.scoring.protocol import LOGIT, Protocol

#: Decoded tokens after which a block may end; a block is what an interrupted run repeats.
N_BLOCK = 4096

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
