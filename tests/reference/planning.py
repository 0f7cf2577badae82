"""Slow plain twins of the planning formulas.

Power: Miettinen 1968 for paired proportions, with the variance times Kish's design effect. Width: the t
interval of a proportion on the logit scale, with the same design effect.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

from scipy import stats

NORMAL = NormalDist()


def design_effect(sizes: Sequence[int], correlation: float) -> float:
    """The variance of the mean of all pairs, pair by pair of pairs, over that of independent ones."""
    n = sum(sizes)
    alike = sum(1.0 if i == j else correlation for m in sizes for i in range(m) for j in range(m))
    return alike / n


def power(  # noqa: PLR0917
    gain: float, loss: float, sizes: Sequence[int], correlation: float, alpha: float, side: str
) -> float:
    n, effect = sum(sizes), gain - loss
    scale = design_effect(sizes, correlation) / n
    null = math.sqrt(scale * (gain + loss))
    true = math.sqrt(scale * (gain + loss - effect**2))

    def beyond(effect: float, tail: float) -> float:
        """P(Z > z(1 - tail) null) for Z of mean effect and standard deviation true."""
        line = NORMAL.inv_cdf(1 - tail) * null
        return 1 - NORMAL.cdf((line - effect) / true)

    if side == "two-sided":
        return beyond(effect, alpha / 2) + beyond(-effect, alpha / 2)
    return beyond(effect if side == "greater" else -effect, alpha)


def width(rate: float, n_scenarios: int, counted: float, correlation: float, level: float) -> float:
    """Of `counted` pairs in each scenario's denominator."""
    p = rate / 100
    deff = 1 + max(counted - 1, 0) * correlation
    error = math.sqrt(deff * p * (1 - p) / (counted * n_scenarios)) / (p * (1 - p))
    step = stats.t.ppf((1 + level) / 2, n_scenarios - 1) * error
    ends = [stats.logistic.cdf(stats.logistic.ppf(p) + side * step) for side in (-1, 1)]
    return 100 * float(ends[1] - ends[0])
