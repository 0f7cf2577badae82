"""The families of tests of a whole study, each with its correction, in one call."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError, check_one_of
from misfired.stats._grid import check_columns, grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.results import TestResult
from misfired.stats.testing import mcnemar, no_test, permutation_test, with_adjusted

__all__ = ["FAMILY_SCHEMA", "study_tests"]

FAMILY_SCHEMA = schema_of(
    "family model category n_pairs n_against n_for statistic p_value p_adjusted method alternative"
    " adjustment reason"
)
"""Columns of `study_tests`."""

OPTIONS = {
    "default": ("permutation", "two-sided", "bh"),
    "paper": ("mcnemar", "greater", "bh"),
}
"""Test, alternative and correction by name of the set of options."""

FAMILIES = ("asymmetry", "priming", "reasoning", "asymmetry_category")
"""The families, in the order of the table."""

_Codes = npt.NDArray[np.uint8]


def study_tests(outcomes: pl.DataFrame, *, options: str = "default") -> pl.DataFrame:
    """Test asymmetry, priming, direct against chain of thought, and asymmetry per category.

    | family | one test for each | counts for | counts against |
    |---|---|---|---|
    | `asymmetry` | model, unprimed, direct | c: misfires | b: reverse |
    | `priming` | model, direct | misfires with the cue only | without only |
    | `reasoning` | model, unprimed | misfires without reasoning only | with only |
    | `asymmetry_category` | model and category | c | b |

    A pair takes part if it is scored on both sides of the comparison. P values are adjusted within
    each family.

    Args:
        outcomes: As for `summarize`, with `model` (String) and, for `reasoning`, `protocol`
            ("cot" against any one other); without, all rows are of one direct protocol.
        options: `"default"`: exact cluster sign-flip test over scenarios, two-sided, Benjamini and
            Hochberg. `"paper"`: exact McNemar, one-sided, Benjamini and Hochberg; its level is too
            high on clustered pairs.

    Returns:
        A frame of schema `FAMILY_SCHEMA`; a family that the outcomes do not hold has no rows.

    Raises:
        DataError: The frame breaks the rules of `summarize`, or there is no model.
        ArgumentError: The options are unknown.
    """
    check_one_of("options", options, OPTIONS)
    test, alternative, adjustment = OPTIONS[options]
    check_columns(outcomes, ["model"], "outcomes")
    if "protocol" not in outcomes.columns:
        outcomes = outcomes.with_columns(protocol=pl.lit("direct"))
    rows = []
    for model in sorted(outcomes["model"].unique().to_list()):
        part = outcomes.filter(pl.col("model") == model)
        for family, category, score, scenario in _comparisons(part):
            found = _run(test, alternative, score, scenario)
            counts = (len(score), int(np.sum(score < 0)), int(np.sum(score > 0)))
            share = 100 * float(score.sum()) / len(score) if len(score) else None
            tail = (found.method, alternative, adjustment, found.reason)
            rows.append((family, model, category, *counts, share, found.p_value, None, *tail))
    frame = pl.DataFrame(rows, schema=FAMILY_SCHEMA, orient="row")
    parts = [frame.filter(pl.col("family") == family) for family in FAMILIES]
    return pl.concat([with_adjusted(part, adjustment) for part in parts])


_Comparison = tuple[str, str | None, npt.NDArray[np.int64], npt.NDArray[np.uint32]]


def _comparisons(part: pl.DataFrame) -> Iterator[_Comparison]:
    """Yield family, category, and for each pair that takes part +1, -1 or 0 and its scenario."""
    series = pl.concat_str("protocol", "priming", separator="|")
    grid = grid_of_outcomes(part.with_columns(series=series), series="series")
    at = {name: i for i, name in enumerate(grid.series)}
    protocols = sorted({name.split("|")[0] for name in at} - {"cot"})
    if len(protocols) > 1:
        raise DataError(f"outcomes must have one protocol beside cot, got {', '.join(protocols)}")
    direct = protocols[0] if protocols else "cot"
    plain = at.get(f"{direct}|none")
    if plain is not None:
        score, scored = _asymmetry(grid.codes[plain])
        yield "asymmetry", None, score[scored], grid.scenario[scored]
        for number, category in enumerate(grid.categories):
            chosen = scored & (grid.category == number)
            yield "asymmetry_category", category, score[chosen], grid.scenario[chosen]
    for family, more, less in (
        ("priming", at.get(f"{direct}|cue"), plain),
        ("reasoning", plain, at.get("cot|none") if direct != "cot" else None),
    ):
        if more is not None and less is not None:
            scored = (grid.codes[more] < 4) & (grid.codes[less] < 4)
            score = (grid.codes[more] == 2).astype(int) - (grid.codes[less] == 2).astype(int)
            yield family, None, score[scored], grid.scenario[scored]


def _asymmetry(codes: _Codes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    return (codes == 2).astype(np.int64) - (codes == 1).astype(np.int64), codes < 4


def _run(
    test: str,
    alternative: str,
    score: npt.NDArray[np.int64],
    scenario: npt.NDArray[np.uint32],
) -> TestResult:
    if test == "mcnemar":
        against, for_ = int(np.sum(score < 0)), int(np.sum(score > 0))
        return mcnemar(against, for_, alternative=alternative)
    if not len(score):
        return no_test(None, "no_scored_pair", alternative, "sign_flip", 0)
    # A score of +1 is a pair whose stereotyped answer alone is wrong, -1 its contrast answer alone.
    stereotyped, contrast = score <= 0, score >= 0
    return permutation_test(stereotyped, contrast, scenario=scenario, alternative=alternative)
