"""Slow plain twins of the intervals, for units that hold (a, b, c, d) for each term.

Written from the definitions: Efron and Tibshirani 1993, chapters 12 to 14; Davison and Hinkley
1997, section 5.3.2, for strata.
"""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import NormalDist

from reference.resampling import quantile, value

NORMAL = NormalDist()
Units = Sequence[Sequence[float]]


def total(units: Units) -> list[float]:
    return [sum(column) for column in zip(*units, strict=True)]


def statistic(measure: str, counts: Sequence[float], weights: Sequence[float]) -> float:
    terms = [counts[i : i + 4] for i in range(0, len(counts), 4)]
    return sum(w * value(measure, term) for w, term in zip(weights, terms, strict=True))


def exact(measure: str, strata: Sequence[Units], weights: Sequence[float]) -> Fraction | None:
    """The statistic without rounding; None where it has no value."""
    counts = [Fraction(x) for x in total([unit for units in strata for unit in units])]
    terms = [value(measure, counts[i : i + 4]) for i in range(0, len(counts), 4)]
    if any(isinstance(term, float) for term in terms):
        return None
    return sum(Fraction(w) * term for w, term in zip(weights, terms, strict=True))


def standard_error(measure: str, strata: Sequence[Units], weights: Sequence[float]) -> float:
    """By numerical derivative of the statistic in the weight of each unit."""
    everything = total([unit for units in strata for unit in units])
    variance = 0.0
    for units in strata:
        influence = []
        for unit in units:
            moved = [
                statistic(
                    measure, [t + h * u for t, u in zip(everything, unit, strict=True)], weights
                )
                for h in (1e-5, -1e-5)
            ]
            influence.append((moved[0] - moved[1]) / 2e-5)
        mean = sum(influence) / len(units)
        n = len(units)
        variance += n / (n - 1) * sum((x - mean) ** 2 for x in influence)
    return math.sqrt(variance)


def acceleration(measure: str, strata: Sequence[Units], weights: Sequence[float]) -> float:
    everything = total([unit for units in strata for unit in units])
    cubes = squares = 0.0
    for units in strata:
        n = len(units)
        left = [
            statistic(measure, [t - u for t, u in zip(everything, unit, strict=True)], weights)
            for unit in units
        ]
        mean = sum(left) / n
        influence = [(n - 1) * (mean - x) for x in left]
        cubes += sum(x**3 for x in influence) / n**3
        squares += sum(x**2 for x in influence) / n**2
    return cubes / (6 * squares**1.5)


def interval(  # noqa: PLR0917
    method: str,
    measure: str,
    strata: Sequence[Units],
    weights: Sequence[float],
    resamples: Sequence[Sequence[Units]],
    level: float,
) -> tuple[float, float]:
    """From all resamples, each a list of drawn units for each stratum."""
    observed = statistic(measure, total([u for units in strata for u in units]), weights)
    values = [
        statistic(measure, total([u for units in drawn for u in units]), weights)
        for drawn in resamples
    ]
    tail = (1 - level) / 2
    if method == "percentile":
        return quantile(values, tail), quantile(values, 1 - tail)
    if method == "basic":
        return 2 * observed - quantile(values, 1 - tail), 2 * observed - quantile(values, tail)
    if method == "bca":
        # Fractions, since sums of rounded quotients that truly tie need not be equal.
        known = [
            x for x in (exact(measure, drawn, weights) for drawn in resamples) if x is not None
        ]
        at = exact(measure, strata, weights)
        below = sum(x < at for x in known) + sum(x == at for x in known) / 2
        bias = NORMAL.inv_cdf(below / len(known))
        slope = acceleration(measure, strata, weights)
        points = []
        for p in (tail, 1 - tail):
            z = bias + NORMAL.inv_cdf(p)
            points.append(quantile(values, NORMAL.cdf(bias + z / (1 - slope * z))))
        return points[0], points[1]
    error = standard_error(measure, strata, weights)
    distances = []
    for drawn, v in zip(resamples, values, strict=True):
        if math.isnan(v):
            continue
        spread = standard_error(measure, drawn, weights)
        gap = v - observed
        # Below 1e-6 there is only the noise of the numerical derivative.
        distances.append(
            gap / spread if spread > 1e-6 else math.copysign(math.inf, gap) if gap else 0.0
        )
    return observed - error * quantile(distances, 1 - tail), observed - error * quantile(
        distances, tail
    )


def every_resample(units: Units) -> list[list[Units]]:
    """All G^G resamples of a single stratum."""
    return [[list(drawn)] for drawn in itertools.product(units, repeat=len(units))]
