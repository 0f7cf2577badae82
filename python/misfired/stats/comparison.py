"""Runs against one another: differences, and published figures."""

from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.labels import checked, label_column
from misfired.options import takes_options
from misfired.reading import shown
from misfired.stats._arrays import permute, resample
from misfired.stats._grid import against_none, grid_of_runs
from misfired.stats.columns import schema_of
from misfired.stats.measures import MEASURES
from misfired.stats.options import SamplingOptions, VariantOptions
from misfired.stats.testing import with_adjusted
from misfired.types import checks_types

COMPARISON_SCHEMA = schema_of(
    "slice priming measure value low high method n_pairs n_unscored p_value p_adjusted reason total"
)
"""Columns of `compare`; p values stand at the rows of `mar_joint`."""

VARIANTS_SCHEMA = schema_of(
    "slice priming measure first second value low high method n_scenarios"
    " n_pairs_first n_pairs_second reason total"
)
"""Columns of `compare_variants`; the interval is that of `value` = `first` - `second`."""

_PUBLISHED = ("mar", "br", "accuracy_stereotyped", "accuracy_contrast")


@takes_options(SamplingOptions)
def compare(
    first: pl.DataFrame, second: pl.DataFrame, *, adjustment: str = "bh", **options: Any
) -> pl.DataFrame:
    """Return the differences between two runs on the same pairs: first - second.

    Pairs that are unscored in either run are left out of both and counted. Where both runs have a
    priming beside "none", its rows "cue - none" are the difference of differences: how much more
    the cue changes the first run than the second. The p values are of the cluster sign-flip test of
    `mar_joint`, adjusted over all slices and primings together.

    Args:
        first: Outcomes as for `summarize`.
        second: The same pairs under another model, protocol or setting.
        adjustment: Method of `adjust`.
        options: Fields of `SamplingOptions`.

    Returns:
        A frame of schema `COMPARISON_SCHEMA`, in percentage points.

    Raises:
        DataError: A frame breaks the rules of `summarize`, or the two share no pair or priming.
    """
    sampling = SamplingOptions.of(options)
    grid = grid_of_runs({"first": first, "second": second})
    differences = {name: one - two for name, (one, two) in grid.shared("run").items()}
    questions = differences | against_none(differences)
    weights = np.array(list(questions.values()))
    found = resample(grid.codes, grid.groups, weights, MEASURES, sampling, by_category=True)
    if not found.sizes[0, :, 1].any():
        raise DataError("second: no scored pair in common with the first run")
    rows = []
    for i, (name, total, _) in enumerate(grid.slices):
        for j, (question, weight) in enumerate(questions.items()):
            sizes = found.sizes[i, j, 1:].tolist()
            for k, measure in enumerate(MEASURES):
                *numbers, reason = found.estimate(i, j, k)
                p_value = None
                if measure == "mar_joint" and question in differences:
                    members = grid.category == i - 1 if i else slice(None)
                    codes = grid.codes[[np.argmax(weight), np.argmin(weight)]][:, members]
                    p_value = permute(codes, grid.scenario[members], measure, sampling)[1]
                counts = (*sizes, p_value, None, reason, total)
                rows.append((name, question, measure, *numbers, *counts))
    return with_adjusted(pl.DataFrame(rows, schema=COMPARISON_SCHEMA, orient="row"), adjustment)


@takes_options(VariantOptions)
def compare_variants(first: pl.DataFrame, second: pl.DataFrame, **options: Any) -> pl.DataFrame:
    """Return the differences between two sets of pairs on their shared scenarios: first - second.

    For one model on pairs made in two ways (VETO's `paper` and `strict`). The pairs differ, but
    their scenarios are the same: a resample draws scenarios, each with all its pairs of either
    variant. So the difficulty of a scenario for both variants cancels out of the difference.
    Scenarios without a scored pair in either variant are left out.

    Args:
        first: Outcomes as for `summarize`; ids may, but need not, be the same in both.
        second: Outcomes of the other variant.
        options: Fields of `VariantOptions`.

    Returns:
        A frame of schema `VARIANTS_SCHEMA`, in percent and percentage points: for each slice and
        priming of both variants the `MEASURES`; `n_pairs_*` are the scored pairs.

    Raises:
        DataError: A frame breaks the rules of `summarize`, or the two share no scenario or priming.

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": list("abcd"), "category": "age", "scenario": list("qqrr"), "priming": "none",
        ...     "contrast": True})
        >>> paper = pairs.with_columns(stereotyped=pl.Series([False, True, False, False]))
        >>> strict = pairs.with_columns(stereotyped=pl.Series([False, True, True, True]))
        >>> row = compare_variants(paper, strict).row(0, named=True)
        >>> row["measure"], row["first"], row["second"], row["value"], row["n_scenarios"]
        ('mar', 75.0, 25.0, 50.0, 2)
    """
    sampling = VariantOptions.of(options)
    runs = {"first": first, "second": second}
    for name, given in runs.items():
        # No id may be in both variants.
        frame = checked(given, ("id", "scenario"), name)
        runs[name] = frame.with_columns(id=f"{name}|" + pl.col("id"))
    both = (
        runs["first"].join(runs["second"], on="scenario", how="semi")["scenario"].unique().to_list()
    )
    if not both:
        raise DataError("second: no scenario in common with the first variant")
    shared = pl.col("scenario").is_in(both)
    grid = grid_of_runs({name: frame.filter(shared) for name, frame in runs.items()})
    sides = grid.shared("variant")
    weights = np.array([row for one, two in sides.values() for row in (one - two, one, two)])
    found = resample(
        grid.codes, grid.groups, weights, MEASURES, sampling, by_category=True, paired=False
    )
    rows = []
    for i, (name, total, n_scenarios) in enumerate(grid.slices):
        for j, priming in enumerate(sides):
            tail = (n_scenarios, *found.sizes[i, 3 * j + 1 : 3 * j + 3, 1].tolist())
            for k, measure in enumerate(MEASURES):
                *numbers, reason = found.estimate(i, 3 * j, k)
                values = (found.estimate(i, 3 * j + side, k)[0] for side in (1, 2))
                counts = (*tail, reason, total)
                rows.append((name, priming, measure, *values, *numbers, *counts))
    return pl.DataFrame(rows, schema=VARIANTS_SCHEMA, orient="row")


