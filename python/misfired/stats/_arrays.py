"""From what users have in hand to the arrays that the core takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats.measures import outcome_codes

Flags = Sequence[Any] | npt.NDArray[Any] | pl.Series
"""Whether each prompt was answered correctly; None or NaN where unscored."""

Labels = Sequence[Any] | npt.NDArray[Any] | pl.Series
"""Names or numbers of groups."""


class Answers(NamedTuple):
    """What a resampling pass answers; see `_core.resample`.

    Attributes:
        estimates: [slice, question, measure, (value, low, high, standard error)].
        reasons: Why there is no value or interval, flat in the order of estimates.
        methods: How the interval was made, in the same order.
        n_undefined: [slice, question, measure] resamples without a value.
        counts: [slice, question, term, (a, b, c, d)].
        sizes: [slice, question, (units, pairs that count, pairs that do not)].
    """

    estimates: npt.NDArray[np.float64]
    reasons: list[str | None]
    methods: list[str]
    n_undefined: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.uint64]

    def estimate(
        self, slice_: int, question: int, measure: int
    ) -> tuple[float | None, float | None, float | None, str, str | None]:
        """Value, low, high, method and reason of a measure of a question in a slice."""
        at = np.ravel_multi_index((slice_, question, measure), self.estimates.shape[:3])
        numbers = self.estimates[slice_, question, measure, :3].tolist()
        value, low, high = (None if np.isnan(x) else x for x in numbers)
        return value, low, high, self.methods[at], self.reasons[at]


class Sampling(NamedTuple):
    """The options of a resampling pass."""

    unit: str
    stratified: bool
    method: str | None
    confidence_level: float
    n_resamples: int | None
    seed: int
    n_threads: int | None


def resample(
    codes: npt.NDArray[np.uint8],
    groups: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]],
    weights: npt.NDArray[np.float64],
    measures: Sequence[str],
    options: Sampling,
    *,
    by_category: bool,
    paired: bool = True,
) -> Answers:
    """Run one resampling pass.

    Groups are the scenario and the category of each pair. Where series are not paired, each counts
    the pairs that it scored.
    """
    scenario, category = groups
    return Answers(
        *_core.resample(
            np.ascontiguousarray(codes),
            scenario,
            category,
            np.ascontiguousarray(weights),
            paired,
            list(measures),
            options.unit,
            by_category,
            options.stratified,
            options.method,
            options.confidence_level,
            options.n_resamples,
            options.seed,
            options.n_threads,
        )
    )


def as_numbers(flags: Flags, name: str) -> npt.NDArray[np.float64]:
    """Flags as 1, 0 and NaN.

    Raises:
        DataError: If a value is none of true, false, missing.

    Example:
        >>> as_numbers([True, None, False], "stereotyped").tolist()
        [1.0, nan, 0.0]
    """
    values = flags.to_numpy() if isinstance(flags, pl.Series) else np.asarray(flags)
    if values.dtype == object:
        shape = values.shape
        values = np.array([np.nan if x is None else x for x in values.ravel()], dtype=object)
        values = values.reshape(shape)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}, expected true, false or missing") from error
    strange = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    if strange.any():
        at = int(np.flatnonzero(strange.ravel())[0])
        value = numbers.ravel()[at]
        raise DataError(f"{name}: place {at}: {value}, expected true, false or missing")
    return numbers


def as_codes(stereotyped: Flags, contrast: Flags) -> npt.NDArray[np.uint8]:
    """Outcome codes, [n_series, n_pairs]."""
    codes = outcome_codes(as_numbers(stereotyped, "stereotyped"), as_numbers(contrast, "contrast"))
    if codes.ndim > 2:
        raise ArgumentError(f"stereotyped: {codes.ndim} dimensions, expected 1 or 2")
    return np.ascontiguousarray(np.atleast_2d(codes))


def as_groups(labels: Labels | None, n: int, name: str) -> npt.NDArray[np.uint32]:
    """Groups numbered in the order of their labels; without labels, all in one.

    Raises:
        DataError: If there are not n labels, or one is missing.

    Example:
        >>> as_groups(["b", "a", "b"], 3, "scenario").tolist()
        [1, 0, 1]
    """
    if labels is None:
        return np.zeros(n, dtype=np.uint32)
    values = labels.to_numpy() if isinstance(labels, pl.Series) else np.asarray(labels)
    if values.shape != (n,):
        raise DataError(f"{name}: {values.size} labels, expected {n}, one for each pair")
    if values.dtype == object:
        if any(value is None for value in values):
            raise DataError(f"{name}: a label is missing")
        values = values.astype(str)
    return np.unique(values, return_inverse=True)[1].astype(np.uint32)
