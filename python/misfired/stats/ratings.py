"""Agreement between raters: people, models, or a parser and a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import agreement as core_agreement
from misfired.errors import DataError
from misfired.labels import label_texts
from misfired.options import takes_options
from misfired.stats._arrays import Codes, Labels, as_groups, no_nan, warnings_of
from misfired.stats.options import RngOptions

_Ratings = Sequence[Sequence[Any]] | npt.NDArray[Any] | pl.DataFrame


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient of agreement.

    Attributes:
        value: 1 for perfect agreement, 0 for chance. None if chance alone would agree perfectly.
        low: Lower end of the percentile interval over clusters of items.
        high: Upper end.
        method: Name of the coefficient.
        n_items: Items with at least two ratings.
        n_raters: Number of raters.
        reason: Why there is no value, or no interval.
        seed: The seed used.
        n_undefined: Resamples in which chance alone would agree perfectly; the interval leaves them out.
        warnings: See `warnings_of`.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    n_items: int
    n_raters: int
    reason: str | None
    seed: int
    n_undefined: int
    warnings: tuple[str, ...] = ()


@takes_options(RngOptions)
def agreement(
    ratings: _Ratings,
    *,
    method: str = "krippendorff",
    cluster: Labels | None = None,
    **options: Any,
) -> Agreement:
    """Return agreement on nominal ratings beyond chance, with an interval.

    Args:
        ratings: One row for each item, one column for each rater. They are compared as text
            (`misfired.labels`): 1 is 1.0 and "1". None, NaN and an empty text are missing.
        method: `"krippendorff"` (alpha; missing ratings allowed), `"fleiss"` (kappa; equally
            many ratings for every item), `"cohen"` (kappa; two raters, items with both).
        cluster: Groups of items that are resampled together, such as scenarios; each item alone
            by default.
        options: Fields of `RngOptions`.

    Raises:
        DataError: Rows differ in length, or the ratings do not fit the method.

    Example:
        >>> result = agreement([["y", "y"], ["y", "n"], ["n", "n"], ["n", "n"]], method="cohen")
        >>> result.value
        0.5
    """
    sampling = RngOptions.of(options)
    codes, n_values = _codes(ratings)
    rated = np.sum(codes < n_values, axis=1)
    if method == "cohen" and codes.shape[1] != 2:
        raise DataError(f"ratings must be of 2 raters for cohen, got {codes.shape[1]}")
    if method == "fleiss" and rated.min() < rated.max():
        found = f"{rated.min()} to {rated.max()} ratings"
        raise DataError(f"ratings must be equally many for each item for fleiss, got {found}")
    groups = as_groups(range(len(codes)) if cluster is None else cluster, len(codes), "cluster")
    arguments = sampling.arguments()
    numbers = core_agreement(codes, groups, n_values=n_values, method=method, **arguments)
    value, low, high = map(no_nan, numbers[:3])
    n_undefined = numbers[3]
    reason = "constant" if value is None or low is None else None
    n_items = int(np.sum(rated > 1))
    reason = reason if n_items else "no_scored_pair"
    n_clusters = len(np.unique(groups[rated > 1]))
    undefined = value is not None and n_undefined > 0
    warnings = warnings_of(reason, n_clusters, undefined=undefined)
    shape = (n_items, codes.shape[1])
    return Agreement(value, low, high, method, *shape, reason, sampling.seed, n_undefined, warnings)


def _codes(ratings: _Ratings) -> tuple[Codes, int]:
    given = ratings.rows() if isinstance(ratings, pl.DataFrame) else ratings
    for row in given:
        if not isinstance(row, (list, tuple, np.ndarray, pl.Series)):
            raise DataError(f"ratings must be rows, one label for each rater, got {row!r}")
    rows = [label_texts(row) for row in given]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(
            "ratings must be rows of one length, one column for each rater, got none or other lengths"
        )
    values = sorted({value for row in rows for value in row if value is not None}, key=repr)
    if len(values) > 250:
        raise DataError(f"ratings must have at most 250 different values, got {len(values)}")
    number = {value: code for code, value in enumerate(values)}
    codes = [[255 if value is None else number[value] for value in row] for row in rows]
    return np.array(codes, dtype=np.uint8), len(values)
