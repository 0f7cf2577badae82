"""Slow plain twins of the planning formulas.

Power: Miettinen 1968 for paired proportions, with the variance times Kish's design effect.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

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
    # A flip leaves the squares of the scenarios' differences: their variance and their squared mean.
    true = math.sqrt(scale * (gain + loss - effect**2))
    null = math.sqrt(true**2 + sum((m * effect / n) ** 2 for m in sizes))

    def beyond(effect: float, tail: float) -> float:
        """P(Z > z(1 - tail) null) for Z of mean effect and standard deviation true."""
        line = NORMAL.inv_cdf(1 - tail) * null
        return 1 - NORMAL.cdf((line - effect) / true)

    if side == "two-sided":
        return beyond(effect, alpha / 2) + beyond(-effect, alpha / 2)
    return beyond(effect if side == "greater" else -effect, alpha)
