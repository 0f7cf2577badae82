"""Slow plain twins of the resampling in the core, down to the cipher that draws.

Written from the definitions: RFC 8439's quarter round with 8 rounds, a 64-bit block counter and a
64-bit stream number; batched multiplication for bounded integers; binomials by comparing binary
digits; type-7 quantiles.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

MASK = 0xFFFFFFFF
RESAMPLE = 1
PERMUTATION = 2
BLOCK = 64
"""Resamples that are drawn from one stream."""


def chacha8_block(key: Sequence[int], counter: int, stream: int) -> list[int]:
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *key]
    start += [counter & MASK, counter >> 32, stream & MASK, stream >> 32]
    x = list(start)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for first, second, third, turn in (
            (a, b, d, 16),
            (c, d, b, 12),
            (a, b, d, 8),
            (c, d, b, 7),
        ):
            x[first] = (x[first] + x[second]) & MASK
            mixed = x[third] ^ x[first]
            x[third] = (mixed << turn | mixed >> (32 - turn)) & MASK

    for _ in range(4):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return [(a + b) & MASK for a, b in zip(x, start, strict=True)]


def words(seed: int, stream: int, purpose: int = RESAMPLE) -> Iterator[int]:
    key = [seed & MASK, seed >> 32, purpose & MASK, purpose >> 32, 0, 0, 0, 0]
    counter = 0
    while True:
        block = chacha8_block(key, counter, stream)
        yield from (block[i] | block[i + 1] << 32 for i in range(0, 16, 2))
        counter += 1


def roll(source: Iterator[int], sides: int, n: int) -> list[int]:
    per_word = 1
    while per_word < 8 and sides ** (per_word + 1) < 2**56:
        per_word += 1
    draws: list[int] = []
    while len(draws) < n:
        left, batch = next(source), []
        for _ in range(per_word):
            digit, left = divmod(left * sides, 2**64)
            batch.append(digit)
        if left >= 2**64 % sides**per_word:
            draws += batch
    return draws[:n]


def value(measure: str, counts: Sequence[float]) -> float:
    a, b, c, d = counts
    n = a + b + c + d
    top, bottom = {
        "mar": (c, a + c),
        "mar_joint": (c, n),
        "br": (b, a + b),
        "reverse_joint": (b, n),
        "accuracy_stereotyped": (a + b, n),
        "accuracy_contrast": (a + c, n),
        "discrepancy": (c - b, n),
    }[measure]
    return 100 * top / bottom if bottom else math.nan


def quantile(values: Sequence[float], p: float) -> float:
    ordered = sorted(v for v in values if not math.isnan(v))
    if not ordered:
        return math.nan
    rank = p * (len(ordered) - 1)
    floor = math.floor(rank)
    ceil = min(floor + 1, len(ordered) - 1)
    return ordered[floor] + (ordered[ceil] - ordered[floor]) * (rank - floor)


def resampled_totals(
    strata: Sequence[Sequence[Sequence[float]]], n_resamples: int, seed: int
) -> list[list[float]]:
    """Sums of the drawn units' counts: strata hold units, units hold counts."""
    width = len(strata[0][0])
    totals = []
    for resample in range(n_resamples):
        if resample % BLOCK == 0:
            source = words(seed, resample // BLOCK)
        total = [0.0] * width
        for units in strata:
            for index in roll(source, len(units), len(units)):
                total = [x + y for x, y in zip(total, units[index], strict=True)]
        totals.append(total)
    return totals


def heads(source: Iterator[int], n: int) -> int:
    """Fair coins: the bits of whole words, then the lowest of one more."""
    full = sum(next(source).bit_count() for _ in range(n // 64))
    return full + ((next(source) & ((1 << n % 64) - 1)).bit_count() if n % 64 else 0)


def binomial(source: Iterator[int], n: int, share: Fraction) -> int:
    """Trials of a uniform number against the share, binary digit by binary digit."""
    hits, place = 0, 1
    while n and (share * 2 ** (place - 1)).denominator > 1:
        ones = heads(source, n)
        if math.floor(share * 2**place) % 2:
            hits, n = hits + n - ones, ones
        else:
            n -= ones
        place += 1
    return hits


def resampled_patterns(
    strata: Sequence[Sequence[tuple[Sequence[float], int]]], n_resamples: int, seed: int
) -> list[list[float]]:
    """The same where units are pairs: strata hold patterns of outcomes and their number."""
    totals = []
    for resample in range(n_resamples):
        if resample % BLOCK == 0:
            source = words(seed, resample // BLOCK)
        total = [0.0] * len(strata[0][0][0])
        for patterns in strata:
            left = undrawn = sum(n for _, n in patterns)
            for counts, n in patterns:
                times = left if n == undrawn else binomial(source, left, Fraction(n, undrawn))
                left, undrawn = left - times, undrawn - n
                total = [x + times * y for x, y in zip(total, counts, strict=True)]
        totals.append(total)
    return totals
