"""Who answers prompts: a model file in this process, or something else that keeps this contract."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import polars as pl

from misfired.prompts.prompt_set import PromptSet

#: What was measured of one prompt, by column.
Row = dict[str, Any]
#: Totals over a shard's answers, by section of the manifest and name; those of several shards are added.
Tallies = dict[str, dict[str, int]]
#: Yields (number of the prompt in the shard, its measurements), returns the tallies.
AnswerStream = Generator[list[tuple[int, Row]], None, Tallies]


@dataclass(frozen=True)
class Finding:
    """One thing that `misfired doctor` has looked at, what it found, and what to change.

    Attributes:
        status: `ok`, `note` or `problem`.
    """

    name: str
    value: str
    status: str = "ok"
    advice: str = ""


class Backend(Protocol):
    """Answers prompts, shard by shard.

    Attributes:
        errors_may_pass: True if a prompt that ended in an error may be answered another time.
        n_parallel: Shards that may be asked at once, each from a thread of its own.
    """

    errors_may_pass: bool
    n_parallel: int

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Names and types of what is measured of a prompt."""

    def settings(self) -> dict[str, Any]:
        """Return what decides the answers; a run folder made with other settings is refused."""

    def about(self) -> dict[str, str]:
        """Return what is known so far of the model and of how it is asked, by name, for people."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text on its own, special tokens read as text.

        Raises:
            ArgumentError: The model's tokenizer is out of reach.
        """

    def open(self, sample: pl.DataFrame, n_prompts: int) -> None:
        """Look at some of the prompts, spread over the suite, before the first shard."""

    def answer(self, shard: pl.DataFrame, recorded: Mapping[int, Row]) -> AnswerStream:
        """Answer the prompts of a shard, of which some answers are recorded, by number of the row.

        Yields:
            Each row that is not recorded, as soon as its answer is known, with the key of its answer
            if there is a cache; a recorded row may come again.

        Returns:
            Tallies. A number that depends on how often a run was interrupted belongs to section `times`.
        """

    def conclude(
        self, prompts: PromptSet, answers: pl.DataFrame
    ) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Return the answers, once all are there and checked, and what the manifest tells of them."""

    def close(self) -> None:
        """Give memory and connections back."""


def drain(answers: AnswerStream, take: Callable[[list[tuple[int, Row]]], None]) -> Tallies:
    """Hand everything that is yielded to `take`, and return the tallies."""
    with closing(answers):
        while True:
            try:
                take(next(answers))
            except StopIteration as end:
                return cast("Tallies", end.value)


def is_url(model: object) -> bool:
    """True if a model is named by the address of a server.

    Example:
        >>> is_url("HTTP://127.0.0.1:8000/v1"), is_url("http.gguf")
        (True, False)
    """
    return isinstance(model, str) and model[:8].lower().startswith(("http://", "https://"))
