"""Measures of the decision margin, which a leaning to yes or no cannot make or hide.

m is the margin, s and k the stereotyped and contrast prompt, y and n those whose answer is yes and no
(n is the twin's). A pair and its twin ask a true and a false question about each of two stories.

| measure | definition | unaffected by |
|---|---|---|
| `margin_shift` | mean over yes pairs of m_k - m_s, in logits | one bias of all margins |
| `lower_share` | P(m_s < m_k) + half of ties, percent, null 50 | bias, a common scale |
| `evidence_loss` | mean of (m_ky - m_kn) - (m_sy - m_sn), in logits | bias, a leaning of a condition |
| `*_standardised` | these means over the SD of m_k within an expected answer | also a common scale |
| `auc_s`, `auc_k` | P(m_y > m_n) + half of ties within a condition | any increasing map |
| `auc_difference` | auc_k - auc_s | any increasing map |
| `choice_accuracy_s`, `_k` | percent of stereotyped, contrast stories whose true question has the larger margin, ties half, null 50 | any leaning, any difference of stories |
| `mar_choice` | of pairs with the contrast story chosen rightly, percent with the stereotyped not | the same |
| `br_choice` | its mirror: of pairs with the stereotyped chosen rightly, percent with the contrast not | the same |
| `mar_calibrated` | 100 #{m_k > t, m_s <= t} / #{m_k > t} over yes pairs | bias |
| `mar_calibrated_apart` | the same with t_k for m_k and t_s for m_s | bias, a leaning of a condition |

t = (mean m_ky + mean m_kn) / 2 from the other four fifths of the scenarios (batch calibration, Zhou et
al. 2024, on a batch with equal weight to both answers); t_s likewise from the stereotyped prompts.

`mar_calibrated` says something of a model that reads only: one that reads nothing has about 36 %.

A measure without value has a reason: `no_margin` (answers from text alone), `no_twin`,
`no_expected_no`, `no_expected_yes`, `primed_on_one_side` (the two questions about a story are not asked
alike), `no_scored_pair`, or one of `misfired.stats.measures`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError, check_one_of
from misfired.options import takes_options
from misfired.stats._arrays import Floats, no_nan, warnings_of
from misfired.stats._grid import against_none
from misfired.stats.columns import TOTAL
from misfired.stats.judged import RATES, judge
from misfired.stats.margins import Margins, Row, RunMargins, margins_of_answers, why_none
from misfired.stats.options import SamplingOptions
from misfired.stats.outcomes import CONDITIONS
from misfired.stats.pulls import (
    Pull,
    auc_of,
    combined,
    interval_of,
    loss_of,
    shift_of,
    standardised,
)
from misfired.stats.resampling import Estimate
from misfired.stats.summary import SUMMARY_SCHEMA
from misfired.types import checks_types

EVIDENCE_MEASURES = (
    "margin_shift", "margin_shift_standardised", "lower_share", "evidence_loss",
    "evidence_loss_standardised", "auc_s", "auc_k", "auc_difference", "choice_accuracy_s",
    "choice_accuracy_k", "mar_choice", "br_choice", "mar_calibrated", "mar_calibrated_apart",
)  # fmt: skip
"""All measures, in the order in which tables show them."""

EVIDENCE_SCHEMA = SUMMARY_SCHEMA
"""Columns of `evidence`, those of `summarize`."""

CONDITIONAL = ("mar_choice", "br_choice", "mar_calibrated", "mar_calibrated_apart")
"""The rates that rest on a part of the pairs; a table withholds them where it is small. The calibrated ones
are withheld too where the lower end of `auc_k` is not above 0.5: a model that reads nothing has a calibrated
MAR of a third."""


@takes_options(SamplingOptions)
def evidence(answers: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return all measures of the margin with intervals, per category and priming, and their changes.

    A change is primed - unprimed on the pairs that are scored under both; its measures end in `_change`.
    Rates have the intervals of `summarize`. Means have t intervals by scenario, from the jackknife; the
    AUC has Obuchowski's (1997) on the logit scale. `stratified` concerns rates alone.

    Args:
        answers: One row per prompt, as `answers.parquet` has them.
        options: Fields of `SamplingOptions`.

    Returns:
        A frame of schema `EVIDENCE_SCHEMA`, slices and primings as in `summarize`; without rows where no
        prompt expects yes or no.

    Raises:
        DataError: A column is missing, or a prompt is there twice.

    Example:
        >>> rows = [(f"p{i}{twin}", f"q{i % 9}", twin and f"p{i}", side, expected, margin + i % 3)
        ...     for i in range(36) for twin, expected, lead in (("", "yes", 2), ("_no", "no", -2))
        ...     for side, margin in (("stereotyped", lead - 1), ("contrast", lead))]
        >>> names = ["id", "scenario", "twin_of", "condition", "expected", "logit_diff"]
        >>> answers = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        ...     pl.col("twin_of").replace("", None), category=pl.lit("Age"), priming=pl.lit("none"))
        >>> found = evidence(answers).filter(total=True).select("measure", "value")
        >>> dict(found.rows())["margin_shift"], dict(found.rows())["choice_accuracy_k"]
        (1.0, 100.0)
    """
    sampling = SamplingOptions.of(options)
    run = margins_of_answers(answers)
    if not run.ids:
        return pl.DataFrame(schema=EVIDENCE_SCHEMA)
    names = list(run.series)
    rows = dict(zip(names, np.eye(len(names)), strict=True))
    return _frame(run, list(run.series.values()), (rows, against_none(rows)), sampling)


