"""Slow plain twin of the gate, from the definitions, pair by pair."""

import math
from collections.abc import Sequence
from fractions import Fraction

from scipy import stats

HITS = {"mar": "c", "br": "b", "mar_joint": "c", "accuracy_contrast": "ac"}
BASE = {"mar": "ac", "br": "ab", "mar_joint": "abcd", "accuracy_contrast": "abcd"}


def rate(outcomes: Sequence[str], measure: str) -> Fraction:
    """Return the rate of outcomes a, b, c, d, without rounding."""
    hits = sum(each in HITS[measure] for each in outcomes)
    return Fraction(100 * hits, sum(each in BASE[measure] for each in outcomes))


def standard_error(
    base: Sequence[str], candidate: Sequence[str], scenario: Sequence[object], measure: str
) -> float:
    """Return the error of the change, from its derivative in each scenario's weight."""
    names = sorted(set(scenario), key=str)

    def change(weights: dict[object, float]) -> float:
        sides = []
        for outcomes in (base, candidate):
            hits = total = 0.0
            for each, place in zip(outcomes, scenario, strict=True):
                hits += weights[place] * (each in HITS[measure])
                total += weights[place] * (each in BASE[measure])
            sides.append(100 * hits / total)
        return sides[1] - sides[0]

    step = 1e-4
    slopes = []
    for name in names:
        ends = [change({n: 1 + sign * step * (n == name) for n in names}) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * step))
    n, mean = len(slopes), sum(slopes) / len(slopes)
    return math.sqrt(sum((slope - mean) ** 2 for slope in slopes) * n / (n - 1))


def arms(  # noqa: PLR0917
    base: Sequence[str],
    candidate: Sequence[str],
    scenario: Sequence[object],
    measure: str,
    n_effective: float,
    level: float,
) -> tuple[float, float]:
    """Return how far an interval of the change reaches down and up, by pairs that came and went."""
    hit = HITS[measure]
    rows = [
        (place, y in hit and x not in hit, x in hit and y not in hit)
        for x, y, place in zip(base, candidate, scenario, strict=True)
        if x in BASE[measure] and y in BASE[measure]
    ]
    names = sorted({place for place, *_ in rows}, key=str)
    found, pulls = [], []
    for k in (1, 2):
        n, share = len(rows), sum(row[k] for row in rows) / len(rows)
        own = [sum(row[k] - share for row in rows if row[0] == name) for name in names]
        pulls.append(own)
        size, groups = n_effective, len(names)
        squares = sum(x * x for x in own)
        if 0 < share < 1:
            size = 1.0
            if groups > 1 and squares > 1e-12:
                excess = sum(x**4 for x in own) / squares**2 - 1 / groups
                degrees = min(groups - 1, max(2 / excess, 7)) if excess > 0 else groups - 1
                variance = squares / n**2 * groups / (groups - 1)
                upper = (1 + level) / 2
                shrink = (stats.norm.ppf(upper) / stats.t.ppf(upper, degrees)) ** 2
                size = min(share * (1 - share) / variance, n) * shrink
        hits, tail = share * size, (1 - level) / 2
        low = stats.beta.ppf(tail, hits, size - hits + 1) if hits > 0 else 0.0
        high = stats.beta.ppf(1 - tail, hits + 1, size - hits) if hits < size else 1.0
        found.append((share - low, high - share))
    norms = [math.sqrt(sum(x * x for x in own)) for own in pulls]
    product = sum(x * y for x, y in zip(*pulls, strict=True))
    alike = product / norms[0] / norms[1] if min(norms) > 1e-9 else 0.0

    def joint(one: float, other: float) -> float:
        return 100 * math.sqrt(max(one**2 + other**2 - 2 * alike * one * other, 0.0))

    return joint(found[0][0], found[1][1]), joint(found[0][1], found[1][0])


def verdict(low: float, high: float, line: float, side: str) -> str:
    """Return where an interval lies, for a harm on one side of a line."""
    beyond = low > line if side == ">" else high < line
    before = high <= line if side == ">" else low >= line
    return "fail" if beyond else "pass" if before else "inconclusive"


def needed(n: int, arm: float, error: float, distance: float, power: float = 0.8) -> int:
    """Return the scenarios with which an estimate of this error lies an arm off the line with this chance."""
    return math.ceil(n * ((arm + stats.norm.ppf(power) * error) / abs(distance)) ** 2)


def most_unseen(n: float, level: float) -> float:
    """Return the largest rate in percent under which n trials without a hit have half the tail's chance."""
    return 100 * float(stats.beta.ppf((1 + level) / 2, 1, n))
