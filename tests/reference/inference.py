"""Slow plain twins of the tests, the bounds and the coefficients of agreement."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

from reference.resampling import PERMUTATION, quantile, roll, value, words


def mcnemar(b: int, c: int, alternative: str, *, mid_p: bool) -> Fraction:
    n = b + c

    def tail(k: int) -> Fraction:
        whole = sum(math.comb(n, j) for j in range(k, n + 1))
        return Fraction(2 * whole - (math.comb(n, k) if mid_p else 0), 2 ** (n + 1))

    if alternative == "greater":
        return tail(c)
    if alternative == "less":
        return tail(b)
    return min(Fraction(1), 2 * tail(max(b, c)))


def sign_flip(differences: Sequence[int], alternative: str) -> float:
    observed = sum(differences)
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    extreme = {
        "greater": lambda x: x >= observed,
        "less": lambda x: x <= observed,
        "two-sided": lambda x: abs(x) >= abs(observed),
    }[alternative]
    return sum(map(extreme, sums)) / len(sums)


def adjust(p_values: Sequence[float], method: str) -> list[float]:
    known = [p for p in p_values if not math.isnan(p)]
    n = len(known)
    factor = sum(1 / k for k in range(1, n + 1)) if method == "by" else 1.0
    adjusted = []
    for p in p_values:
        if math.isnan(p):
            adjusted.append(math.nan)
        elif method == "holm":
            below = [q for q in known if q <= p]
            adjusted.append(min(1.0, max((n - sum(r < q for r in known)) * q for q in below)))
        else:
            above = [q for q in known if q >= p]
            adjusted.append(min(1.0, *(factor * n * q / sum(r <= q for r in known) for q in above)))
    return adjusted


def mar_bounds(
    stereotyped: Sequence[bool | None], contrast: Sequence[bool | None]
) -> tuple[float | None, float | None]:
    """Over every way to answer the unscored."""

    def options(x: bool | None) -> tuple[bool, ...]:
        return (False, True) if x is None else (x,)

    choices = [options(x) for x in (*stereotyped, *contrast)]
    rates = []
    for answers in itertools.product(*choices):
        pairs = list(zip(answers[: len(stereotyped)], answers[len(stereotyped) :], strict=True))
        a = sum(s and c for s, c in pairs)
        c = sum(not s and c for s, c in pairs)
        if a + c:
            rates.append(100 * c / (a + c))
    return (min(rates), max(rates)) if rates else (None, None)


def krippendorff(items: Sequence[Sequence[object]]) -> float:
    """Nominal alpha = 1 - observed disagreement / expected disagreement, pair by pair."""
    rated = [[x for x in item if x is not None] for item in items]
    rated = [item for item in rated if len(item) > 1]
    everything = [x for item in rated for x in item]
    n = len(everything)
    observed = sum(
        sum(x != y for x, y in itertools.permutations(item, 2)) / (len(item) - 1) for item in rated
    )
    counts = Counter(everything)
    expected = sum(counts[x] * counts[y] for x, y in itertools.permutations(counts, 2)) / (n - 1)
    return 1 - observed / expected if expected else math.nan


def swap_test(  # noqa: PLR0917
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    measure: str,
    alternative: str,
    n_resamples: int,
    seed: int,
) -> float:
    """Clusters change places by the bits of words, the lowest first, 64 to a word."""

    def change(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
        totals = [
            [sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*pairs, strict=True)
        ]
        return value(measure, totals[0]) - value(measure, totals[1])

    clusters = list(zip(first, second, strict=True))
    observed = change(clusters)
    n_extreme = 0
    for resample in range(n_resamples):
        source = words(seed, resample, PERMUTATION)
        swapped = []
        for place, (one, two) in enumerate(clusters):
            bits = next(source) if place % 64 == 0 else bits >> 1  # noqa: F821
            swapped.append((two, one) if bits & 1 else (one, two))
        found = change(swapped)
        n_extreme += {
            "greater": found >= observed - 1e-9,
            "less": found <= observed + 1e-9,
            "two-sided": abs(found) >= abs(observed) - 1e-9,
        }[alternative]
    return (1 + n_extreme) / (1 + n_resamples)


def cohen(items: Sequence[Sequence[object]]) -> float:
    """Of every pair of items' ratings: how often the two raters agree, and would by chance."""
    rated = [item for item in items if None not in item]
    if not rated:
        return math.nan
    observed = sum(x == y for x, y in rated) / len(rated)
    crossed = [x == y for x, _ in rated for _, y in rated]
    expected = sum(crossed) / len(crossed)
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def fleiss(items: Sequence[Sequence[object]]) -> float:
    """Agreement of every two raters of an item against that of any two ratings, with replacement."""
    pairs = [x == y for item in items for x, y in itertools.permutations(item, 2)]
    everything = [x for item in items for x in item]
    shares = [n / len(everything) for n in Counter(everything).values()]
    observed, expected = sum(pairs) / len(pairs), sum(share**2 for share in shares)
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def percentiles(
    clusters: Sequence[Sequence[Sequence[object]]],
    coefficient: Callable[[Sequence[Sequence[object]]], float],
    n_resamples: int,
    seed: int,
) -> list[float]:
    """Of the coefficient over resampled clusters of items, a stream for each resample."""
    values = []
    for resample in range(n_resamples):
        drawn = roll(words(seed, resample), len(clusters), len(clusters))
        values.append(coefficient([item for index in drawn for item in clusters[index]]))
    return [quantile(values, p) for p in (0.025, 0.975)]


def intraclass_correlation(clusters: Sequence[Sequence[int]]) -> float:
    """One-way analysis of variance of 0 and 1, observation by observation."""
    everything = [x for cluster in clusters for x in cluster]
    n, k = len(everything), len(clusters)
    mean = sum(everything) / n
    between = sum((sum(c) / len(c) - mean) ** 2 for c in clusters for _ in c) / (k - 1)
    within = sum((x - sum(c) / len(c)) ** 2 for c in clusters for x in c) / (n - k)
    size = (n - sum(len(c) ** 2 for c in clusters) / n) / (k - 1)
    bottom = between + (size - 1) * within
    return (between - within) / bottom if bottom else math.nan
