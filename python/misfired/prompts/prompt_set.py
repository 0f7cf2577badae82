"""Prompts: what is made of pairs and primings and put to a model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from misfired.errors import DataError
from misfired.prompts.primings import CONDITIONS, PRIMINGS, Priming, check_primings
from misfired.types import checks_types


@checks_types
def build_prompts(
    pairs: pl.DataFrame, primings: Sequence[str | Priming] = ("none",)
) -> pl.DataFrame:
    """Return one row per prompt, in the order pair, priming, condition.

    Args:
        pairs: Contrastive pairs (see `misfired.read_suite`).
        primings: Sentences to put to the prompts; `check_primings` completes them.

    Returns:
        Columns `id`, `category`, `scenario`, `twin_of` if the suite has it, `priming`, `condition`,
        `expected`, `text`, `system` (the system message or null). A pair without the priming's
        sentence is kept with null `text`, and counted as unscored.

    Raises:
        DataError: As `check_primings`; the suite has no column for a priming.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": ["p1"], "category": ["Age"], "scenario": ["age_q1"], "cue": ["Be fair."],
        ...     "stereotyped": ["A or B?"], "contrast": ["B or A?"],
        ...     "expected_stereotyped": ["yes"], "expected_contrast": ["yes"],
        ... })
        >>> build_prompts(pairs, ["none", "cue"])["text"].to_list()
        ['A or B?', 'B or A?', 'Be fair. A or B?']
    """
    numbered, frames = pairs.with_row_index("_pair"), []
    for priming, condition, key in _keys(pairs, check_primings(primings)):
        text, system = _text_and_system(priming, pl.col(condition), pairs.columns)
        frames.append(numbered.select(*key, text=text, system=system))
    return pl.concat(frames).sort("_pair", maintain_order=True).drop("_pair")


def prompt_keys(pairs: pl.DataFrame, primings: Sequence[Priming]) -> pl.DataFrame:
    """Return the prompts of `build_prompts` without their texts; the primings are complete.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": ["p1"], "category": ["Age"], "scenario": ["age_q1"],
        ...     "expected_stereotyped": ["yes"], "expected_contrast": ["no"],
        ... })
        >>> prompt_keys(pairs, check_primings(["none"])).rows()[1]
        ('p1', 'Age', 'age_q1', 'none', 'contrast', 'no')
    """
    numbered = pairs.with_row_index("_pair")
    frames = [numbered.select(*key) for *_, key in _keys(pairs, primings)]
    return pl.concat(frames).sort("_pair", maintain_order=True).drop("_pair")


def _keys(
    pairs: pl.DataFrame, primings: Sequence[Priming]
) -> Iterator[tuple[Priming, str, list[pl.Expr]]]:
    """Yield each priming with each condition that it asks, and the columns that name these prompts."""
    kept = ["_pair", "id", "category", "scenario", *({"twin_of"} & set(pairs.columns))]
    for priming in primings:
        for condition in sorted(priming.sides, key=CONDITIONS.index):
            named = pl.lit(priming.name).alias("priming"), pl.lit(condition).alias("condition")
            expected = pl.col(f"expected_{condition}").alias("expected")
            yield priming, condition, [*map(pl.col, kept), *named, expected]


def _text_and_system(
    priming: Priming, prompt: pl.Expr, columns: Sequence[str]
) -> tuple[pl.Expr, pl.Expr]:
    nothing = pl.lit(None, pl.String)
    if priming.column is None and priming.text is None:
        return prompt, nothing
    sentence = pl.lit(priming.text) if priming.column is None else pl.col(priming.column)
    if priming.column not in (None, *columns):
        raise DataError(f"priming {priming.name!r} needs a column {priming.column!r}")
    if priming.role == "user":
        return sentence + " " + prompt, nothing
    return pl.when(sentence.is_not_null()).then(prompt), sentence


#: Pairs whose prompts are made, planned and scored together. It bounds the memory beside the suite.
N_SHARD = 512


@dataclass(frozen=True)
class PromptSet:
    """The prompts of a suite, made when needed and numbered from 0 in the order of `build_prompts`."""

    pairs: pl.DataFrame
    primings: tuple[Priming, ...] = (PRIMINGS["none"],)

    @cached_property
    def n_per_pair(self) -> int:
        """Prompts of each pair."""
        return len(build_prompts(self.pairs.head(1), self.primings)) if len(self.pairs) else 0

    def __len__(self) -> int:
        return len(self.pairs) * self.n_per_pair

    @property
    def n_shards(self) -> int:
        """Number of shards of `N_SHARD` pairs; the last may have fewer."""
        return -(-len(self.pairs) // N_SHARD)

    def shard(self, index: int) -> tuple[int, pl.DataFrame]:
        """Return the number of a shard's first prompt, and its prompts."""
        first = index * N_SHARD
        prompts = build_prompts(self.pairs.slice(first, N_SHARD), self.primings)
        return first * self.n_per_pair, prompts

    def at(self, rows: Sequence[int]) -> pl.DataFrame:
        """Return the prompts of these numbers, in this order."""
        made = build_prompts(self.pairs[[row // self.n_per_pair for row in rows]], self.primings)
        return made[[n * self.n_per_pair + row % self.n_per_pair for n, row in enumerate(rows)]]

    def spread(self, n_prompts: int) -> pl.DataFrame:
        """Return at most `n_prompts` prompts, at even distances."""
        n_prompts = min(n_prompts, len(self))
        return self.at([place * len(self) // n_prompts for place in range(n_prompts)])