@checks_types
def check_published(published: pl.DataFrame, *, tolerance: float = 0.15) -> pl.DataFrame:
    """Check that published MAR, BR and accuracies of each row can be true of one set of pairs.

    With a, b, c, d as shares of n: c = MAR/100 (a + c), and a + b - (a + c) = b - c, so
    b = MAR/100 accuracy_contrast + accuracy_stereotyped - accuracy_contrast and
    br = 100 b / accuracy_stereotyped. And d = 100 - accuracy_stereotyped - c is not below 0. Figures
    rounded to 0.1 satisfy both within 0.15.

    Args:
        published: Columns `mar`, `br`, `accuracy_stereotyped`, `accuracy_contrast` in percent
            (`acc_stereotyped` and `acc_contrast` are read too); others are kept.
        tolerance: Largest difference, in percentage points, that rounding explains.

    Returns:
        The rows with `br_expected`, `consistent` (null where a figure is missing) and `reason`
        (null where consistent).

    Example:
        >>> rows = pl.DataFrame({"mar": [0.0], "br": [0.0], "accuracy_stereotyped": [98.5],
        ...     "accuracy_contrast": [96.2]})
        >>> check_published(rows)["reason"][0]
        'br 0.0 is printed, but mar 0.0 and accuracies 98.5, 96.2 give 2.3'
    """
    short = {"acc_stereotyped": "accuracy_stereotyped", "acc_contrast": "accuracy_contrast"}
    frame = published.rename(short, strict=False)
    frame = checked(frame, _PUBLISHED, "published")
    frame = frame.with_columns(as_figures(frame[column]) for column in _PUBLISHED)
    mar, br, stereotyped, contrast = map(pl.col, _PUBLISHED)
    expected = 100 * (mar / 100 * contrast + stereotyped - contrast) / stereotyped
    expected = pl.when(stereotyped > 0).then(expected)
    both_wrong = 100 - stereotyped - mar / 100 * contrast
    alike = (expected - br).abs() <= tolerance
    consistent = alike & (both_wrong >= -tolerance)
    rest = pl.format(
        "mar {} and accuracies {}, {} leave {} % of pairs with both wrong",
        mar, stereotyped, contrast, both_wrong.round(1),
    )  # fmt: skip
    printed = pl.format(
        "br {} is printed, but mar {} and accuracies {}, {} give {}",
        br, mar, stereotyped, contrast, expected.round(1),
    )  # fmt: skip
    reason = (
        pl.when(consistent).then(None)
        .when(stereotyped == 0).then(pl.lit("br has no value at an accuracy_stereotyped of 0"))
        .when(consistent.is_null()).then(pl.lit("a figure is missing"))
        .when(alike).then(rest).otherwise(printed)
    )  # fmt: skip
    return frame.with_columns(br_expected=expected, consistent=consistent, reason=reason)


def as_figures(column: pl.Series) -> pl.Series:
    """Return published figures as numbers, null where there is none; a file may hold them as text."""
    texts = label_column(column)
    numbers = texts.cast(pl.Float64, strict=False)
    strange = texts.is_not_null() & ~numbers.is_between(0, 100).fill_null(value=False)
    if strange.any():
        at = strange.arg_true()[0]
        rule = f"{column.name} must be a number from 0 to 100, got {shown(texts[at])}"
        raise DataError(f"published, row {at + 1}: {rule}")
    return numbers
