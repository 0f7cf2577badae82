"""Prompts in, one greedy text per prompt out, parsed; many prompts at once.

Which token is the most probable can depend on a prompt's neighbours in the batch only where two tokens
are closer than rounding moves them. So prompts are packed, and a text in whose making any choice was
that close is written again, its prompt alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from misfired import _core
from misfired.errors import ScoringError
from misfired.scoring.answers import measured_columns, read_text
from misfired.scoring.llama.engine import Engine, Job, Packing, ragged
from misfired.scoring.llama.model import Context, Model

#: Decoded prompt tokens after which a block may end. At its end places stand empty, so that it is
#: longer than a scorer's.
N_BLOCK = 16_384

#: A choice is close where its lead is below this many times the largest difference that was measured
#: between packed and alone.
CAUTION = 10.0


class TextEngine:
    """A job of texts on its way through a context, block by block; see `Engine`."""

    def __init__(
        self,
        model: Model,
        context: Context,
        job: Job,
        rows: Sequence[int] | None = None,
        *,
        packing: Packing = "packed",
        noise: float = 0.0,
    ) -> None:
        """Plan the job's prompts, or those in `rows`.

        Args:
            model: The model.
            context: A context made for texts (see `open_context`).
            job: What to ask.
            rows: Which of its prompts.
            packing: `packed`, or anything else for each prompt alone.
            noise: How much neighbours were seen to change a logit.
        """
        self.job, self.model, self.context = job, model, context
        self.rows = job.rows if rows is None else list(rows)
        self.packing = packing
        self.least_gap = CAUTION * noise
        self.n_rewritten = 0
        self.scorer = self._generator(self.rows, self.packing)

    def _generator(self, rows: Sequence[int], packing: Packing) -> _core.Generator:
        alone = packing != "packed"
        return _core.Generator(
            self.context.handle,
            ragged([ids for row in rows if (ids := self.job.ids[row]) is not None]),
            n_generate=self.job.protocol.n_generate,
            stop=list(self.job.protocol.stop),
            n_places=1 if alone else self.context.n_sequences - 1,
            n_block=N_BLOCK,
            packing="fresh" if alone else packing,
        )

    def blocks(self) -> Iterator[list[int]]:
        """For each block the numbers of its prompts."""
        for block in range(self.scorer.n_blocks):
            yield [self.rows[place] for place in self.scorer.block_sequences(block).tolist()]

    def run_block(self, block: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Write a block's texts; after each batch yield (number of the prompt, what came of it)."""
        close: list[int] = []
        for batch in self._texts(self.scorer, self.rows, block):
            sure = [row for row in batch if self.packing != "packed" or not self._is_close(row[1])]
            close += [row for row, _ in batch if row not in {number for number, _ in sure}]
            yield sure
        if close:
            self.n_rewritten += len(close)
            alone = self._generator(sorted(close), "solo")
            for part in range(alone.n_blocks):
                yield from self._texts(alone, sorted(close), part)
            # The cache has been used for something else: the header has to be read again.
            self.scorer = self._generator(self.rows, self.packing)

    def _is_close(self, measured: dict[str, Any]) -> bool:
        return measured["least_gap"] is not None and measured["least_gap"] <= self.least_gap

    def _texts(
        self, generator: _core.Generator, rows: Sequence[int], block: int
    ) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        generator.start(block)
        while (finished := _step(generator, self.model)) is not None:
            places, *columns = finished
            yield [
                (rows[place], self._measure(rows[place], *written))
                for place, *written in zip(places, *columns, strict=True)
            ]

    def _measure(  # noqa: PLR0917  one argument for each column
        self, row: int, text: bytes, stop: str, n_tokens: int, logp: float, least_gap: float
    ) -> dict[str, Any]:
        blank = dict.fromkeys(measured_columns(self.job.protocol))
        if np.isnan(logp):
            return {**blank, "outcome": "error", "reason": "non-finite logits", "stop": stop}
        written = text.decode(errors="replace")
        return {
            **blank,
            **read_text(
                self.job.protocol,
                written,
                self.job.expected[row],
                in_reasoning=self.job.in_reasoning,
                truncated=stop == "length",
            ),
            "text": written,
            "stop": stop,
            "n_generated": n_tokens,
            "logp_text": logp,
            "least_gap": least_gap,
            "n_prompt_tokens": self.job.n_prompt_tokens[row],
        }


def engine_for(
    model: Model,
    context: Context,
    job: Job,
    rows: Sequence[int] | None = None,
    *,
    packing: Packing = "packed",
    noise: float = 0.0,
) -> Engine | TextEngine:
    """The engine that a job's protocol needs."""
    if job.protocol.generates:
        return TextEngine(model, context, job, rows, packing=packing, noise=noise)
    return Engine(model, context, job, rows, packing=packing)


def _step(generator: _core.Generator, model: Model) -> tuple[Any, ...] | None:
    try:
        finished = generator.step()
    except ScoringError as error:
        raise ScoringError(f"{model.path}: {error}") from None
    if finished is None:
        return None
    places, texts, stops, n_tokens, logps, gaps = finished
    return places.tolist(), texts, stops, n_tokens.tolist(), logps.tolist(), gaps.tolist()
