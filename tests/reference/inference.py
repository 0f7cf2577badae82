"""Slow plain twins of the tests, the bounds and the coefficients of agreement."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction


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
