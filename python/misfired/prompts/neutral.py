"""Neutral sentences as long as a suite's cues, in the tokens of the model at hand."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from misfired.prompts.primings import Priming

#: Gives the number of tokens of each text.
CountTokens = Callable[[Sequence[str]], Sequence[int]]
#: Most tokens by which a neutral sentence may be longer or shorter than its cue.
MAX_DIFFERENCE = 2
#: Most things that a sentence lists.
_N_LISTED = 24
#: Places, and the things that make a sentence about one as long as it must be.
_PLACES = {
    "the market sells": "apples bread cheese corn eggs fish flour grapes honey jam lemons "
    "lettuce melons milk nuts oil olives onions pears plums rice salt soup sugar tea",
    "the library lends": "books maps films games music plays poems novels magazines papers "
    "puzzles prints records songs stories tools atlases letters guides journals notes posters recipes texts scores",
    "the museum shows": "coins clocks maps ships stamps stones shells vases masks bells drums "
    "lamps bowls chairs tables doors tiles gems fans keys flags glass silver gold ropes",
    "the park has": "trees ponds paths lawns hills bridges benches roses ferns gates streams "
    "birds ducks geese grass leaves moss rocks sand steps signs walls lights swings tables",
    "the shed holds": "nails boards bolts boxes bricks buckets cans chains cords crates hoses "
    "hooks jars ladders paint pipes planks pots ropes saws screws seeds tape wire wood",
    "the kitchen needs": "bowls cups forks plates knives spoons pans pots trays jars towels "
    "chairs lamps shelves salt water flour butter rice sugar beans oil tea bread fruit",
}


def _sentences() -> Iterator[str]:
    """Yield every sentence, from short to long for each place."""
    for start, things in _PLACES.items():
        first, *others = things.split()
        yield f"It is known that {start} {first}."
        for n, last in enumerate(others[: _N_LISTED - 1]):
            yield f"It is known that {start} {', '.join([first, *others[:n]])} and {last}."


def add_neutral(pairs: pl.DataFrame, count_tokens: CountTokens) -> pl.DataFrame:
    """Give each pair a neutral sentence of its cue's length.

    The columns are `neutral` and `neutral_difference` (the sentence's tokens minus the cue's, int64).
    Both are null without a cue, or if no sentence comes within `MAX_DIFFERENCE` tokens. Equal cues get
    equal sentences; the cue's text chooses among sentences of the least difference.

    Example:
        >>> pairs = pl.DataFrame({"cue": ["It is not okay to assume old people forget things."]})
        >>> made = add_neutral(pairs, lambda texts: [len(text.split()) for text in texts])
        >>> made["neutral"][0].split()[:4], made["neutral_difference"][0]
        (['It', 'is', 'known', 'that'], 0)
    """
    cues = pairs["cue"].unique(maintain_order=True).drop_nulls().to_list()
    sentences = list(_sentences())
    lengths = np.array(count_tokens(sentences))
    rows = []
    for cue, n_tokens in zip(cues, count_tokens(cues), strict=True):
        difference = lengths - n_tokens
        nearest = np.flatnonzero(np.abs(difference) == np.abs(difference).min())
        # A checksum, since Python's own hash differs from process to process.
        place = nearest[zlib.crc32(cue.encode()) % len(nearest)]
        if abs(difference[place]) <= MAX_DIFFERENCE:
            rows.append((cue, sentences[place], int(difference[place])))
    schema = {"cue": pl.String, "neutral": pl.String, "neutral_difference": pl.Int64}
    chosen = pl.DataFrame(rows, schema=schema, orient="row")
    return pairs.join(chosen, on="cue", how="left", maintain_order="left")


def with_neutral(
    pairs: pl.DataFrame, primings: Iterable[Priming], count_tokens: CountTokens
) -> pl.DataFrame:
    """Return the pairs, with neutral sentences if a priming needs them and the suite has none."""
    needed = any(priming.column == "neutral" for priming in primings)
    return add_neutral(pairs, count_tokens) if needed and "neutral" not in pairs.columns else pairs


def neutral_facts(pairs: pl.DataFrame) -> dict[str, Any]:
    """Return how well sentences that `add_neutral` chose match their cues."""
    if "neutral_difference" not in pairs.columns:
        return {}
    difference = pairs["neutral_difference"]
    n_matched = difference.count()
    n_unmatched, largest = pairs["cue"].count() - n_matched, difference.abs().max()
    facts = {"n_matched": n_matched, "n_unmatched": n_unmatched, "largest_difference": largest}
    return {"neutral": facts}
