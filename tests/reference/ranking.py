"""Slow plain twin of the leaderboard: joint intervals and joint ranks by Bonferroni's inequality.

Ranks from all differences at once: Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks".
"""

from collections.abc import Sequence

from reference.rates import clusters, interval, mover, pulls, rate


def board(
    units: Sequence[Sequence[Sequence[float]]], measure: str, level: float
) -> list[tuple[float, float, int, int]]:
    """(lower end, upper end, best rank, worst rank) of each series; units[scenario][series] has a to d."""
    n = len(units[0])
    series = [clusters(measure, [unit[i] for unit in units]) for i in range(n)]
    ends = [interval(data, 1 - (1 - level) / n) for data in series]
    couples = [(i, j) for i in range(n) for j in range(i + 1, n)]
    above, below = [0] * n, [0] * n
    for i, j in couples:
        each = 1 - (1 - level) / len(couples)
        gaps = [x - y for x, y in zip(pulls(series[i]), pulls(series[j]), strict=True)]
        if max(map(abs, gaps)) < 1e-12:  # The difference does not vary: nothing is known of it.
            continue
        low, high = mover([series[i], series[j]], [1, -1], each)
        if low > 0 or high < 0:
            lower, higher = (i, j) if rate(series[i]) < rate(series[j]) else (j, i)
            above[lower] += 1
            below[higher] += 1
    return [
        (100 * low, 100 * high, below[i] + 1, n - above[i]) for i, (low, high) in enumerate(ends)
    ]
