"""The families of tests of a whole study, each with its correction, in one call."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError, check_one_of
from misfired.stats._arrays import Numbers
from misfired.stats._grid import check_columns, grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.testing import TestResult, mcnemar, permutation_test, with_adjusted

_Scores = npt.NDArray[np.int64]

FAMILY_SCHEMA = schema_of(
    "family model category n_pairs n_against n_for statistic p_value p_adjusted method alternative"
    " adjustment reason"
)
"""Columns of `study_tests`."""

_OPTIONS = {"default": ("permutation", "two-sided", "bh"), "paper": ("mcnemar", "greater", "bh")}
"""Test, alternative and correction by name of the set of options."""

_FAMILIES = ("asymmetry", "priming", "reasoning", "asymmetry_category")
"""The families, in the order of the table."""


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
    """
    check_one_of("options", options, _OPTIONS)
    test, alternative, adjustment = _OPTIONS[options]
    check_columns(outcomes, ["model"], "outcomes")
    if "protocol" not in outcomes.columns:
        outcomes = outcomes.with_columns(protocol=pl.lit("direct"))
    rows: list[tuple[object, ...]] = []
    for model in sorted(outcomes["model"].unique().to_list()):
        for family, category, score, scenario in _comparisons(outcomes.filter(model=model)):
            against, for_ = int(np.sum(score < 0)), int(np.sum(score > 0))
            found = _run(test, alternative, score, scenario)
            share = 100 * (for_ - against) / len(score) if len(score) else None
            tail = (found.p_value, None, found.method, alternative, adjustment, found.reason)
            rows.append((family, model, category, len(score), against, for_, share, *tail))
    frame = pl.DataFrame(rows, schema=FAMILY_SCHEMA, orient="row")
    parts = [frame.filter(family=family) for family in _FAMILIES]
    return pl.concat([with_adjusted(part, adjustment) for part in parts])


def _comparisons(part: pl.DataFrame) -> Iterator[tuple[str, str | None, _Scores, Numbers]]:
    """Yield family, category, and for each pair that takes part +1, -1 or 0 and its scenario."""
    series = pl.concat_str("protocol", "priming", separator="|")
    grid = grid_of_outcomes(part.with_columns(series=series), series="series")
    at = {name: i for i, name in enumerate(grid.series)}
    protocols = sorted({name.split("|")[0] for name in at} - {"cot"})
    if len(protocols) > 1:
        raise DataError(f"outcomes must have one protocol beside cot, got {', '.join(protocols)}")
    direct = protocols[0] if protocols else "cot"
    plain = at.get(f"{direct}|none")
    misfires, scored = (grid.codes == 2).astype(np.int64), grid.codes < 4
    if plain is not None:
        score = misfires[plain] - (grid.codes[plain] == 1)
        yield "asymmetry", None, score[scored[plain]], grid.scenario[scored[plain]]
        for number, category in enumerate(grid.categories):
            chosen = scored[plain] & (grid.category == number)
            yield "asymmetry_category", category, score[chosen], grid.scenario[chosen]
    for family, more, less in (
        ("priming", at.get(f"{direct}|cue"), plain),
        ("reasoning", plain, at.get("cot|none") if direct != "cot" else None),
    ):
        if more is not None and less is not None:
            chosen = scored[more] & scored[less]
            yield family, None, (misfires[more] - misfires[less])[chosen], grid.scenario[chosen]


def _run(test: str, alternative: str, score: _Scores, scenario: Numbers) -> TestResult:
    if test == "mcnemar":
        return mcnemar(int(np.sum(score < 0)), int(np.sum(score > 0)), alternative=alternative)
    if not len(score):
        return TestResult(None, None, None, alternative, "sign_flip", 0, "no_scored_pair")
    # A score of +1 is a pair whose stereotyped answer alone is wrong, -1 its contrast answer alone.
    return permutation_test(score <= 0, score >= 0, scenario=scenario, alternative=alternative)
