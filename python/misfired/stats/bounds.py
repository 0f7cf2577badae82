"""Intervals of plain proportions, and bounds of MAR over unscored prompts."""

from dataclasses import dataclass

import numpy as np

from misfired._core import proportion_interval as _interval
from misfired.errors import ArgumentError, check_one_of
from misfired.stats._arrays import Flags, as_codes, as_numbers
from misfired.stats.options import DEFAULTS, check_correlation, check_count, check_level
from misfired.types import checks_types


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the largest MAR that the unscored prompts leave possible, in percent.

    Attributes:
        best: The least MAR.
        value: MAR of the scored pairs.
        worst: The largest MAR.
        n_unscored: Pairs with an unscored prompt.
        reason: Why `best`, `value` or `worst` is missing: a + c = 0.
        warnings: The reason, if there is one.
    """

    best: float | None
    value: float | None
    worst: float | None
    n_unscored: int
    reason: str | None = None
    warnings: tuple[str, ...] = ()


@checks_types
def mar_bounds(stereotyped: Flags, contrast: Flags) -> Bounds:
    """Return MAR under best and worst answers to abstained, unparseable and failed prompts.

    MAR = 100 c / (a + c) falls with a and rises with c. So the best case answers an unscored
    stereotyped prompt right, and an unscored contrast prompt right where the stereotyped one is
    right or unscored, else wrong; the worst case does the opposite.

    Args:
        stereotyped: True where a stereotyped prompt was answered correctly, None or NaN where
            unscored; shape [n_pairs].
        contrast: The same for the contrast prompts.

    Example:
        >>> found = mar_bounds([True, False, None, True], [True, True, True, None])
        >>> found.best, found.value, round(found.worst, 1), found.n_unscored
        (25.0, 50.0, 66.7, 2)
    """
    as_codes(stereotyped, contrast, most=1)
    st, co = as_numbers(stereotyped, "stereotyped"), as_numbers(contrast, "contrast")
    right, wrong, open_ = st == 1, st == 0, np.isnan(st)
    answered, asked = co == 1, np.isnan(co)
    a, c = int(np.sum(right & answered)), int(np.sum(wrong & answered))
    either = int(np.sum(open_ & (answered | asked)))
    right_open, wrong_open = int(np.sum(right & asked)), int(np.sum(wrong & asked))
    best = _share(c, a + either + right_open)
    worst = _share(c + either + wrong_open, a)
    # With an empty denominator, the pairs that are still open on the other side decide.
    best = 100.0 if best is None and wrong_open else best
    worst = 0.0 if worst is None and right_open else worst
    value = _share(c, a)
    n_unscored = int(np.sum(open_ | asked))
    reason = None if None not in {best, value, worst} else "no_contrast_correct"
    return Bounds(best, value, worst, n_unscored, reason, (reason,) if reason else ())


def _share(c: int, a: int) -> float | None:
    return 100 * c / (a + c) if a + c else None


@checks_types
def proportion_interval(
    hits: int,
    n: int,
    *,
    method: str = "wilson",
    confidence_level: float = DEFAULTS.confidence_level,
) -> tuple[float, float]:
    """Return the interval of a proportion of independent trials, in percent.

    Args:
        hits: Trials that hit.
        n: Trials, at least 1.
        method: `"wilson"` (score, Wilson 1927) or `"clopper_pearson"` (exact).
        confidence_level: Between 0 and 1.

    Example:
        >>> low, high = proportion_interval(0, 100)
        >>> round(low, 2), round(high, 2)
        (0.0, 3.7)
    """
    _check(hits, n, confidence_level)
    check_one_of("method", method, ("wilson", "clopper_pearson"))
    return _interval(float(hits), float(n), method=method, confidence_level=confidence_level)


@checks_types
def upper_bound(
    n: int,
    *,
    hits: int = 0,
    confidence_level: float = DEFAULTS.confidence_level,
    cluster_size: float = 1.0,
    correlation: float = 0.0,
) -> float:
    """Return the one-sided upper bound of a rate in percent: zero of n is not zero.

    Exact for independent trials: Clopper and Pearson on n / (1 + (cluster_size - 1) correlation)
    effective trials. For 0 hits this is 100 (1 - (1 - confidence_level)^(1 / n)), about 300 / n at
    95 %.

    Args:
        n: Trials, at least 1.
        hits: Trials that hit.
        confidence_level: Between 0 and 1.
        cluster_size: Trials per cluster, such as an annotator or a scenario.
        correlation: Intra-cluster correlation; 1 takes each cluster as one trial.

    Example:
        >>> round(upper_bound(100), 2), round(upper_bound(100, cluster_size=20, correlation=1), 1)
        (2.95, 45.1)
    """
    _check(hits, n, confidence_level)
    check_count("cluster_size", cluster_size)
    check_correlation(correlation)
    effective = n / (1 + (cluster_size - 1) * correlation)
    hits_effective = hits * (effective / n)
    # The upper end of the two-sided interval of level 2 q - 1 has a tail of 1 - q.
    level = 2 * confidence_level - 1
    return _interval(hits_effective, effective, method="clopper_pearson", confidence_level=level)[1]


def _check(hits: int, n: int, confidence_level: float) -> None:
    check_count("n", n)
    if not 0 <= hits <= n:
        raise ArgumentError(f"hits must be from 0 to n = {n}, got {hits}")
    check_level("confidence_level", confidence_level)
