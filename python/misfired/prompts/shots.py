"""Few-shot demonstrations: prompts of the suite with their answers, shown before every prompt."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from misfired.errors import ArgumentError, check_one_of
from misfired.prompts.order import digest
from misfired.prompts.primings import CONDITIONS

#: Exclude each demonstration's whole scenario, or only its pair.
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
    """Draw demonstrations from a suite, and exclude their scenarios or pairs from it.

    The draw balances categories first, then conditions and expected answers. A scenario gives at most
    one demonstration, since its pairs share a template. The draw depends on the seed and the ids, not on
    the order of the pairs.

    Args:
        pairs: Contrastive pairs (see `misfired.read_suite`).
        n_shots: Number of demonstrations.
        seed: Chooses them and their order.
        hold_out: `scenario` excludes all pairs of their scenarios, since the model has seen the template
            with its answer; `pair` excludes only their pairs and twins.

    Returns:
        The demonstrations in the order in which they are shown, and the pairs that are left.

    Raises:
        ArgumentError: The suite has too few scenarios, or no pair would be left.

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
        raise ArgumentError(f"n_shots must be at least 0, got {n_shots}")
    check_one_of("hold_out", hold_out, HELD_OUT)
    if not n_shots:
        return (), pairs
    pair = pl.coalesce("twin_of", "id") if "twin_of" in pairs.columns else pl.col("id")
    numbered = pairs.with_columns(_pair=pair)
    drawn = _draw(numbered, n_shots, seed)
    taken = "scenario" if hold_out == "scenario" else "_pair"
    measured = numbered.filter(~pl.col(taken).is_in([row[taken] for row in drawn])).drop("_pair")
    if measured.is_empty():
        got = f"{n_shots}, which hold out all {len(pairs)} pairs"
        raise ArgumentError(f"n_shots must leave pairs to measure, got {got}")
    shots = (Shot(**{k: row[k] for k in Shot.__dataclass_fields__}) for row in drawn)
    return tuple(sorted(shots, key=lambda shot: digest(seed, "order", shot.id))), measured


#: Columns that are balanced, the most important first.
_BALANCED = (
    *(("category",), ("condition",), ("answer",)),
    *(("condition", "answer"), ("category", "condition"), ("category", "answer")),
)


def _draw(pairs: pl.DataFrame, n_shots: int, seed: int) -> list[dict[str, Any]]:
    """Return the rows of the demonstrations, in the order of the draw."""
    stock: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in sorted(_candidates(pairs, seed), key=lambda row: row["digest"], reverse=True):
        stock.setdefault((row["category"], row["condition"], row["answer"]), []).append(row)
    drawn: list[dict[str, Any]] = []
    used: set[str] = set()
    counts: Counter[tuple[str, ...]] = Counter()
    while len(drawn) < n_shots:
        for rows in stock.values():
            while rows and rows[-1]["scenario"] in used:
                rows.pop()
        least = min(
            (rows[-1] for rows in stock.values() if rows),
            key=lambda row: (*(counts[part] for part in _parts(row)), row["digest"]),
            default=None,
        )
        if least is None:
            rule = f"at most {len(drawn)}, one of each scenario"
            raise ArgumentError(f"n_shots must be {rule}, got {n_shots}")
        drawn.append(least)
        used.add(least["scenario"])
        counts.update(_parts(least))
    return drawn


def _parts(row: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(*names, *(row[name] for name in names)) for names in _BALANCED]


def _candidates(pairs: pl.DataFrame, seed: int) -> Iterator[dict[str, Any]]:
    for condition in CONDITIONS:
        candidates = pairs.select(
            *("id", "category", "scenario", "_pair"),
            condition=pl.lit(condition),
            text=pl.col(condition).str.strip_chars(),
            answer=f"expected_{condition}",
        )
        for row in candidates.iter_rows(named=True):
            yield row | {"digest": digest(seed, condition, row["id"])}
