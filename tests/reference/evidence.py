"""Slow plain twins of the measures of the margin, from their definitions.

A pair is (stereotyped yes, contrast yes, stereotyped no, contrast no); None where there is no margin.
"""

import math
from collections.abc import Callable, Sequence

Pair = tuple[float | None, float | None, float | None, float | None]
S, K, SN, KN = range(4)


def _complete(pairs: Sequence[Pair], *cells: int) -> list[Pair]:
    return [pair for pair in pairs if all(pair[cell] is not None for cell in cells)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def margin_shift(pairs: Sequence[Pair]) -> float:
    return _mean([p[K] - p[S] for p in _complete(pairs, S, K)])


def evidence_loss(pairs: Sequence[Pair]) -> float:
    return _mean([(p[K] - p[KN]) - (p[S] - p[SN]) for p in _complete(pairs, S, K, SN, KN)])


def contrast_sd(pairs: Sequence[Pair]) -> float:
    """The SD of m_k about the mean of its expected answer."""
    groups = [[p[cell] for p in _complete(pairs, cell)] for cell in (K, KN)]
    groups = [group for group in groups if group]
    squares = sum((value - _mean(group)) ** 2 for group in groups for value in group)
    degrees = sum(map(len, groups)) - len(groups)
    return math.sqrt(squares / degrees) if degrees and squares else math.nan


def wins(one: float, other: float) -> float:
    return 1.0 if one > other else 0.5 if one == other else 0.0


def lower_share(pairs: Sequence[Pair]) -> float:
    return 100 * _mean([wins(p[K], p[S]) for p in _complete(pairs, S, K)])


def auc(pairs: Sequence[Pair], yes: int, no: int) -> float:
    ones, others = ([p[cell] for p in _complete(pairs, cell)] for cell in (yes, no))
    return _mean([wins(one, other) for one in ones for other in others])


def choice(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """For each pair: is the true question about the stereotyped, the contrast story ahead?

    The twin's contrast prompt tells the story of the pair's stereotyped prompt.
    """
    whole = _complete(pairs, S, K, SN, KN)
    return [(wins(p[S], p[KN]), wins(p[K], p[SN])) for p in whole]


def choice_accuracy(pairs: Sequence[Pair], side: int) -> float:
    return 100 * _mean([chosen[side] for chosen in choice(pairs)])


def mar_choice(pairs: Sequence[Pair]) -> float:
    chosen = choice(pairs)
    base = sum(contrast for _, contrast in chosen)
    lost = sum(contrast * (1 - stereotyped) for stereotyped, contrast in chosen)
    return 100 * lost / base if base else math.nan


def br_choice(pairs: Sequence[Pair]) -> float:
    swapped = [(p[K], p[S], p[KN], p[SN]) for p in pairs]
    return mar_choice(swapped)


def mar_calibrated(pairs: Sequence[Pair], scenario: Sequence[int], *, apart: bool = False) -> float:
    base = lost = 0
    for pair, own in zip(pairs, scenario, strict=True):
        if pair[S] is None or pair[K] is None:
            continue
        others = [p for p, g in zip(pairs, scenario, strict=True) if g % 5 != own % 5]
        t_k = (_mean(cell(others, K)) + _mean(cell(others, KN))) / 2
        t_s = (_mean(cell(others, S)) + _mean(cell(others, SN))) / 2 if apart else t_k
        if math.isnan(t_k) or math.isnan(t_s):
            continue
        base += pair[K] > t_k
        lost += pair[K] > t_k and pair[S] <= t_s
    return 100 * lost / base if base else math.nan


def cell(pairs: Sequence[Pair], which: int) -> list[float]:
    return [p[which] for p in _complete(pairs, which)]


def jackknife_error(
    statistic: Callable[[Sequence[Pair]], float], pairs: Sequence[Pair], scenario: Sequence[int]
) -> float:
    """The standard error from leaving out one scenario at a time."""
    groups = sorted(set(scenario))
    kept = [
        [p for p, g in zip(pairs, scenario, strict=True) if g != left_out] for left_out in groups
    ]
    values = [statistic(part) for part in kept]
    n = len(groups)
    return math.sqrt((n - 1) / n * sum((value - _mean(values)) ** 2 for value in values))


def obuchowski_error(pairs: Sequence[Pair], scenario: Sequence[int], yes: int, no: int) -> float:
    """Obuchowski 1997, equations 3 to 5, where each cluster has units of both kinds.

    X sums the placements of a cluster's yes units, Y of its no units; m_c and n_c count them. Var =
    S10 / m + S01 / n + 2 S11 / (m n) with the S written out.
    """
    ones, others = cell(pairs, yes), cell(pairs, no)
    area, m, n = auc(pairs, yes, no), len(ones), len(others)
    groups = sorted(set(scenario))
    size = len(groups)
    s10 = s01 = s11 = 0.0
    for group in groups:
        own = [p for p, g in zip(pairs, scenario, strict=True) if g == group]
        x = sum(_mean([wins(one, other) for other in others]) for one in cell(own, yes))
        y = sum(_mean([wins(one, other) for one in ones]) for other in cell(own, no))
        from_x = x - len(cell(own, yes)) * area
        from_y = y - len(cell(own, no)) * area
        s10 += size / ((size - 1) * m) * from_x**2
        s01 += size / ((size - 1) * n) * from_y**2
        s11 += size / (size - 1) * from_x * from_y
    return math.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n))
