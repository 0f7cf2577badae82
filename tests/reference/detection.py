"""Slow plain twins of signal detection: Macmillan and Creelman 2005, chapters 1 and 2.

Tables are (hits, misses, false alarms, correct rejections); rates carry the log-linear correction.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

NORMAL = NormalDist()


def rates(table: Sequence[float]) -> tuple[float, float]:
    hits, misses, alarms, rejections = table
    return (hits + 0.5) / (hits + misses + 1), (alarms + 0.5) / (alarms + rejections + 1)


def d_prime(table: Sequence[float]) -> float:
    hit, alarm = rates(table)
    return NORMAL.inv_cdf(hit) - NORMAL.inv_cdf(alarm)


def criterion(table: Sequence[float]) -> float:
    hit, alarm = rates(table)
    return -(NORMAL.inv_cdf(hit) + NORMAL.inv_cdf(alarm)) / 2


def adjusted_mar(stereotyped: Sequence[float], contrast: Sequence[float]) -> float:
    """Both conditions with the noise at 0: the line of the contrast, the evidence of the stereotyped."""
    if contrast[0] == 0:
        return math.nan
    line = -NORMAL.inv_cdf(rates(contrast)[1])
    hit = 1 - NORMAL.cdf(line - d_prime(stereotyped))
    return 100 * (1 - hit / rates(contrast)[0])
