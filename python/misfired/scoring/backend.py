"""Who answers prompts: a model file in this process, or something else that keeps this contract."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

import polars as pl

from misfired.prompts import PromptSet

#: What was measured of one prompt, by column.
Row = dict[str, Any]


class Backend(Protocol):
    """Answers prompts, shard by shard."""

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Names and types of what is measured of a prompt."""

    def settings(self) -> dict[str, Any]:
        """What decides the answers; a run folder made with others is refused."""

    def open(self, prompts: PromptSet) -> None:
        """Look at the prompts as a whole, before the first shard."""

    def answer(
        self, shard: pl.DataFrame, recorded: Collection[int]
    ) -> Iterator[list[tuple[int, Row]]]:
        """Answer the prompts of a shard.

        Args:
            shard: Rows as `build_prompts` gives them.
            recorded: Numbers of the rows whose answers are known.

        Yields:
            (number of the row in the shard, what was measured), for each row that is not recorded,
            as soon as they are known; a recorded row may come again.
        """

    def facts(self, prompts: PromptSet, answers: pl.DataFrame) -> dict[str, Any]:
        """What the manifest tells of how the answers were made, once all are there."""

    def effort(self) -> dict[str, int]:
        """Counts of the work that this process has done."""

    def close(self) -> None:
        """Give memory and connections back."""
