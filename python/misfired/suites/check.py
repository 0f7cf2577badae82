"""The quality of a suite: swaps, negation, lengths, balance, duplicates, clusters."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import bbq_glitches, design_effect
from misfired.errors import ArgumentError
from misfired.suites.io import check_frame
from misfired.suites.matching import match_pairs
from misfired.suites.twins import NEGATION
from misfired.types import check_type, checks_types

_SIDES = ("stereotyped", "contrast")
_SUBJECTS = ("stereotyped_subject", "contrast_subject")
_QUESTION = r"(?s)^.*[.!?:]\s+(\S.*\?)\s*$"
_AFTER_THAT = r"(?s)\sthat\s.*$"
_NEGATIVE = r"(?i)^\w+n['\u2019]t\b|^(?:do|does|did|is|are|was|were|has|have|had|can|could|will|would)\b.*\bnot\b"
_ARTICLE = r"(?i)^\s*(?:the|an?|my)\s+"


@checks_types
def check_pairs(
    pairs: pl.DataFrame,
    *,
    count_tokens: Callable[[Sequence[str]], Sequence[int]] | None = None,
    correlations: Sequence[float] = (0.1, 0.3, 0.5),
) -> dict[str, Any]:
    """Say how good a suite of pairs is.

    Twins (rows with `twin_of`) count for the balance of expected answers only.

    Args:
        pairs: A suite, as `read_suite` gives it.
        count_tokens: Gives the number of tokens of each text; without it, lengths are in words.
        correlations: Intra-class correlations for which to give the effective number of pairs.

    Returns:
        A dictionary that JSON can hold:

        - `suite`, `n_pairs`, `n_twins`, `n_scenarios`.
        - `expected`: rows by "expected_stereotyped/expected_contrast". If all are equal, a leaning to
          one answer looks like the effect.
        - `exact_swaps`: pairs that differ only in who did what; `distance`: quantiles of the tokens
          in which pairs differ. `swaps_from` says how they are known. "columns": the suite has
          `exact_swap` and `distance`. "subjects": `stereotyped_subject` and `contrast_subject` are
          masked without a leading article; `exact_swaps` is a lower bound, since a text may have
          other words for them. "texts": nothing is masked, and `exact_swaps` is null.
        - `negative_questions`: prompts that ask in the negative ("Isn't he late?", "Is he not
          late?"; words after "that" do not count); `negated`: prompts whose question holds any
          negation.
        - `length_difference`: `unit`, and of stereotyped minus contrast the mean, mean absolute
          and largest absolute difference.
        - `duplicates`: pairs with the prompts of an earlier pair.
        - `glitches`: pairs with each known misprint of BBQ that occurs.
        - `scenario_size`: least, median, most; `n_effective`: by correlation r the number
          of independent pairs, n / (1 + (sum m^2 / n - 1) r) for scenarios of size m (Kish 1965).

    Raises:
        ArgumentError: A correlation is not in [0, 1].
        DataError: As `misfired.suites.validate_suite`, but any answer may be expected.

    Examples:
        >>> rows = dict(
        ...     id=["a", "b"], suite="s@1", category="c", scenario=["x", "x"],
        ...     stereotyped_group="g", contrast_group="h", cue=None,
        ...     stereotyped=["A cat met a dog. Isn't the cat late?", "Is a cat late?"],
        ...     contrast=["A dog met a cat. Isn't the dog late?", "Is a dog now late?"],
        ...     expected_stereotyped="yes", expected_contrast="yes",
        ...     stereotyped_subject="The cat", contrast_subject="The dog",
        ... )
        >>> report = check_pairs(pl.DataFrame(rows), correlations=[0.5])
        >>> report["exact_swaps"], report["negative_questions"], report["expected"]
        (1, 2, {'yes/yes': 2})
        >>> report["n_effective"]
        {'0.5': 1.3333333333333333}
    """
    pairs = check_frame(pairs, "pairs", None)
    for correlation in correlations:
        check_type("correlations", correlation, float)
        if not 0 <= correlation <= 1:
            raise ArgumentError(f"correlations must be 0 to 1, got {correlation}")
    has_twins = "twin_of" in pairs.columns
    first = pairs.filter(pl.col("twin_of").is_null()) if has_twins else pairs
    sizes = first.group_by("scenario", maintain_order=True).len()["len"].to_numpy()
    return {
        "suite": ", ".join(pairs["suite"].unique(maintain_order=True)),
        "n_pairs": len(first),
        "n_twins": len(pairs) - len(first),
        "n_scenarios": len(sizes),
        "expected": _expected(pairs),
        **_differences(first),
        **_negations(first),
        "length_difference": _lengths(first, count_tokens),
        "duplicates": len(first) - first.select(*_SIDES).n_unique(),
        "glitches": _glitches(first),
        "scenario_size": _quantiles(sizes, {"least": 0, "median": 0.5, "most": 1}),
        "n_effective": {
            f"{r:g}": float(sizes.sum() / design_effect(sizes.astype(np.int64), r))
            for r in correlations
        },
    }


def _expected(pairs: pl.DataFrame) -> dict[str, int]:
    both = pl.concat_str("expected_stereotyped", "expected_contrast", separator="/")
    return dict(pairs.group_by(both.alias("expected")).len().sort("expected").rows())


def _differences(pairs: pl.DataFrame) -> dict[str, Any]:
    found, source = pairs, "columns"
    if not {"exact_swap", "distance"} <= set(pairs.columns):
        # The two texts of an id are a group of their own.
        people = _SUBJECTS if set(_SUBJECTS) <= set(pairs.columns) else None
        masked = [pl.col(name).str.replace(_ARTICLE, "") for name in people or ()]
        left, right = (pairs.select("id", *masked, text=side) for side in _SIDES)
        if people:
            right = right.rename(dict(zip(people, reversed(people), strict=True)))
        found = match_pairs(left, right, by="id", text="text", people=people)
        source = "subjects" if people else "texts"
    points = {"median": 0.5, "90 %": 0.9, "most": 1}
    return {
        "swaps_from": source,
        "exact_swaps": None if source == "texts" else int(found["exact_swap"].sum()),
        "distance": _quantiles(found["distance"].to_numpy(), points),
    }


def _negations(pairs: pl.DataFrame) -> dict[str, int]:
    """Look at the last sentence of each prompt, or at its only one."""
    texts = pl.DataFrame({"text": pl.concat([pairs[side].alias("text") for side in _SIDES])})
    question = pl.coalesce(pl.col("text").str.extract(_QUESTION), "text")
    asked = question.str.replace(_AFTER_THAT, "")
    counts = texts.select(
        negative_questions=asked.str.contains(_NEGATIVE).sum(),
        negated=question.str.contains(NEGATION).sum(),
    )
    return counts.row(0, named=True)


def _lengths(
    pairs: pl.DataFrame, count_tokens: Callable[[Sequence[str]], Sequence[int]] | None
) -> dict[str, Any]:
    texts = [pairs[side].to_list() for side in _SIDES]
    count = count_tokens or (lambda side: [len(text.split()) for text in side])
    difference = np.subtract(*(np.array(count(side)) for side in texts))
    return {
        "unit": "tokens" if count_tokens else "words",
        "mean": float(difference.mean()),
        "mean_absolute": float(np.abs(difference).mean()),
        "most": int(np.abs(difference).max()),
    }


def _glitches(pairs: pl.DataFrame) -> dict[str, int]:
    texts = pairs.select(pl.concat_str(*_SIDES, separator="\n")).to_series()
    counts = {
        wrong: int(texts.str.contains(wrong, literal=True).sum()) for wrong, _ in bbq_glitches()
    }
    return {wrong: n for wrong, n in counts.items() if n}


def _quantiles(values: npt.NDArray[Any], points: dict[str, float]) -> dict[str, float]:
    found = np.quantile(values, list(points.values()))
    return dict(zip(points, found.tolist(), strict=True))
