"""Prompts in, one row of measurements per prompt out, in order."""

import copy
import threading
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from misfired._core import Generator, Scorer
from misfired.errors import ModelError, ScoringError
from misfired.scoring.answers import NO_TEXT, measured_columns, read_forms, read_text
from misfired.scoring.backend import Row
from misfired.scoring.forms import AnswerTokens, Ids, Tokens
from misfired.scoring.llama.model import Context
from misfired.scoring.protocol import LOGIT, Protocol

#: Decoded tokens after which a block may end. An interrupted run repeats the block it was in. Blocks of
#: texts are longer, since places stand empty at their ends.
N_BLOCK, N_BLOCK_TEXTS = 4096, 16_384
#: A choice is close where its lead is below this many times the largest change of a lead that was measured
#: between packed and alone.
CAUTION = 5.0
#: llama.cpp rounds contexts up to this.
CELLS = 256
#: `packed` fills batches with many prompts; `stable` draws which share one and gives all batches the same
#: shape; `solo` gives each prompt batches of its own, and keeps in the
#: cache what it shares with the one before; `fresh` keeps nothing.
Packing = Literal["packed", "stable", "solo", "fresh"]


@dataclass(frozen=True)
class TokenisedPrompt:
    """One prompt: token ids up to the scored position, and which tokens are read there.

    Attributes:
        name: What messages call it.
        n_tokens: Tokens of the whole prompt.
    """

    name: str
    expected: str
    ids: Ids
    answers: AnswerTokens
    n_tokens: int

    @property
    def n_longest(self) -> int:
        """Tokens that are decoded at most: the prompt with the longest of its forms."""
        return len(self.ids) + self.answers.n_longest

    @property
    def key(self) -> Hashable:
        """What decides its measurements: prompts with the same key have the same."""
        answers = self.answers
        return (self.ids.tobytes(), self.expected, self.n_tokens, answers.keep, answers.forms)


