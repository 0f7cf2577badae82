"""Demonstrations: prompts of the suite with their answers, shown before every prompt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from misfired.errors import ArgumentError, check_one_of
from misfired.prompts.prompt_set import CONDITIONS

#: What is not measured once a demonstration was taken from it.
HELD_OUT = ("scenario", "pair")


@dataclass(frozen=True)
class Shot:
    """A demonstration: an unprimed prompt of a pair (or of a twin), and its expected answer."""

    id: str
    category: str
    scenario: str
    condition: str
    text: str
    answer: str


def draw_shots(
    pairs: pl.DataFrame, n_shots: int, *, seed: int = 0, hold_out: str = "scenario"
) -> tuple[tuple[Shot, ...], pl.DataFrame]:
    """Draw demonstrations from a suite and take what they come from out of it.

    They are balanced over categories, conditions and expected answers: each is drawn where the least
    have been, of categories first. A scenario gives at most one, since the pairs of a scenario share a
    template. What is drawn depends on the seed and on the ids, not on the order of the pairs.

    Args:
        pairs: Contrastive pairs (see `misfired.read_suite`).
        n_shots: How many; 0 takes none.
        seed: Chooses them, and the order in which they are shown.
        hold_out: `scenario`: the pairs of their scenarios are not measured, since the same template
            with its answer has been shown. `pair`: only the very pairs with their twins.

    Returns:
        The demonstrations in the order in which they are shown, and the pairs that are left to measure.

    Raises:
        ArgumentError: More than the suite can give, or nothing would be left to measure.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": ["p", "q", "r"], "category": "Age", "scenario": ["s", "s", "t"],
        ...     "stereotyped": ["A?", "B?", "C?"], "contrast": ["D?", "E?", "F?"],
        ...     "expected_stereotyped": "yes", "expected_contrast": "yes",
        ... })
        >>> shots, measured = draw_shots(pairs, 1, seed=3)
        >>> shots[0].id, shots[0].text, shots[0].answer, measured["id"].to_list()
        ('r', 'C?', 'yes', ['p', 'q'])
    """
    if n_shots < 0:
        raise ArgumentError(f"n_shots is {n_shots}, at least 0 needed")
    check_one_of("hold_out", hold_out, HELD_OUT)
    if not n_shots:
        return (), pairs
    twin_of = pl.col("twin_of") if "twin_of" in pairs.columns else pl.lit(None, pl.String)
    numbered = pairs.with_columns(pl.coalesce(twin_of, "id").alias("_pair"))
    drawn = _draw(numbered, n_shots, seed)
    taken = "scenario" if hold_out == "scenario" else "_pair"
    gone = [row[taken] for row in drawn]
    measured = numbered.filter(~pl.col(taken).is_in(gone)).drop("_pair")
    if measured.is_empty():
        raise ArgumentError(
            f"n_shots is {n_shots}: its demonstrations hold out all {len(pairs)} pairs of the suite"
        )
    shots = (Shot(**{k: row[k] for k in Shot.__dataclass_fields__}) for row in drawn)
    return tuple(sorted(shots, key=lambda shot: _digest(seed, "order", shot.id))), measured


def _draw(pairs: pl.DataFrame, n_shots: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the demonstrations, in the order in which they were drawn."""
    stock: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in sorted(_candidates(pairs, seed), key=lambda row: row["digest"], reverse=True):
        stock.setdefault((row["category"], row["condition"], row["answer"]), []).append(row)
    drawn: list[dict[str, Any]] = []
    used: set[str] = set()
    while len(drawn) < n_shots:
        for rows in stock.values():
            while rows and rows[-1]["scenario"] in used:
                rows.pop()
        stock = {cell: rows for cell, rows in stock.items() if rows}
        if not stock:
            raise ArgumentError(
                f"n_shots is {n_shots}, but the suite has {len(drawn)} scenarios, and each gives at "
                "most one demonstration"
            )
        counts = Counter(part for row in drawn for part in _parts(row))
        least = min(
            (rows[-1] for rows in stock.values()),
            key=lambda row: (*(counts[part] for part in _parts(row)), row["digest"]),
        )
        drawn.append(least)
        used.add(least["scenario"])
    return drawn


def _parts(row: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """What is balanced, the most important first."""
    for names in (
        ("category",),
        ("condition",),
        ("answer",),
        ("condition", "answer"),
        ("category", "condition"),
        ("category", "answer"),
    ):
        yield tuple(word for name in names for word in (name, row[name]))


def _candidates(pairs: pl.DataFrame, seed: int) -> Iterator[dict[str, Any]]:
    shared = ["id", "category", "scenario", "_pair"]
    for condition in CONDITIONS:
        columns = [
            *shared,
            pl.lit(condition).alias("condition"),
            pl.col(condition).str.strip_chars().alias("text"),
            pl.col(f"expected_{condition}").alias("answer"),
        ]
        for row in pairs.select(columns).iter_rows(named=True):
            yield row | {"digest": _digest(seed, condition, row["id"])}


def _digest(seed: int, *words: str) -> bytes:
    # A hash rather than a generator: the draw is the same whatever the order of the rows.
    return hashlib.sha256("\0".join((str(seed), *words)).encode()).digest()
