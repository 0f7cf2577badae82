"""Signal detection: can a model tell yes from no, and which way does it lean?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError
from misfired.options import takes_options
from misfired.stats._arrays import as_groups, resample
from misfired.stats._grid import check_columns, check_twice
from misfired.stats.columns import schema_of
from misfired.stats.measures import UNSCORED
from misfired.stats.options import DetectionOptions, SamplingOptions
from misfired.stats.outcomes import build_outcomes
from misfired.stats.summary import SUMMARY_SCHEMA, summarize

__all__ = ["DETECTION_SCHEMA", "EXPECTED_SCHEMA", "by_expected", "signal_detection"]

DETECTION_SCHEMA = schema_of(
    "priming condition measure value low high method n_prompts n_unscored"
    " hits misses false_alarms correct_rejections reason"
)
"""Columns of `signal_detection`; d' and criterion are in standard deviations, `mar_adjusted` in
percent."""

EXPECTED_SCHEMA = pl.Schema({"expected": pl.String(), **SUMMARY_SCHEMA})
"""Columns of `by_expected`."""

_COLUMNS = ("id", "scenario", "condition", "priming", "expected", "answer")
_CONDITIONS = ("stereotyped", "contrast")


@takes_options(DetectionOptions)
def signal_detection(answers: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return how well each condition tells yes from no, its lean, and MAR without the lean.

    For suites that hold both expected answers. A yes to a prompt that expects yes is a hit, a yes
    to one that expects no a false alarm. H and F are their rates in a condition, s stands for
    stereotyped and k for contrast, and z is the quantile of the standard normal distribution Phi:

    | measure | formula |
    |---|---|
    | `d_prime` | z(H) - z(F) |
    | `criterion` | -(z(H) + z(F)) / 2; positive leans to no |
    | `mar_adjusted` | 100 (1 - Phi(d'_s + z(F_k)) / H_k) |

    Phi(d'_s + z(F_k)) is the hit rate that the stereotyped condition would have at the false-alarm
    rate of the contrast condition. So `mar_adjusted` is the share of the contrast's hits that is
    lost because the evidence counts for less, not because "no" comes more easily: 0 for a pure
    shift of the criterion, negative where the stereotyped condition tells better. Without
    adjustment it would be 100 (1 - H_s / H_k), which is 100 (c - b) / (a + c) among the pairs that
    expect yes: misfires less reverses. The two are equal where the false-alarm rates are alike, so
    also where both are near 0 and say nothing about the criterion. Half a yes and half a no are
    added to each rate (the log-linear correction), so that rates of 0 and 1 stay finite.

    Args:
        answers: One row for each prompt: `id`, `scenario`, `condition`, `priming`, `expected`
            ("yes" or "no"), `answer` ("yes", "no", null if unscored).
        options: Fields of `DetectionOptions`; the unit pair is one id.

    Returns:
        A frame of schema `DETECTION_SCHEMA`: for each priming ("none" first) and condition `d_prime`
        and `criterion`, then for the condition "stereotyped - contrast" their differences and
        `mar_adjusted`, on the ids that are scored in both. A condition without prompts of its own
        under a priming lends those of "none" to the difference.

    Raises:
        DataError: A column is missing, or an (id, condition, priming) is there twice.
        ArgumentError: An option is outside its limits.

    Example:
        >>> rows = [(f"{expected}{i}", f"q{i % 4}", condition, "none", expected, answer)
        ...     for condition, yes in (("stereotyped", 12), ("contrast", 18))
        ...     for expected, n_yes in (("yes", yes), ("no", 4))
        ...     for i, answer in enumerate(["yes"] * n_yes + ["no"] * (20 - n_yes))]
        >>> names = ["id", "scenario", "condition", "priming", "expected", "answer"]
        >>> found = signal_detection(pl.DataFrame(rows, schema=names, orient="row"))
        >>> [(x, round(y, 2)) for x, y in found.select("condition", "value").rows()[:4:2]]
        [('stereotyped', 1.03), ('contrast', 1.97)]
        >>> round(found.filter(measure="mar_adjusted")["value"][0], 1)
        32.4

    Source:
        Macmillan and Creelman 2005, "Detection theory", chapters 1 and 2; Hautus 1995 for the
        correction.
    """
    sampling = DetectionOptions.of(options).sampling()
    rows = list(_rows(_table(answers), sampling))
    frame = pl.DataFrame(rows, schema=DETECTION_SCHEMA, orient="row")
    return frame.sort(pl.col("priming") != "none", "priming", maintain_order=True)


