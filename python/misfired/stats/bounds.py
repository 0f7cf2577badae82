"""What the unscored could change, and how large a rate of zero could be."""

from dataclasses import dataclass

import numpy as np

from misfired import _core
from misfired.errors import ArgumentError, DataError
from misfired.stats._arrays import Flags, as_numbers

__all__ = ["Bounds", "mar_bounds", "upper_bound"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the largest MAR that the unscored prompts leave possible, in percent.

    Attributes:
        best: Every unscored prompt answered so that MAR is smallest.
        value: MAR of the scored pairs.
        worst: Every unscored prompt answered so that MAR is largest.
        n_unscored: Pairs with an unscored prompt.
        reason: Why `best`, `value` and `worst` are not all there: a + c = 0.
        warnings: The reason, if there is one.
    """

    best: float | None
    value: float | None
    worst: float | None
    n_unscored: int
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def mar_bounds(stereotyped: Flags, contrast: Flags) -> Bounds:
    """MAR under best and worst assignment of abstained, unparseable and failed prompts.

    MAR = 100 c / (a + c) falls with a and rises with c. So the best case answers an unscored
    stereotyped prompt right, and an unscored contrast prompt right where the stereotyped one is
    right or unscored, else wrong; the worst case does the opposite.

    Args:
        stereotyped: Whether each stereotyped prompt was answered correctly, None or NaN where
            unscored; shape [n_pairs].
        contrast: The same for the contrast prompts.

    Raises:
        DataError: If columns differ in length or hold what is no outcome.

    Example:
        >>> found = mar_bounds([True, False, None, True], [True, True, True, None])
        >>> found.best, found.value, round(found.worst, 1), found.n_unscored
        (25.0, 50.0, 66.7, 2)
    """
    st, co = as_numbers(stereotyped, "stereotyped"), as_numbers(contrast, "contrast")
    if st.shape != co.shape:
        raise DataError(f"contrast: {co.size} outcomes, expected {st.size}")
    right, wrong, open_ = st == 1, st == 0, np.isnan(st)
    answered, asked = co == 1, np.isnan(co)
    a, c = int(np.sum(right & answered)), int(np.sum(wrong & answered))
    either = int(np.sum(open_ & (answered | asked)))
    right_open, wrong_open = int(np.sum(right & asked)), int(np.sum(wrong & asked))
    best = _share(c, a + either + right_open)
    worst = _share(c + either + wrong_open, a)
    # With an empty denominator, what is still open on the other side is all that there can be.
    best = 100.0 if best is None and wrong_open else best
    worst = 0.0 if worst is None and right_open else worst
    value = _share(c, a)
    n_unscored = int(np.sum(open_ | asked))
    reason = None if None not in {best, value, worst} else "no_contrast_correct"
    return Bounds(best, value, worst, n_unscored, reason, (reason,) if reason else ())


def _share(c: int, a: int) -> float | None:
    return 100 * c / (a + c) if a + c else None


def upper_bound(
    n: int,
    *,
    hits: int = 0,
    confidence_level: float = 0.95,
    cluster_size: float = 1.0,
    correlation: float = 0.0,
) -> float:
    """One-sided upper bound of a rate, exact for independent trials: zero of n is not zero.

    Clopper and Pearson on n / (1 + (cluster_size - 1) correlation) effective trials; for 0 hits
    this is 100 (1 - (1 - confidence_level)^(1 / n)), about 300 / n at 95 %.

    Args:
        n: Trials, at least 1.
        hits: How many of them hit.
        confidence_level: Between 0 and 1.
        cluster_size: Trials per cluster: of one annotator, or of one scenario.
        correlation: Intra-cluster correlation; 1 takes each cluster as one trial.

    Returns:
        In percent.

    Raises:
        ArgumentError: If a number is outside its limits.

    Example:
        >>> round(upper_bound(100), 2), round(upper_bound(100, cluster_size=20, correlation=1), 1)
        (2.95, 45.1)
    """
    if not 0 <= hits <= n or n < 1:
        raise ArgumentError(f"hits: {hits} of {n}, expected 0 to n, and n at least 1")
    if not 0 < confidence_level < 1:
        raise ArgumentError(f"confidence_level: {confidence_level}, expected above 0 and below 1")
    if cluster_size < 1 or not 0 <= correlation <= 1:
        raise ArgumentError(
            f"cluster_size, correlation: {cluster_size}, {correlation}, expected at least 1, 0 to 1"
        )
    effective = n / (1 + (cluster_size - 1) * correlation)
    scale = effective / n
    # The upper end of the two-sided interval of level 2 q - 1 has a tail of 1 - q.
    return _core.proportion_interval(
        hits * scale, effective, "clopper_pearson", 2 * confidence_level - 1
    )[1]
