"""Prompts in, one greedy text per prompt out, parsed; many prompts at once.

A prompt's neighbours in the batch can change which token is the most probable only where two tokens are
closer than rounding moves them: a packed text with a choice that close is written again, alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from misfired._core import Generator
from misfired.scoring.answers import measured_columns, read_text
from misfired.scoring.backend import Row
from misfired.scoring.llama.engine import Engine, Job, Packing, ragged, step
from misfired.scoring.llama.model import Context

#: Decoded prompt tokens after which a block may end. At its end places stand empty, so it is longer
#: than a scorer's.
N_BLOCK = 16_384

#: A choice is close where its lead is below this many times the largest difference that was measured
#: between packed and alone.
CAUTION = 10.0


class TextEngine:
    """A job of texts on its way through a context, block by block; see `Engine`.

    Args:
        context: A context made for texts (see `open_context`).
        job: What to ask.
        packing: `packed`, or anything else for each prompt alone.
        noise: How much neighbours were seen to change a logit.
    """

    def __init__(
        self, context: Context, job: Job, *, packing: Packing = "packed", noise: float = 0.0
    ) -> None:
        self.context, self.job, self.packed = context, job, packing == "packed"
        self.rows, self.least_gap, self.n_rewritten = list(job.prompts), CAUTION * noise, 0
        self.scorer = self._generator(self.rows, packed=self.packed)

    def _generator(self, rows: Sequence[int], *, packed: bool) -> Generator:
        return Generator(
            self.context.handle,
            ragged([self.job.prompts[row].ids for row in rows]),
            n_generate=self.job.protocol.n_generate,
            stop=list(self.job.protocol.stop),
            n_places=self.context.n_sequences - 1 if packed else 1,
            n_block=N_BLOCK,
            packing="packed" if packed else "fresh",
        )

    def blocks(self) -> Iterator[list[int]]:
        """Yield for each block the numbers of its prompts."""
        for block in range(self.scorer.n_blocks):
            yield [self.rows[place] for place in self.scorer.block_sequences(block).tolist()]

    def run_block(self, block: int) -> Iterator[list[tuple[int, Row]]]:
        """Write a block's texts; after each batch yield (number of the prompt, its measurements)."""
        close: list[int] = []
        for batch in self._texts(self.scorer, self.rows, block):
            close += [row for row, measured in batch if self._is_close(measured)]
            yield [answered for answered in batch if not self._is_close(answered[1])]
        if close:
            self.n_rewritten += len(close)
            alone = self._generator(sorted(close), packed=False)
            for part in range(alone.n_blocks):
                yield from self._texts(alone, sorted(close), part)
            # The cache has been used for something else: the header has to be read again.
            self.scorer = self._generator(self.rows, packed=self.packed)

    def _is_close(self, measured: Row) -> bool:
        gap = measured["least_gap"]
        return self.packed and gap is not None and bool(gap <= self.least_gap)

    def _texts(
        self, generator: Generator, rows: Sequence[int], block: int
    ) -> Iterator[list[tuple[int, Row]]]:
        generator.start(block)
        while (finished := step(generator, self.context)) is not None:
            places, texts, stops, *numbers = finished
            columns = places, texts, stops, *(column.tolist() for column in numbers)
            yield [
                (rows[place], self._measure(rows[place], *written))
                for place, *written in zip(*columns, strict=True)
            ]

    def _measure(  # noqa: PLR0917  one argument for each column
        self, row: int, text: bytes, stop: str, n_tokens: int, logp: float, least_gap: float
    ) -> Row:
        job, prompt, written = self.job, self.job.prompts[row], text.decode(errors="replace")
        blank = dict.fromkeys(measured_columns(job.protocol))
        if np.isnan(logp):
            return {**blank, "outcome": "error", "reason": "non-finite logits", "stop": stop}
        cut, inside = stop == "length", job.in_reasoning
        return {
            **blank,
            **read_text(job.protocol, written, prompt.expected, in_reasoning=inside, truncated=cut),
            "text": written,
            "stop": stop,
            "n_generated": n_tokens,
            "logp_text": logp,
            "least_gap": least_gap,
            "n_prompt_tokens": prompt.n_tokens,
        }


def engine_for(
    context: Context, job: Job, *, packing: Packing = "packed", noise: float = 0.0
) -> Engine | TextEngine:
    """Return the engine that a job's protocol needs."""
    if job.protocol.generates:
        return TextEngine(context, job, packing=packing, noise=noise)
    return Engine(context, job, packing=packing)


def alone(context: Context, job: Job) -> list[Row]:
    """Return the measurements of each prompt of a job with nothing else in the cache."""
    each = (engine_for(context, job.only([row]), packing="fresh") for row in job.prompts)
    return [measured for engine in each for measured in answer_all(engine).values()]


def answer_all(engine: Engine | TextEngine) -> dict[int, Row]:
    """Return what an engine measures of each of its prompts, by number."""
    return {
        row: measured
        for block in range(engine.scorer.n_blocks)
        for batch in engine.run_block(block)
        for row, measured in batch
    }
