"""From pairs to the prompts that are put to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from misfired.errors import DataError
from misfired.prompts.primings import CONDITIONS, PRIMINGS, Priming, check_primings

__all__ = ["CONDITIONS", "N_SHARD", "PromptSet", "build_prompts"]


def build_prompts(
    pairs: pl.DataFrame, primings: Sequence[str | Priming] = ("none",)
) -> pl.DataFrame:
    """One row per prompt, in the order pair, priming, condition.

    Args:
        pairs: Contrastive pairs (see `misfired.read_suite`).
        primings: Which sentences to put to the prompts; `check_primings` completes them.

    Returns:
        Columns `id`, `category`, `scenario`, `twin_of` if the suite has it, `priming`, `condition`,
        `expected`, `text`, `system` (the system message, null where there is none). A pair that lacks
        the priming's sentence has null `text`: it is kept, and counted as unscored.

    Raises:
        DataError: The suite has no column for a priming.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": ["p1"], "category": ["Age"], "scenario": ["age_q1"], "cue": ["Be fair."],
        ...     "stereotyped": ["A or B?"], "contrast": ["B or A?"],
        ...     "expected_stereotyped": ["yes"], "expected_contrast": ["yes"],
        ... })
        >>> build_prompts(pairs, ["none", "cue"])["text"].to_list()
        ['A or B?', 'B or A?', 'Be fair. A or B?']
    """
    return _build(pairs, check_primings(primings))


def _build(pairs: pl.DataFrame, primings: Sequence[Priming]) -> pl.DataFrame:
    frames = []
    numbered = pairs.with_row_index("_pair")
    for order, priming in enumerate(primings):
        for condition in priming.sides:
            text, system = _text_and_system(priming, pl.col(condition), pairs.columns)
            frames.append(
                numbered.select(
                    "_pair",
                    pl.lit(order).alias("_priming"),
                    pl.lit(CONDITIONS.index(condition)).alias("_condition"),
                    "id",
                    "category",
                    "scenario",
                    *({"twin_of"} & set(pairs.columns)),
                    pl.lit(priming.name).alias("priming"),
                    pl.lit(condition).alias("condition"),
                    pl.col(f"expected_{condition}").alias("expected"),
                    text.alias("text"),
                    system.alias("system"),
                )
            )
    prompts = pl.concat(frames).sort("_pair", "_priming", "_condition")
    return prompts.drop("_pair", "_priming", "_condition")


def _text_and_system(
    priming: Priming, prompt: pl.Expr, columns: Sequence[str]
) -> tuple[pl.Expr, pl.Expr]:
    nothing = pl.lit(None, pl.String)
    if priming.column is not None:
        if priming.column not in columns:
            raise DataError(
                f"priming {priming.name!r} needs a column {priming.column!r}, which the suite lacks"
            )
        sentence = pl.col(priming.column)
    elif priming.text is not None:
        sentence = pl.lit(priming.text)
    else:
        return prompt, nothing
    if priming.role == "user":
        return sentence + " " + prompt, nothing
    return pl.when(sentence.is_not_null()).then(prompt), sentence


#: Pairs whose prompts are made, planned and scored together; what is held of a suite beside the suite
#: itself is bounded by it.
N_SHARD = 512


@dataclass(frozen=True)
class PromptSet:
    """The prompts of a suite, made when they are needed.

    Prompts are numbered from 0 in the order of `build_prompts`, which has as many for every pair.
    """

    pairs: pl.DataFrame
    primings: tuple[Priming, ...] = (PRIMINGS["none"],)

    @cached_property
    def n_per_pair(self) -> int:
        """Prompts of each pair."""
        return len(_build(self.pairs.head(1), self.primings)) if len(self.pairs) else 0

    def __len__(self) -> int:
        return len(self.pairs) * self.n_per_pair

    @property
    def n_shards(self) -> int:
        """How many times `N_SHARD` pairs, the last shard perhaps with fewer."""
        return -(-len(self.pairs) // N_SHARD)

    def shard(self, index: int) -> tuple[int, pl.DataFrame]:
        """Number of the first prompt of a shard, and its prompts."""
        first = index * N_SHARD
        made = _build(self.pairs.slice(first, N_SHARD), self.primings)
        return first * self.n_per_pair, made

    def at(self, rows: Sequence[int]) -> pl.DataFrame:
        """The prompts of those numbers, in that order."""
        made = _build(self.pairs[[row // self.n_per_pair for row in rows]], self.primings)
        return made[[n * self.n_per_pair + row % self.n_per_pair for n, row in enumerate(rows)]]

    def spread(self, n_prompts: int) -> pl.DataFrame:
        """At most so many prompts, at even distances.

        Example:
            >>> pairs = pl.DataFrame({
            ...     "id": ["p", "q"], "category": "Age", "scenario": "age_q1", "stereotyped": "A?",
            ...     "contrast": ["B?", "C?"], "expected_stereotyped": "yes", "expected_contrast": "yes",
            ... })
            >>> PromptSet(pairs).spread(2)["text"].to_list()
            ['A?', 'A?']
        """
        n_prompts = min(n_prompts, len(self))
        return self.at([place * len(self) // n_prompts for place in range(n_prompts)])
