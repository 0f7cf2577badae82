"""Scenario bootstrap and sign-flip tests of means, as localisation reports them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from misfired.errors import ArgumentError
from misfired.stats._arrays import Floats
from misfired.stats.options import DEFAULTS, check_count, check_level

__all__ = ["Floats", "MeanInterval", "mean_interval", "sign_flip"]

#: Resamples drawn at a time: memory is this times the scenarios, whatever n_resamples is.
_CHUNK = 1_000

#: Ends of an interval that differ by less, relative to their size, are equal.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class MeanInterval:
    """Estimates with percentile intervals; all four have one entry for each estimate.

    Attributes:
        value: The estimates; NaN where there is none.
        low: Lower ends; NaN where there is no interval.
        high: Upper ends.
        reason: Why there is no value or no interval, or None.
    """

    value: Floats
    low: Floats
    high: Floats
    reason: list[str | None]


def mean_interval(
    values: Floats,
    scenarios: Sequence[str],
    statistic: Callable[[Floats], Floats] = lambda means: means,
    *,
    undefined: str = "undefined",
    n_resamples: int = DEFAULTS.n_resamples,
    confidence_level: float = DEFAULTS.confidence_level,
    rng: int = 0,
) -> MeanInterval:
    r"""Return percentile intervals of functions of means, with whole scenarios resampled.

    With :math:`w` a multinomial draw of as many scenarios as there are, a resample has the means
    :math:`\sum_s w_s \sum_{i \in s} x_i / \sum_s w_s n_s`. Resamples on which the statistic is not
    finite are left out of the interval. There is no interval, with a reason, where there is a single
    scenario (`one_unit`), where its two ends are equal (`constant`), and where the statistic itself is
    not finite (`undefined`, or what this argument says).

    Args:
        values: Shape (n, k): one row for each pair, k quantities; at least one row.
        scenarios: The scenario of each row.
        statistic: From means, shape (..., k), to statistics, shape (..., m).
        undefined: The reason where the statistic is not finite.
        n_resamples: At least 1.
        confidence_level: Between 0 and 1.
        rng: Seed; the same seed gives the same bits.

    Example:
        >>> found = mean_interval(np.array([[1.0], [3.0]]), ["a", "a"])
        >>> found.value.tolist(), found.low.tolist(), found.reason
        ([2.0], [nan], ['one_unit'])
    """
    sums, sizes = _by_scenario(values, scenarios)
    check_count("n_resamples", n_resamples)
    check_level("confidence_level", confidence_level)
    generator = np.random.default_rng(rng)
    n = len(sizes)
    draws = []
    for start in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        weights = generator.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        draws.append(statistic((weights @ sums) / (weights @ sizes)[:, None]))
    tail = (1 - confidence_level) / 2
    drawn = np.concatenate(draws)
    drawn[~np.isfinite(drawn)] = np.nan
    hopeless = np.isnan(drawn).all(axis=0)
    # A column of NaN would make nanquantile warn; its interval is NaN either way.
    drawn[:, hopeless] = 0.0
    low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    low[hopeless] = high[hopeless] = np.nan
    value = np.asarray(statistic(sums.sum(axis=0) / sizes.sum()), np.float64)
    none = ~np.isfinite(value)
    value[none] = np.nan
    # Rounding alone makes no interval.
    equal = ~(high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high)))
    reasons = np.full(value.shape, "", object)
    for fits, reason in ((equal, "constant"), (n == 1, "one_unit"), (none, undefined)):
        reasons[fits] = reason
    low[reasons != ""] = high[reasons != ""] = np.nan
    return MeanInterval(value, low, high, [each or None for each in reasons.tolist()])


def sign_flip(
    values: Floats,
    scenarios: Sequence[str],
    *,
    n_resamples: int = DEFAULTS.n_resamples,
    rng: int = 0,
) -> Floats:
    r"""Return one-sided p-values for means above 0, shape (k,), by random signs of whole scenarios.

    .. math:: p = (1 + \#\{b: T_b \ge T\}) / (1 + B), \quad T_b = \sum_s \pm_b \sum_{i \in s} x_i

    Up to 2^S sign patterns for S scenarios: p is never below :math:`2^{-S}` by much.

    Arguments are those of `mean_interval`; `n_resamples` counts sign patterns.

    Example:
        >>> sign_flip(np.array([[1.0, -1.0]] * 20), [str(i) for i in range(20)], n_resamples=999)
        array([0.001, 1.   ])
    """
    sums, _ = _by_scenario(values, scenarios)
    check_count("n_resamples", n_resamples)
    generator = np.random.default_rng(rng)
    observed = sums.sum(axis=0)
    # A pattern that differs from the observed only by rounding counts as equal to it.
    bar = observed - 1e-12 * np.abs(sums).sum(axis=0)
    as_large = np.zeros(len(observed), np.int64)
    for start in range(0, n_resamples, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        signs = generator.choice([-1.0, 1.0], size=(size, len(sums)))
        as_large += (signs @ sums >= bar).sum(axis=0)
    return (1 + as_large) / (1 + n_resamples)


def _by_scenario(values: Floats, scenarios: Sequence[str]) -> tuple[Floats, Floats]:
    if len(values) == 0 or len(values) != len(scenarios):
        raise ArgumentError(
            f"values must have a row for each scenario label, got {len(values)} for {len(scenarios)}"
        )
    names, codes = np.unique(np.asarray(scenarios, dtype=object).astype(str), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums, np.bincount(codes).astype(np.float64)
