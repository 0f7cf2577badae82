"""The families of tests of a whole study, each with its correction, in one call."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from misfired.errors import DataError, check_one_of
from misfired.labels import checked
from misfired.stats._arrays import Codes, Numbers, resample
from misfired.stats._grid import grid_of_outcomes
from misfired.stats.columns import schema_of
from misfired.stats.options import SamplingOptions
from misfired.stats.testing import TestResult, mcnemar, permutation_test, with_adjusted
from misfired.types import checks_types

FAMILY_SCHEMA = schema_of(
    "family model category n_pairs n_against n_for mar mar_changed low high statistic p_value"
    " p_adjusted method alternative adjustment reason"
)
"""Columns of `study_tests`."""

_CATEGORY = "asymmetry_category"
_FAMILIES = ("asymmetry", "priming", "reasoning", _CATEGORY)
"""The families, in the order of the table."""

_FEWEST = 100  # pairs of a test of the paper's, except by category


class _Rules(NamedTuple):
    """How a study is tested."""

    test: str
    alternatives: dict[str, str]  # by family; two-sided where there is none
    intervals: SamplingOptions


_OPTIONS = {
    "default": _Rules("permutation", {}, SamplingOptions()),
    "paper": _Rules(
        "mcnemar",
        dict.fromkeys(("asymmetry", "priming", _CATEGORY), "greater"),
        SamplingOptions(unit="pair", method="percentile"),
    ),
}


class _Comparison(NamedTuple):
    """A test: one series of outcome codes, or two whose misfires are compared."""

    family: str
    category: str | None
    codes: Codes  # [1 or 2 (before, after), n_pairs]
    scenario: Numbers


@checks_types
def study_tests(outcomes: pl.DataFrame, *, options: str = "default") -> pl.DataFrame:
    """Test asymmetry, priming, direct against chain of thought, and asymmetry per category.

    | family | one test for each | counts for | counts against |
    |---|---|---|---|
    | `asymmetry` | model, unprimed, direct | c: misfires | b: reverse |
    | `priming` | model, direct | misfires with the cue only | without only |
    | `reasoning` | model, unprimed | misfires with reasoning only | without only |
    | `asymmetry_category` | model and category | c | b |

    A pair takes part if it is scored on both sides of the comparison. P values are adjusted within
    each family by the method of Benjamini and Hochberg.

    | `options` | test | alternative | interval |
    |---|---|---|---|
    | `default` | exact cluster sign-flip test over scenarios | two-sided | as `summarize` |
    | `paper` | exact McNemar, whose level is too high on clustered pairs | c is larger; two-sided for `reasoning` | percentile, over pairs |

    `"paper"` follows the code of Deng et al. 2026 (`compute_significance.py`) further: a cue's contrast
    prompt that is unscored takes the unprimed outcome; a test of fewer than 100 pairs is not made
    (reason `few_pairs`), except by category; a test without discordant pairs has p = 1 and counts in
    its family.

    Args:
        outcomes: As for `summarize`, with `model` (String) and, for `reasoning`, `protocol`
            ("cot" against any one other); without, all rows are of one direct protocol.
        options: `"default"` or `"paper"`.

    Returns:
        A frame of schema `FAMILY_SCHEMA`; a family that the outcomes do not hold has no rows. `mar` is
        the joint MAR, unprimed and direct, `mar_changed` that with the cue or with reasoning; the
        interval is of `mar`, or of `mar_changed` - `mar`.
    """
    check_one_of("options", options, _OPTIONS)
    if "protocol" not in outcomes.columns:
        outcomes = outcomes.with_columns(protocol=pl.lit("direct"))
    outcomes = checked(outcomes, ["model", "protocol"], "outcomes")
    if options == "paper":
        outcomes = _with_unprimed_contrast(outcomes)
    rows: list[tuple[object, ...]] = []
    for model in sorted(outcomes["model"].unique().to_list()):
        tests = _comparisons(outcomes.filter(model=model))
        rows += [(test.family, model, *_row(test, options)) for test in tests]
    frame = pl.DataFrame(rows, schema=FAMILY_SCHEMA, orient="row")
    return pl.concat([with_adjusted(frame.filter(family=family), "bh") for family in _FAMILIES])


def _comparisons(part: pl.DataFrame) -> Iterator[_Comparison]:
    """Yield the tests of a model."""
    grid = grid_of_outcomes(part, run="protocol")
    at = {each: i for i, each in enumerate(zip(grid.runs, grid.series, strict=True))}
    protocols = sorted({*grid.runs} - {"cot"})
    if len(protocols) > 1:
        raise DataError(f"outcomes must have one protocol beside cot, got {', '.join(protocols)}")
    direct = protocols[0] if protocols else "cot"
    plain = at.get((direct, "none"))
    if plain is None:
        return
    yield _Comparison("asymmetry", None, grid.codes[[plain]], grid.scenario)
    for number, category in enumerate(grid.categories):
        chosen = grid.category == number
        yield _Comparison(
            _CATEGORY, category, grid.codes[[plain]][:, chosen], grid.scenario[chosen]
        )
    changed = {"priming": at.get((direct, "cue"))}
    if direct != "cot":
        changed["reasoning"] = at.get(("cot", "none"))
    for family, other in changed.items():
        if other is not None:
            yield _Comparison(family, None, grid.codes[[plain, other]], grid.scenario)


def _row(comparison: _Comparison, options: str) -> tuple[object, ...]:
    """Return the columns of a test after `family` and `model`."""
    family, category, codes, scenario = comparison
    test, alternatives, intervals = _OPTIONS[options]
    scored = (codes < 4).all(axis=0)
    misfires = (codes == 2)[:, scored].astype(np.int64)
    before = (codes[0, scored] == 1) if len(codes) == 1 else misfires[0]
    score = misfires[-1] - before
    n = len(score)
    alternative = alternatives.get(family, "two-sided")
    few = options == "paper" and category is None and n < _FEWEST
    found = _test(test, alternative, score, scenario[scored], few=few)
    rates = [100 * float(np.mean(row)) if n else None for row in misfires]
    ends = _interval(codes, scenario, intervals)
    counts = n, int(np.sum(score < 0)), int(np.sum(score > 0))
    mar = (rates[0], rates[1] if len(rates) > 1 else None)
    share = 100 * float(np.mean(score)) if n else None
    how = found.method, alternative, "bh", found.reason
    return category, *counts, *mar, *ends, share, found.p_value, None, *how


def _interval(
    codes: Codes, scenario: Numbers, intervals: SamplingOptions
) -> tuple[float | None, float | None]:
    """Return the interval of joint MAR, or of its change."""
    weights = np.array([[1.0] if len(codes) == 1 else [-1.0, 1.0]])
    groups = scenario, np.zeros_like(scenario)
    found = resample(np.ascontiguousarray(codes), groups, weights, ("mar_joint",), intervals)
    return found.estimate(0, 0, 0)[1:3]


def _test(
    test: str, alternative: str, score: np.ndarray, scenario: Numbers, *, few: bool
) -> TestResult:
    if few or not len(score):
        name = "mcnemar" if test == "mcnemar" else "sign_flip"
        reason = "few_pairs" if len(score) else "no_scored_pair"
        return TestResult(None, None, None, alternative, name, len(score), reason)
    if test == "mcnemar":
        against, for_ = int(np.sum(score < 0)), int(np.sum(score > 0))
        found = mcnemar(against, for_, alternative=alternative)
        return replace(found, p_value=1.0, reason=None) if found.p_value is None else found
    # A score of +1 is a pair whose stereotyped answer alone is wrong, -1 its contrast answer alone.
    return permutation_test(score <= 0, score >= 0, scenario=scenario, alternative=alternative)


def _with_unprimed_contrast(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return outcomes in which a contrast that is unscored after the cue is that of priming none."""
    keys = ["model", "protocol", "id"]
    outcomes = checked(outcomes, (*keys, "priming", "contrast"), "outcomes")
    unprimed = outcomes.filter(priming="none").unique(keys).select(*keys, _unprimed="contrast")
    joined = outcomes.join(unprimed, on=keys, how="left", maintain_order="left")
    primed = pl.when(pl.col("priming") == "cue").then(pl.coalesce("contrast", "_unprimed"))
    return joined.with_columns(contrast=primed.otherwise("contrast")).drop("_unprimed")
