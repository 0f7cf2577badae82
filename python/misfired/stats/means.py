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


@dataclass(frozen=True)
class MeanInterval:
    """An estimate with a percentile interval; `low` and `high` have the shape of `value`."""

    value: Floats
    low: Floats
    high: Floats


def mean_interval(
    values: Floats,
    scenarios: Sequence[str],
    statistic: Callable[[Floats], Floats] = lambda means: means,
    *,
    n_resamples: int = DEFAULTS.n_resamples,
    confidence_level: float = DEFAULTS.confidence_level,
    rng: int = 0,
) -> MeanInterval:
    r"""Return the percentile interval of a function of means, with whole scenarios resampled.

    With :math:`w` a multinomial draw of as many scenarios as there are, a resample has the means
    :math:`\sum_s w_s \sum_{i \in s} x_i / \sum_s w_s n_s`. Resamples on which the statistic is not
    finite are left out of the interval. Where the statistic itself is not finite, value and both
    ends are NaN.

    Args:
        values: Shape (n, k): one row for each pair, k quantities; at least one row.
        scenarios: The scenario of each row.
        statistic: From means, shape (..., k), to statistics, shape (..., m).
        n_resamples: At least 1.
        confidence_level: Between 0 and 1.
        rng: Seed; the same seed gives the same bits.

    Example:
        >>> found = mean_interval(np.array([[1.0], [3.0]]), ["a", "a"])
        >>> found.value.tolist(), found.low.tolist()
        ([2.0], [2.0])
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
    undefined = ~np.isfinite(value)
    value[undefined] = low[undefined] = high[undefined] = np.nan
    return MeanInterval(value, low, high)


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
