"""Agreement between raters: people, models, or a parser and a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats._arrays import Labels, as_groups
from misfired.stats._seed import Rng, seed_of
from misfired.stats.results import named_warnings

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient of agreement.

    Attributes:
        value: 1 for perfect, 0 for what chance gives. None if chance alone would agree perfectly.
        low: Lower end of the percentile interval over clusters of items.
        high: Upper end.
        method: Which coefficient.
        n_items: Items with at least two ratings.
        n_raters: Raters.
        reason: Why there is no value, or no interval.
        seed: The seed used.
        warnings: Names of what a careful reader would want to know (`named_warnings`).
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    n_items: int
    n_raters: int
    reason: str | None
    seed: int
    warnings: tuple[str, ...] = ()


def agreement(
    ratings: Sequence[Sequence[Any]] | npt.NDArray[Any],
    *,
    method: str = "krippendorff",
    cluster: Labels | None = None,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: Rng = 0,
    n_threads: int | None = None,
) -> Agreement:
    """Agreement on nominal ratings beyond chance, with an interval.

    Args:
        ratings: One row for each item, one column for each rater; None where missing.
        method: `"krippendorff"` (alpha; missing ratings allowed), `"fleiss"` (kappa; every item
            with as many ratings), `"cohen"` (kappa; two raters, items with both).
        cluster: Groups of items that are resampled together, such as scenarios; each item alone
            by default.
        n_resamples: Number of resamples.
        confidence_level: Between 0 and 1.
        rng: Seed or generator.
        n_threads: Threads.

    Raises:
        DataError: If rows differ in length, or the ratings do not fit the method.
        ArgumentError: If an option is outside its limits.

    Example:
        >>> result = agreement([["y", "y"], ["y", "n"], ["n", "n"], ["n", "n"]], method="cohen")
        >>> result.value
        0.5
    """
    if not 0 < confidence_level < 1:
        raise ArgumentError(f"confidence_level: {confidence_level}, expected above 0 and below 1")
    if n_resamples < 1:
        raise ArgumentError(f"n_resamples: {n_resamples}, expected at least 1")
    codes, n_values = _codes(ratings)
    rated = np.sum(codes < n_values, axis=1)
    if method == "cohen" and codes.shape[1] != 2:
        raise DataError(f"ratings: {codes.shape[1]} raters, expected 2 for cohen")
    if method == "fleiss" and len(set(rated.tolist())) > 1:
        raise DataError(
            f"ratings: {rated.min()} to {rated.max()} ratings for an item, expected as many for"
            " each for fleiss"
        )
    n_items = len(codes)
    alone = np.arange(n_items, dtype=np.uint32)
    groups = alone if cluster is None else as_groups(cluster, n_items, "cluster")
    seed = seed_of(rng)
    value, low, high = (
        None if np.isnan(x) else x
        for x in _core.agreement(
            codes, groups, n_values, method, confidence_level, n_resamples, seed, n_threads
        )
    )
    reason = "constant" if value is None or low is None else None
    if not np.any(rated > 1):
        reason = "no_scored_pair"
    n = int(np.sum(rated > 1))
    warnings = named_warnings(reason, len(np.unique(groups)))
    return Agreement(value, low, high, method, n, codes.shape[1], reason, seed, warnings)


def _codes(
    ratings: Sequence[Sequence[Any]] | npt.NDArray[Any],
) -> tuple[npt.NDArray[np.uint8], int]:
    rows = [list(row) for row in ratings]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError("ratings: rows of different length, or none, expected one column per rater")
    values = sorted({value for row in rows for value in row if not _missing(value)}, key=repr)
    if len(values) > 250:
        raise DataError(f"ratings: {len(values)} different values, expected at most 250")
    number = {value: code for code, value in enumerate(values)}
    codes = [[255 if _missing(value) else number[value] for value in row] for row in rows]
    return np.array(codes, dtype=np.uint8), len(values)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
