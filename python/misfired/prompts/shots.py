"""Few-shot demonstrations: prompts of the suite with their answers, shown before every prompt."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.prompts.order import digest, pair_of
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
    numbered = pairs.with_columns(_pair=pair_of(pairs))
    drawn = _draw(numbered, n_shots, seed)
    taken = "scenario" if hold_out == "scenario" else "_pair"
    measured = numbered.filter(~pl.col(taken).is_in([row[taken] for row in drawn])).drop("_pair")
    if measured.is_empty():
        got = f"{n_shots}, which hold out all {len(pairs)} pairs"
        raise ArgumentError(f"n_shots must leave pairs to measure, got {got}")
    shots = (Shot(**{k: row[k] for k in Shot.__dataclass_fields__}) for row in drawn)
    return tuple(sorted(shots, key=lambda shot: digest(seed, "order", shot.id))), measured


def fixed_shots(
    pairs: pl.DataFrame, listed: pl.DataFrame, n_shots: int, *, hold_out: str = "scenario"
) -> tuple[tuple[Shot, ...], pl.DataFrame]:
    """Take the first demonstrations of a list, and exclude the pairs of all that are listed from a suite.

    So runs with any number of them, none among these, measure the same pairs.

    Args:
        pairs: Contrastive pairs.
        listed: A row per demonstration: `id` of a pair of the suite and `condition`; or, for a text of
            one's own, `text` and `answer`, with an `id` or a `scenario` to exclude, if there is one.
        n_shots: Number of demonstrations that are shown.
        hold_out: As in `draw_shots`.

    Raises:
        ArgumentError: There are fewer demonstrations, or no pair would be left.
        DataError: A row names no pair and has no text; the message names it.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": ["p", "q", "r"], "category": "Age", "scenario": ["s", "s", "t"],
        ...     "stereotyped": ["A?", "B?", "C?"], "contrast": ["D?", "E?", "F?"],
        ...     "expected_stereotyped": "yes", "expected_contrast": "yes",
        ... })
        >>> listed = pl.DataFrame({"id": ["r"], "condition": ["contrast"]})
        >>> for n in (0, 1):
        ...     shots, left = fixed_shots(pairs, listed, n)
        ...     print([(shot.text, shot.answer) for shot in shots], left["id"].to_list())
        [] ['p', 'q']
        [('F?', 'yes')] ['p', 'q']
    """
    check_one_of("hold_out", hold_out, HELD_OUT)
    if not 0 <= n_shots <= len(listed):
        raise ArgumentError(
            f"n_shots must be at most {len(listed)}, the rows of shots, got {n_shots}"
        )
    numbered = pairs.with_columns(_pair=pair_of(pairs))
    known = {row["id"]: row for row in numbered.iter_rows(named=True)}
    shots = [
        _listed(row, known, at) for at, row in enumerate(listed.iter_rows(named=True), start=1)
    ]
    own = [known[shot.id] for shot in shots if shot.id in known]
    taken = "scenario" if hold_out == "scenario" else "_pair"
    names = {row[taken] for row in own}
    if taken == "scenario":
        names |= {shot.scenario for shot in shots if shot.scenario}
    left = numbered.filter(~pl.col(taken).is_in(list(names))).drop("_pair")
    if left.is_empty():
        raise ArgumentError(f"shots must leave pairs to measure, got all {len(pairs)}")
    return tuple(shots[:n_shots]), left


def _listed(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], at: int) -> Shot:
    """Return the demonstration of a row of a list."""
    pair = known.get(row.get("id") or "")
    text, answer, side = (row.get(name) for name in ("text", "answer", "condition"))
    if text is None and pair is not None:
        if side not in CONDITIONS:
            rule = f"condition must be {' or '.join(CONDITIONS)}"
            raise DataError(f"shots: row {at}: {rule}, got {side!r}")
        text, answer = pair[side].strip(), answer or pair[f"expected_{side}"]
    if not text or not answer:
        problem = "must name a pair of the suite by id, or hold text and answer"
        raise DataError(f"shots: row {at} {problem}, got id {row.get('id')!r}")
    told = pair or row
    category, scenario = (str(told.get(name) or "") for name in ("category", "scenario"))
    name = str(row.get("id") or f"shot {at}")
    return Shot(name, category, scenario, str(side or ""), str(text), str(answer))


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