@dataclass(frozen=True)
class Job:
    """Everything that must be known before the first token is decoded.

    Attributes:
        prompts: The prompts that have text, by number; `without_text` are the numbers of the others.
        content_free: The content-free prompt, where the protocol compares with it.
        baseline: Log-probability of each form after that prompt (see `calibrate`).
        in_reasoning: True if the prompts end inside a reasoning block.
    """

    prompts: dict[int, TokenisedPrompt]
    without_text: tuple[int, ...] = ()
    protocol: Protocol = LOGIT
    content_free: TokenisedPrompt | None = None
    baseline: dict[str, float] | None = None
    in_reasoning: bool = False

    @property
    def decoded(self) -> list[TokenisedPrompt]:
        """All prompts that are decoded, the content-free one last."""
        return [*self.prompts.values(), *filter(None, [self.content_free])]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with the longest of its forms."""
        return max((prompt.n_longest for prompt in self.decoded), default=0)

    def only(self, rows: Iterable[int]) -> "Job":
        """Return the job with some of its prompts."""
        return replace(self, prompts={row: self.prompts[row] for row in rows})

    def with_baseline(self, baseline: dict[str, float] | None) -> "Job":
        """Return the job with its forms compared to their scores after the content-free prompt.

        Raises:
            ModelError: A form of the job has no such score.
        """
        for prompt in self.prompts.values():
            for form in prompt.answers.forms:
                if baseline is not None and form.text not in baseline:
                    raise ModelError(
                        f"prompt {prompt.name}: form {form.text!r} must be scored after the "
                        "content-free prompt too, which tokenises it otherwise"
                    )
        return replace(self, baseline=baseline)


class Engine:
    """A job on its way through a context, block by block.

    Blocks do not depend on one another: an interrupted job repeats only the block it was in, and gives
    the same bits.

    Attributes:
        logp: Log-probability of each form of `AnswerTokens.forms`, by number of the prompt.
    """

    def __init__(
        self,
        context: Context,
        job: Job,
        *,
        packing: Packing = "packed",
        seed: int = 0,
        n_block: int | None = None,
    ) -> None:
        self.context, self.job = context, job
        self._how: dict[str, Any] = {
            "n_block": n_block or N_BLOCK,
            "packing": packing,
            "seed": seed % 2**64,
        }
        self.logp: dict[int, list[float]] = {}
        nodes = [(row, *node) for row in job.prompts for node in job.prompts[row].answers.nodes]
        self._positions = [(row, path) for row, path, _ in nodes]
        self._wanted = [wanted for *_, wanted in nodes]
        # The positions of a prompt may come in several batches, and on several contexts.
        self._read: defaultdict[int, dict[tuple[Tokens, int], float]] = defaultdict(dict)
        self._top: dict[int, tuple[int, float]] = {}
        self._reading = threading.Lock()
        self.scorer = self._scorer()

    def _scorer(self) -> Scorer:
        rows = [
            np.append(self.job.prompts[row].ids, np.array(path, np.int32))
            for row, path in self._positions
        ]
        wanted = [np.array(each, np.int32) for each in self._wanted]
        return Scorer(self.context.handle, ragged(rows), ragged(wanted), **self._how)

    def on(self, context: Context) -> "Engine":
        """Return an engine for the same blocks on another context; what both read of a prompt is put together."""
        other = copy.copy(self)
        other.context = context
        other.scorer = other._scorer()
        return other

    def blocks(self) -> Iterator[list[int]]:
        """Yield for each block the numbers of the prompts that need it."""
        for block in range(self.scorer.n_blocks):
            places = self.scorer.block_sequences(block).tolist()
            yield list(dict.fromkeys(self._positions[place][0] for place in places))

    def run_block(self, block: int) -> Iterator[list[tuple[int, Row]]]:
        """Decode a block; after each batch yield (number of the prompt, its measurements)."""
        self.scorer.start(block)
        while (result := step(self.scorer, self.context)) is not None:
            places, logps, tokens, top_logps = (column.tolist() for column in result)
            values, complete = iter(logps), []
            for place, *top in zip(places, tokens, top_logps, strict=True):
                row, path = self._positions[place]
                found = {(path, wanted): next(values) for wanted in self._wanted[place]}
                if self._completes(row, found, None if path else (top[0], top[1])):
                    complete.append((row, self._measure(row)))
            yield complete

    def _completes(
        self, row: int, found: dict[tuple[Tokens, int], float], top: tuple[int, float] | None
    ) -> bool:
        """Add what was read of a prompt; true if that was the last of it."""
        n_wanted = sum(len(wanted) for _, wanted in self.job.prompts[row].answers.nodes)
        with self._reading:
            self._read[row] |= found
            if top is not None:
                self._top[row] = top
            return len(self._read[row]) == n_wanted

    def _measure(self, row: int) -> Row:
        prompt, job = self.job.prompts[row], self.job
        answers, (token, top_logp) = prompt.answers, self._top.pop(row)
        self.logp[row] = logp = answers.log_probabilities(self._read.pop(row))
        return {
            **read_forms(job.protocol, answers.forms, logp, prompt.expected, job.baseline),
            "top_token": self.context.model.text_of(token) if token >= 0 else None,
            "top_logp": None if np.isnan(top_logp) else top_logp,
            "n_prompt_tokens": prompt.n_tokens,
        }


class TextEngine:
    """A job of one greedy text for each prompt, parsed, on its way through a context; see `Engine`.

    A prompt's neighbours in the batch can change which token is the most probable only where two tokens
    are closer than rounding moves them: a packed text with a choice that close is written again, alone.

    The context must be one for texts (see `open_context`). Any packing but `packed` writes each text
    alone; `noise` is how much neighbours were seen to change a logit.
    """

    def __init__(
        self, context: Context, job: Job, *, packing: Packing = "packed", noise: float = 0.0
    ) -> None:
        self.context, self.job, self.packed = context, job, packing in {"packed", "stable"}
        self.rows, self.least_gap, self.n_rewritten = list(job.prompts), CAUTION * noise, 0
        self.n_extended = 0
        self.scorer = self._generator(self.rows, packed=self.packed)

    def _generator(
        self, rows: Sequence[int], *, packed: bool, n_generate: int | None = None
    ) -> Generator:
        return Generator(
            self.context.handle,
            ragged([self.job.prompts[row].ids for row in rows]),
            n_generate=n_generate or self.job.protocol.n_generate,
            stop=list(self.job.protocol.stop),
            n_places=self.context.n_sequences - 1 if packed else 1,
            n_block=N_BLOCK_TEXTS,
            packing="packed" if packed else "fresh",
        )

    def blocks(self) -> Iterator[list[int]]:
        """Yield for each block the numbers of its prompts."""
        for block in range(self.scorer.n_blocks):
            yield [self.rows[place] for place in self.scorer.block_sequences(block).tolist()]

    def run_block(self, block: int) -> Iterator[list[tuple[int, Row]]]:
        """Write a block's texts; after each batch yield (number of the prompt, its measurements).

        A text that is cut off before it has decided is written again, up to `Protocol.n_extended`.
        """
        protocol, undecided = self.job.protocol, list[int]()
        n_again = self.n_rewritten + self.n_extended
        first = self._texts(self.scorer, self.rows, [block])
        for batch in self._settled(first, protocol.n_generate):
            undecided += [row for row, measured in batch if protocol.leaves_undecided(measured)]
            yield [answered for answered in batch if answered[0] not in undecided]
        if undecided:
            self.n_extended += len(undecided)
            n_longer = protocol.n_extended
            longer = self._generator(undecided, packed=self.packed, n_generate=n_longer)
            every = self._texts(longer, undecided, range(longer.n_blocks))
            yield from self._settled(every, n_longer)
        if self.n_rewritten + self.n_extended > n_again:
            # The cache has been used for something else: the header has to be read again.
            self.scorer = self._generator(self.rows, packed=self.packed)

    def _settled(
        self, texts: Iterator[list[tuple[int, Row]]], n_generate: int
    ) -> Iterator[list[tuple[int, Row]]]:
        """Yield texts; write those with a choice that neighbours may have moved again, alone."""
        close: set[int] = set()
        for batch in texts:
            gaps = {row: measured["least_gap"] for row, measured in batch if self.packed}
            close |= {row for row, gap in gaps.items() if gap is not None and gap <= self.least_gap}
            yield [answered for answered in batch if answered[0] not in close]
        if close:
            self.n_rewritten += len(close)
            alone = self._generator(sorted(close), packed=False, n_generate=n_generate)
            yield from self._texts(alone, sorted(close), range(alone.n_blocks))

    def _texts(
        self, generator: Generator, rows: Sequence[int], blocks: Iterable[int]
    ) -> Iterator[list[tuple[int, Row]]]:
        for block in blocks:
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
    context: Context,
    job: Job,
    *,
    packing: Packing = "packed",
    noise: float = 0.0,
    seed: int = 0,
    n_block: int | None = None,
) -> Engine | TextEngine:
    """Return the engine that a job's protocol needs."""
    if job.protocol.generates:
        return TextEngine(context, job, packing=packing, noise=noise)
    return Engine(context, job, packing=packing, seed=seed, n_block=n_block)


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


def step(scorer: Any, context: Context) -> Any:
    """Return what the next batch of a scorer or generator gives, None after the last of its block."""
    try:
        with context.model.watched():
            return scorer.step()
    except ScoringError as error:
        raise ScoringError(f"{context.model.path}: {error}") from None


def without_text(job: Job) -> list[tuple[int, Row]]:
    """Return the rows of the prompts that have no text: errors that say so."""
    blank = dict.fromkeys(measured_columns(job.protocol))
    return [(row, blank | {"outcome": "error", "reason": NO_TEXT}) for row in job.without_text]


def ragged(rows: Sequence[Ids]) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Return rows as one flat array, and the offsets of their ends."""
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32), offsets
