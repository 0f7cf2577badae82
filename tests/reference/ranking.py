"""Slow plain twin of the leaderboard: joint intervals and joint ranks from the same draws.

Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks", with one joint critical value.
"""

import math
from collections.abc import Sequence

from reference.resampling import quantile, resampled_totals, value


def board(
    units: Sequence[Sequence[float]], n_series: int, measure: str, n_resamples: int, seed: int
) -> list[tuple[float, float, int, int]]:
    """(lower end, upper end, best rank, worst rank) of each series, before clipping to 0 .. 100.

    Units hold (a, b, c, d) of each series in turn.
    """

    def values(totals: Sequence[float]) -> list[float]:
        return [value(measure, totals[4 * i : 4 * i + 4]) for i in range(n_series)]

    observed = values([sum(column) for column in zip(*units, strict=True)])
    draws = [values(total) for total in resampled_totals([units], n_resamples, seed)]

    def spread(of: list[float]) -> float:
        mean = sum(of) / len(of)
        return math.sqrt(sum((x - mean) ** 2 for x in of) / (len(of) - 1))

    def critical(deviations: list[list[float]], errors: list[float]) -> float:
        """The 95 % quantile of the largest studentised deviation; deviations[resample][statistic]."""
        largest = [
            max((abs(x) / e for x, e in zip(row, errors, strict=True) if e > 0), default=0.0)
            for row in deviations
        ]
        return quantile(largest, 0.95)

    alone = [[x - o for x, o in zip(draw, observed, strict=True)] for draw in draws]
    errors = [spread([row[i] for row in alone]) for i in range(n_series)]
    step = critical(alone, errors)
    couples = [(i, j) for i in range(n_series) for j in range(i + 1, n_series)]
    apart = [[row[i] - row[j] for i, j in couples] for row in alone]
    between = [spread([row[k] for row in apart]) for k in range(len(couples))]
    gap = critical(apart, between) if couples else 0.0
    above, below = [0] * n_series, [0] * n_series
    for (i, j), error in zip(couples, between, strict=True):
        if abs(observed[i] - observed[j]) > gap * error:
            low, high = (i, j) if observed[i] < observed[j] else (j, i)
            above[low] += 1
            below[high] += 1
    return [
        (
            observed[i] - step * errors[i],
            observed[i] + step * errors[i],
            below[i] + 1,
            n_series - above[i],
        )
        for i in range(n_series)
    ]
