"""Conversions between the data of users and the arrays of the core."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import permutation
from misfired._core import resample as core_resample
from misfired.errors import ArgumentError, DataError
from misfired.labels import label_column, label_texts
from misfired.stats.measures import outcome_codes
from misfired.stats.options import DEFAULTS, RngOptions, SamplingOptions

Codes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]

Labels = Sequence[Any] | npt.NDArray[Any] | pl.Series
"""Names or numbers of groups."""
Flags = Labels
"""True where a prompt was answered correctly; None or NaN where unscored."""

_FEW_UNITS = 20  # Below it, no interval holds its level for rare outcomes (docs/coverage.md).


class Resampled(NamedTuple):
    """Result of a resampling pass."""

    estimates: Floats  # [slice, question, measure, (value, low, high, standard error)]
    reasons: list[str | None]  # why there is no value or interval, flat in the order of estimates
    methods: list[str]  # how the interval was made, in the same order
    n_undefined: npt.NDArray[np.uint64]  # [slice, question, measure] resamples without a value
    counts: Floats  # [slice, question, term, (a, b, c, d)]
    sizes: npt.NDArray[np.uint64]  # [slice, question, (units, pairs that count, that do not)]
    n_informative: npt.NDArray[np.uint64]  # [slice, question, measure] units in the denominator

    def estimate(
        self, slice_: int, question: int, measure: int
    ) -> tuple[float | None, float | None, float | None, str, str | None]:
        """Return value, low, high, method and reason of a measure of a question in a slice."""
        at = np.ravel_multi_index((slice_, question, measure), self.estimates.shape[:3])
        value, low, high, _ = map(no_nan, self.estimates[slice_, question, measure].tolist())
        return value, low, high, self.methods[at], self.reasons[at]


def resample(
    codes: Codes,
    groups: tuple[Numbers, Numbers],
    weights: Floats,
    measures: Sequence[str],
    options: RngOptions,
    *,
    by_category: bool = False,
    paired: bool = True,
    every: bool = False,
) -> Resampled:
    """Run one resampling pass.

    Args:
        codes: Outcome codes, [n_series, n_pairs].
        groups: Scenario and category of each pair.
        weights: The questions, [n_questions, n_series].
        measures: Names of measures.
        options: How to resample; `DEFAULTS` where they have no such field.
        by_category: Also resample each category on its own.
        paired: Leave out pairs that are unscored in any series of a question; otherwise each series
            counts the pairs that it scored.
        every: Take each possible resample once.
    """
    keywords = DEFAULTS.arguments() | options.arguments()
    if every:
        keywords["n_resamples"] = None
    found = core_resample(
        codes, *groups, weights, paired=paired, measures=list(measures), by_category=by_category,
        **keywords,
    )  # fmt: skip
    return Resampled(*found)


def permute(
    codes: Codes,
    scenario: Numbers,
    measure: str | None,
    options: SamplingOptions,
    alternative: str = "two-sided",
) -> tuple[float | None, float | None, float | None, bool, int, int]:
    """Test the change of a measure between two series, or without measure the asymmetry of one.

    Return statistic, p value, its logarithm, True if the test is exact, the number of clusters, and
    how many of them a flip changes.
    """
    *numbers, exact, n_clusters, n_informative = permutation(
        np.ascontiguousarray(codes), scenario, measure=measure, unit=options.unit,
        alternative=alternative, n_resamples=options.n_resamples, seed=options.seed,
        n_threads=options.n_threads,
    )  # fmt: skip
    statistic, p_value, log_p_value = map(no_nan, numbers)
    return statistic, p_value, log_p_value, exact, n_clusters, n_informative


def no_nan(number: float) -> float | None:
    """Return None for NaN, any other number as it is."""
    return None if np.isnan(number) else number


def as_numbers(flags: Flags, name: str) -> Floats:
    """Return flags as 1, 0 and NaN.

    Example:
        >>> as_numbers([True, None, False], "stereotyped").tolist()
        [1.0, nan, 0.0]
    """
    rule = "must be true, false or missing"
    try:
        numbers = np.asarray(flags).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} {rule}: {error}") from error
    if not numbers.ndim:
        raise DataError(f"{name} must be a sequence, got {numbers.item()}")
    strange = np.flatnonzero(~(np.isnan(numbers) | (numbers == 0) | (numbers == 1)))
    if len(strange):
        raise DataError(f"{name}: place {strange[0]} {rule}, got {numbers.flat[strange[0]]}")
    return numbers


def floats_of(values: Any, name: str) -> Floats:
    """Return a row of numbers, NaN where one is None.

    Example:
        >>> floats_of([0.5, None], "p_values").tolist()
        [0.5, nan]
    """
    try:
        numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name} must be a row of numbers: {error}") from error
    if numbers.ndim != 1:
        raise DataError(f"{name} must be a row of numbers, got {numbers.ndim} dimensions")
    return numbers


def as_codes(stereotyped: Flags, contrast: Flags, *, most: int | None = None) -> Codes:
    """Return outcome codes, [n_series, n_pairs]; `most` limits the number of series."""
    sides = as_numbers(stereotyped, "stereotyped"), as_numbers(contrast, "contrast")
    codes = outcome_codes(*sides)
    if codes.ndim > 2:
        raise ArgumentError(f"stereotyped must have 1 or 2 dimensions, got {codes.ndim}")
    codes = np.ascontiguousarray(np.atleast_2d(codes))
    if most is not None and len(codes) > most:
        known = " or ".join(map(str, range(1, most + 1)))
        raise ArgumentError(f"stereotyped must have {known} series, got {len(codes)}")
    return codes


def as_groups(labels: Labels | None, n: int, name: str) -> Numbers:
    """Return groups numbered in the order of their labels; without labels, all in one.

    Example:
        >>> as_groups(["b", "a", "b"], 3, "scenario").tolist()
        [1, 0, 1]
    """
    if labels is None:
        return np.zeros(n, dtype=np.uint32)
    try:
        values, missing = _as_array(labels)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be a row of labels: {error}") from error
    if values.shape != (n,):
        raise DataError(f"{name} must have {n} labels, one for each pair, got {values.size}")
    if missing.any():
        lacking = f"{int(missing.sum())} of {n} without (first place {int(np.argmax(missing)) + 1})"
        raise DataError(f"{name} must have a label for each pair, got {lacking}")
    return np.unique(values, return_inverse=True)[1].astype(np.uint32)


def _as_array(labels: Labels) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return labels as numbers, if all are, or as text, and which of them are missing."""
    if isinstance(labels, pl.Series) and not labels.dtype.is_numeric():
        column = label_column(labels)
        return column.fill_null("").to_numpy().astype(str), column.is_null().to_numpy()
    if isinstance(labels, pl.Series):
        values = labels.to_numpy()
    elif isinstance(labels, np.ndarray):
        values = labels
    else:
        kinds = {type(label) for label in labels}
        numbers = all(
            issubclass(kind, (int, float, np.number)) and kind is not bool for kind in kinds
        )
        alike = numbers or kinds in ({str}, {bool})
        values = np.asarray(labels) if alike else np.array([*labels], dtype=object)
    if values.dtype.kind in "fc":
        return values, np.isnan(values)
    if values.dtype.kind in "biu":
        return values, np.zeros(values.shape, bool)
    texts = label_texts(values.ravel().tolist() if values.dtype.kind != "O" else values.ravel())
    missing = np.array([text is None for text in texts], dtype=bool).reshape(values.shape)
    texts = ["" if text is None else text for text in texts]
    return np.array(texts, dtype=str).reshape(values.shape), missing


def warnings_of(
    reason: str | None, n_units: int, *, fewest: int = _FEW_UNITS, undefined: bool = False
) -> tuple[str, ...]:
    """Return the names of the warnings that a result deserves.

    `few_units` (fewer than `fewest` that tell something), `undefined_resamples` (some resamples had no value and were
    left out), and the reason why there is no value, no interval or no p value.

    Example:
        >>> warnings_of("constant", 3)
        ('few_units', 'constant')
    """
    known = {"few_units": n_units < fewest, "undefined_resamples": undefined}
    return (*(name for name, holds in known.items() if holds), *([reason] if reason else []))