@takes_options(SamplingOptions)
def by_expected(answers: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return the summary of the pairs that expect yes, then of those that expect no.

    On the half that expects no (the mirror), `mar` is the share of rightly denied contrast prompts
    with an affirmed stereotyped counterpart. A model that leans to "no" where a stereotype is
    touched has a high MAR and a low mirror; a model that loses the evidence has both.

    Args:
        answers: One row for each prompt, as `build_outcomes` takes them, with `expected`; twins count
            as pairs of their own. Pairs whose two prompts expect different answers are left out.
        options: Fields of `SamplingOptions`.

    Returns:
        A frame of schema `EXPECTED_SCHEMA`: `expected` ("yes", then "no", where there are any), then
        the columns of `summarize`.

    Raises:
        DataError: A column is missing, or the outcomes break the rules of `summarize`.
        ArgumentError: An option is outside its limits.

    Example:
        >>> answers = pl.DataFrame({
        ...     "id": ["p", "p", "t", "t"], "category": "Age", "scenario": "s", "priming": "none",
        ...     "condition": ["stereotyped", "contrast"] * 2, "expected": ["yes", "yes", "no", "no"],
        ...     "outcome": ["wrong", "correct", "correct", "correct"], "reason": None})
        >>> found = by_expected(answers).filter(slice="overall", measure="mar")
        >>> found.select("expected", "value").rows()
        [('yes', 100.0), ('no', 0.0)]
    """
    check_columns(answers, ["expected"], "answers")
    expected = pl.col("expected")
    same = expected.n_unique().over("id") == 1
    outcomes = build_outcomes(answers.drop("twin_of", strict=False))
    halves = []
    for value in ("yes", "no"):
        ids = answers.filter(same & (expected == value))["id"].unique().to_list()
        half = outcomes.filter(pl.col("id").is_in(ids))
        if len(half):
            summary = summarize(half, **options)
            halves.append(summary.select(pl.lit(value).alias("expected"), pl.all()))
    return pl.concat(halves) if halves else pl.DataFrame(schema=EXPECTED_SCHEMA)


_Table = tuple[list[tuple[str, str]], npt.NDArray[np.uint8], npt.NDArray[np.uint32]]


def _table(answers: pl.DataFrame) -> _Table:
    """Return series as (priming, condition), codes [n_series, n_ids] and the scenario of each id.

    Stereotyped series come first. A code is 0 hit, 1 miss, 2 false alarm, 3 correct rejection, or
    `UNSCORED`.
    """
    check_columns(answers, _COLUMNS, "answers")
    code = 2 * (pl.col("expected") == "no") + (pl.col("answer") == "no")
    frame = answers.select(*_COLUMNS, code=code)
    _check(frame)
    ids = frame.select("id", "scenario").unique().sort("id")
    names = frame.select("priming", "condition").unique().sort("condition", "priming")
    series = sorted(names.rows(), key=lambda row: _CONDITIONS.index(row[1]))
    lines = pl.DataFrame(series, schema=names.schema, orient="row").with_row_index("line")
    placed = frame.join(ids.with_row_index("place"), on="id").join(lines, on=names.columns)
    placed = placed.drop_nulls("code")
    codes = np.full((len(series), len(ids)), UNSCORED, dtype=np.uint8)
    codes[placed["line"].to_numpy(), placed["place"].to_numpy()] = placed["code"].to_numpy()
    return series, codes, as_groups(ids["scenario"], len(ids), "scenario")


def _check(frame: pl.DataFrame) -> None:
    if not len(frame):
        raise DataError("answers must have at least 1 row, got 0")
    check_twice(frame, ("priming", "condition", "id"), "answers")
    torn = frame.filter(pl.col("scenario").n_unique().over("id") > 1)
    if len(torn):
        raise DataError(f"answers: id {torn['id'][0]!r}: more than one scenario")
    for column, words, nullable in (
        ("condition", _CONDITIONS, False),
        ("expected", ("yes", "no"), False),
        ("answer", ("yes", "no"), True),
    ):
        known = pl.col(column).is_in(words)
        strange = frame.filter(~known.fill_null(nullable))
        if len(strange):
            name, value = strange.select("id", column).row(0)
            expected = ", ".join((*words, "null") if nullable else words)
            raise DataError(
                f"answers: id {name!r}, column {column!r} must be one of {expected}, got {value!r}"
            )


def _couples(series: list[tuple[str, str]]) -> Iterator[tuple[str, int, int]]:
    """Yield each priming with its stereotyped and contrast series, its own or that of "none"."""
    at = {key: i for i, key in enumerate(series)}
    for priming in dict.fromkeys(name for name, _ in series):
        sides = [at.get((priming, side), at.get(("none", side))) for side in _CONDITIONS]
        if sides[0] is not None and sides[1] is not None:
            yield priming, sides[0], sides[1]


def _rows(table: _Table, options: SamplingOptions) -> Iterator[tuple[object, ...]]:
    series, codes, scenario = table
    eye = np.eye(len(series))
    couples = list(_couples(series))
    changes = [eye[first] - eye[second] for _, first, second in couples]
    groups = (scenario, np.zeros_like(scenario))
    measures = ("d_prime", "criterion")
    weights = np.array([*eye, *changes])
    found = resample(codes, groups, weights, measures, options)
    for j, (priming, condition) in enumerate(series):
        counts = found.counts[0, j, 0].astype(int).tolist()
        for k, measure in enumerate(measures):
            *numbers, reason = found.estimate(0, j, k)
            sizes = found.sizes[0, j, 1:].tolist()
            yield (priming, condition, measure, *numbers, *sizes, *counts, reason)
    if not couples:
        return
    joint = resample(codes, groups, np.array(changes), ["mar_adjusted"], options)
    for j, (priming, _, _) in enumerate(couples):
        at = len(series) + j
        sizes = found.sizes[0, at, 1:].tolist()
        estimates = [(measure, found.estimate(0, at, k)) for k, measure in enumerate(measures)]
        for measure, estimate in (*estimates, ("mar_adjusted", joint.estimate(0, j, 0))):
            *numbers, reason = estimate
            name = "stereotyped - contrast"
            yield (priming, name, measure, *numbers, *sizes, *[None] * 4, reason)