@takes_options(SamplingOptions)
def compare_evidence(first: pl.DataFrame, second: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return the differences in the measures of the margin between two runs: first - second.

    On the pairs that both hold; of those, on the pairs that are scored in both.

    Args:
        first: Answers as for `evidence`.
        second: Answers of the other run.
        options: Fields of `SamplingOptions`.

    Returns:
        As `evidence`; where both runs have a priming beside "none", also the differences of its changes.

    Raises:
        DataError: As `evidence`, or the runs share no pair or priming.
    """
    sampling = SamplingOptions.of(options)
    one, two = (margins_of_answers(each) for each in (first, second))
    shared = [name for name in one.series if name in two.series]
    kept = sorted(set(one.ids) & set(two.ids))
    if not shared or not kept:
        raise DataError("second: no pair and priming in common with the first run")
    places = [
        [dict(zip(run.ids, range(len(run.ids)), strict=True))[i] for i in kept]
        for run in (one, two)
    ]
    own = [one.series[name].where(np.array(places[0])) for name in shared]
    other = [two.series[name].where(np.array(places[1])) for name in shared]
    other = [replace(each, scenario=own[0].scenario, category=own[0].category) for each in other]
    eye = np.eye(2 * len(shared))
    rows = {name: eye[i] - eye[len(shared) + i] for i, name in enumerate(shared)}
    return _frame(one, own + other, (rows, against_none(rows)), sampling)


def estimate(margins: Margins, measure: str, **options: Any) -> Estimate:
    """Return a measure of `EVIDENCE_MEASURES` of the margins of pairs, with its interval by scenario.

    Args:
        margins: See `Margins.of`.
        measure: Its name.
        options: Fields of `SamplingOptions`.

    Example:
        >>> margins = Margins.of([1.0, 0.0, 2.0], [2.0, 2.0, 2.0])
        >>> found = estimate(margins, "margin_shift")
        >>> found.value, round(found.low, 2), found.reason
        (1.0, -1.48, None)
    """
    check_one_of("measure", measure, EVIDENCE_MEASURES)
    sampling = SamplingOptions.of(options)
    row = estimates_of([margins], np.array([[1.0]]), [measure], 1, sampling)[0, 0, measure]
    warnings = warnings_of(row.reason, row.n_scenarios)
    return Estimate(
        measure, row.value, row.low, row.high, row.standard_error, row.method, row.reason, warnings
    )


@checks_types
def margin_shift(margins: Margins, **options: Any) -> Estimate:
    """Return the mean over yes pairs of m_k - m_s in logits; see `estimate`.

    Example:
        >>> margin_shift(Margins.of([1.0, 0.0], [2.0, 4.0])).value
        2.5
    """
    return estimate(margins, "margin_shift", **options)


@checks_types
def lower_share(margins: Margins, **options: Any) -> Estimate:
    """Return P(m_s < m_k) + half of ties, in percent; see `estimate`.

    Example:
        >>> lower_share(Margins.of([1.0, 2.0], [2.0, 2.0])).value
        75.0
    """
    return estimate(margins, "lower_share", **options)


@checks_types
def evidence_loss(margins: Margins, **options: Any) -> Estimate:
    """Return the mean of (m_ky - m_kn) - (m_sy - m_sn) in logits; see `estimate`.

    Example:
        >>> pair = Margins.of([1.0, 1.0], [2.0, 2.0], stereotyped_no=[0.0, 0.5], contrast_no=[-1.0, 0.0])
        >>> evidence_loss(pair).value
        1.75
    """
    return estimate(margins, "evidence_loss", **options)


@checks_types
def auc(margins: Margins, side: str = "contrast", **options: Any) -> Estimate:
    """Return P(m_y > m_n) within a condition, `auc_s` or `auc_k`; see `estimate`.

    Example:
        >>> pair = Margins.of([1.0, 1.0], [2.0, 0.0], stereotyped_no=[0.0, 0.5], contrast_no=[-1.0, 1.0])
        >>> auc(pair).value, auc(pair, "stereotyped").value
        (0.75, 1.0)
    """
    return estimate(margins, f"auc_{_letter(side)}", **options)


@checks_types
def choice_accuracy(margins: Margins, side: str = "contrast", **options: Any) -> Estimate:
    """Return the percent of stories of a condition whose true question has the larger margin.

    See `estimate`. It is whether a model reads: a leaning moves both margins alike.

    Example:
        >>> pair = Margins.of([5.0, 5.0], [6.0, 5.0], stereotyped_no=[4.0, 5.5], contrast_no=[4.5, 4.0])
        >>> choice_accuracy(pair).value, choice_accuracy(pair, "stereotyped").value
        (50.0, 100.0)
    """
    return estimate(margins, f"choice_accuracy_{_letter(side)}", **options)


def _letter(side: str) -> str:
    check_one_of("side", side, CONDITIONS)
    return "s" if side == "stereotyped" else "k"


@checks_types
def mar_choice(margins: Margins, **options: Any) -> Estimate:
    """Return, of pairs with the contrast story chosen rightly, the percent with the other not.

    Example:
        >>> pair = Margins.of([1.0, 1.0], [2.0, 2.0], stereotyped_no=[0.0, 0.0], contrast_no=[0.0, 3.0])
        >>> mar_choice(pair).value
        50.0
    """
    return estimate(margins, "mar_choice", **options)


@checks_types
def br_choice(margins: Margins, **options: Any) -> Estimate:
    """Return, of pairs with the stereotyped story chosen rightly, the percent with the other not.

    Example:
        >>> pair = Margins.of([1.0, 1.0], [2.0, 2.0], stereotyped_no=[0.0, 3.0], contrast_no=[0.0, 0.0])
        >>> br_choice(pair).value
        50.0
    """
    return estimate(margins, "br_choice", **options)


@checks_types
def mar_calibrated(margins: Margins, *, apart: bool = False, **options: Any) -> Estimate:
    """Return MAR at the threshold half way between what yes and no prompts have; see `estimate`.

    Args:
        margins: See `Margins.of`; with twins.
        apart: Take a threshold for each condition.
        options: Fields of `SamplingOptions`.

    Example:
        >>> pair = Margins.of([7.0, 9.0], [9.0, 9.0], stereotyped_no=[7.0, 7.0], contrast_no=[7.0, 7.0])
        >>> mar_calibrated(pair).value
        50.0
    """
    return estimate(margins, "mar_calibrated_apart" if apart else "mar_calibrated", **options)


def _frame(
    run: RunMargins,
    series: Sequence[Margins],
    rows_and_changes: tuple[Mapping[str, Floats], Mapping[str, Floats]],
    sampling: SamplingOptions,
) -> pl.DataFrame:
    plain, changes = rows_and_changes
    questions = {**plain, **changes}
    weights, every = np.array(list(questions.values())), np.eye(len(series))
    found = alone = _estimates(run, series, weights, EVIDENCE_MEASURES, sampling)
    if not np.array_equal(weights[: len(plain)], every):
        alone = _estimates(run, series, every, (*CONDITIONAL, "auc_k"), sampling)
    rows = []
    for i, name in enumerate((TOTAL, *run.categories)):
        for (j, question), measure in product(enumerate(questions), EVIDENCE_MEASURES):
            row = found[i, j, measure]
            numbers = (row.value, row.low, row.high, row.method, sampling.unit)
            counts = (row.n_pairs, row.n_scenarios, row.n_unscored)
            label = measure + ("_change" if question in changes else "")
            # What is withheld of a series is withheld of its differences.
            causes = (
                withheld(alone, i, term, measure) for term in np.flatnonzero(weights[j]).tolist()
            )
            tail = (row.reason, None, *_base(row), next(filter(None, causes), None))
            rows.append((name, question, label, *numbers, *counts, *tail, not i))
    return pl.DataFrame(rows, schema=EVIDENCE_SCHEMA, orient="row")


def _estimates(
    run: RunMargins,
    series: Sequence[Margins],
    weights: Floats,
    measures: Sequence[str],
    sampling: SamplingOptions,
) -> dict[tuple[int, int, str], Row]:
    return estimates_of(series, weights, measures, len(run.categories), sampling, every=True)


def withheld(
    alone: Mapping[tuple[int, int, str], Row], slice_: int, term: int, measure: str
) -> str | None:
    """Return why a report prints no rate: it rests on little, or is calibrated on nothing read."""
    if measure not in CONDITIONAL or alone[slice_, term, measure].value is None:
        return None
    row, auc_k = (alone[slice_, term, name] for name in (measure, "auc_k"))
    calibrated = measure.startswith("mar_calibrated")
    if calibrated and (auc_k.low is None or auc_k.low <= 0.5):
        return "auc_k_at_chance"
    return row.support.withheld if row.support is not None else None


def _base(row: Row) -> tuple[int | None, float | None, int | None, str | None]:
    base = row.support
    if base is None:
        return None, None, None, None
    flags = ", ".join(base.flags(row.value, row.low, row.high)) or None
    return base.n_pairs, base.n_effective, base.n_informative, flags


def estimates_of(
    series: Sequence[Margins],
    weights: Floats,
    measures: Sequence[str],
    n_categories: int,
    sampling: SamplingOptions,
    *,
    every: bool = False,
) -> dict[tuple[int, int, str], Row]:
    """Return rows by slice (0 overall, then categories if `every`), question and measure."""
    judged = {
        kind: judge(series, weights, kind, measures, sampling, by_category=every)
        for kind in dict.fromkeys(RATES[name][0] for name in measures if name in RATES)
    }
    found: dict[tuple[int, int, str], Row] = {}
    for i in range(n_categories + 1 if every else 1):
        kept = series[0].category == i - 1 if i else np.ones(len(series[0].scenario), bool)
        sliced = [each.where(kept) for each in series]
        for j, row in enumerate(weights):
            terms = np.flatnonzero(row)
            used = [sliced[term] for term in terms]
            masked = [each.masked(used) for each in used]
            for name in measures:
                if name in RATES:
                    found[i, j, name] = judged[RATES[name][0]][i, j, name]
                else:
                    found[i, j, name] = _by_pull(name, masked, row[terms], sampling)
    return found


def _by_pull(
    name: str, series: Sequence[Margins], weights: Floats, sampling: SamplingOptions
) -> Row:
    """Return a measure whose standard error is that of the scenarios' pulls."""
    if sampling.unit == "pair":
        series = [each.by_pair() for each in series]
    pull = combined([_pull(name, each) for each in series], weights)
    n_pairs = len(series[0].scenario)
    tail = (pull.n, int(pull.active.sum()), n_pairs - pull.n)
    if not np.isfinite(pull.value):
        return Row(None, None, None, None, "t", *tail, why_none(name, series))
    share = name in {"auc_s", "auc_k"} and len(series) == 1
    low, high, method, reason = interval_of(pull, level=sampling.confidence_level, is_share=share)
    if name.startswith("auc"):
        low, high = (float(np.clip(end, -1, 1)) for end in (low, high))
    ends = (no_nan(low), no_nan(high), no_nan(pull.standard_error))
    return Row(pull.value, *ends, method, *tail, reason)


def _pull(name: str, margins: Margins) -> Pull:
    if name.startswith("auc"):
        sides = [auc_of(margins, side) for side in CONDITIONS]
        return combined(sides, {"auc_s": [1, 0], "auc_k": [0, 1]}.get(name, [-1, 1]))
    pull = (shift_of if name.startswith("margin_shift") else loss_of)(margins)
    return standardised(pull, margins) if name.endswith("_standardised") else pull
