"""Slow plain twins of the intervals of rates and of their weighted sums, from hits and trials by scenario.

Rates: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of
positive counts estimated from survey data", with the degrees of freedom of Satterthwaite 1946 and a floor
under the ends. Sums: Zou and Donner 2008, "Construction of confidence limits about effect measures",
equation 5; Zou, Huang and Zhang 2009 for more than two terms.
"""

import math
from collections.abc import Sequence

from scipy import stats

Clusters = Sequence[tuple[float, float]]
"""Hits and trials of each scenario."""

CELLS = {
    "mar": ((2,), (0, 2)), "mar_joint": ((2,), (0, 1, 2, 3)), "br": ((1,), (0, 1)),
    "reverse_joint": ((1,), (0, 1, 2, 3)), "accuracy_stereotyped": ((0, 1), (0, 1, 2, 3)),
    "accuracy_contrast": ((0, 2), (0, 1, 2, 3)),
}  # fmt: skip


def clusters(measure: str, units: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    hits, base = CELLS[measure]
    return [(sum(u[i] for i in hits), sum(u[i] for i in base)) for u in units]


def rate(data: Clusters) -> float:
    return sum(x for x, _ in data) / sum(m for _, m in data)


def pulls(data: Clusters) -> list[float]:
    share, n = rate(data), sum(m for _, m in data)
    return [(x - share * m) / n for x, m in data]


def exact(share: float, size: float, level: float) -> tuple[float, float]:
    tail, hits = (1 - level) / 2, share * size
    low = stats.beta.ppf(tail, hits, size - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, size - hits) if hits < size else 1.0
    return float(low), float(high)


def design_effect(data: Clusters) -> float:
    """Pairs over the independent pairs that they are worth; NaN where nothing varies."""
    share, n, g = rate(data), sum(m for _, m in data), len(data)
    squares = sum(pull**2 for pull in pulls(data))
    if not 0 < share < 1:
        return math.nan
    return max(1.0, n * g / (g - 1) * squares / (share * (1 - share)))


def interval(
    data: Clusters, level: float, *, floor: bool = True, effect: float = math.nan
) -> tuple[float, float]:
    """The ends in shares of 1; `effect` stands in for the design effect at a rate of 0 or 1."""
    share, n, g = rate(data), sum(m for _, m in data), len(data)
    n_bases = sum(m > 0 for _, m in data)
    z = stats.norm.ppf((1 + level) / 2)

    def shrink(degrees: float) -> float:
        return float((z / stats.t.ppf((1 + level) / 2, degrees)) ** 2)

    squares = [pull**2 for pull in pulls(data)]
    if 0 < share < 1 and sum(squares) > 1e-24:
        size = min(share * (1 - share) / (g / (g - 1) * sum(squares)), n)
        excess = sum(s**2 for s in squares) / sum(squares) ** 2 - 1 / g
        degrees = min(g - 1, 2 / excess) if excess > 1e-12 else g - 1
    else:
        size, degrees = (n_bases if not 0 < share < 1 else n), g - 1
        if not 0 < share < 1 and not math.isnan(effect):
            size = max(size, n / effect)
    low, high = exact(share, size * shrink(degrees), level)
    if not floor:
        return low, high
    least = exact(0.0, n_bases * shrink(g - 1), level)[1]
    return min(low, 1 - least), max(high, least)


def mover(terms: Sequence[Clusters], weights: Sequence[float], level: float) -> tuple[float, float]:
    value = sum(w * rate(data) for w, data in zip(weights, terms, strict=True))
    own = [pulls(data) for data in terms]

    def together(i: int, j: int) -> float:
        """Correlation of two rates over scenarios."""
        if i == j:
            return 1.0
        products = sum(x * y for x, y in zip(own[i], own[j], strict=True))
        squares = math.prod(sum(x * x for x in own[k]) for k in (i, j))
        return products / math.sqrt(squares) if squares > 0 else 0.0

    known = [each for each in map(design_effect, terms) if not math.isnan(each)]
    effect = max(known, default=math.nan)
    ends = []
    for side in (0, 1):
        arms = []
        for w, data in zip(weights, terms, strict=True):
            low, high = interval(data, level, floor=False, effect=effect)
            down, up = rate(data) - low, high - rate(data)
            arms.append(w * (down if (w > 0) == (side == 0) else up))
        n = range(len(arms))
        total = sum(together(i, j) * arms[i] * arms[j] for i in n for j in n)
        ends.append(value + (1 if side else -1) * math.sqrt(max(total, 0.0)))
    return ends[0], ends[1]
