"""When a run may end: looks at a measure while its scenarios are asked, block by block.

`HalfWidth` ends once the interval of MAR is narrow enough, `Settled` once the difference of two runs is
settled. A look sees whole scenarios only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.stats._arrays import floats_of
from misfired.stats.options import DEFAULTS, check_level
from misfired.stats.outcomes import CONDITIONS
from misfired.stats.resampling import Bootstrap, bootstrap

#: The measure whose interval is watched, and the priming under which.
MEASURE, PRIMING = "mar", "none"
#: Points of a Gauss-Legendre rule: the bounds are then exact to 1e-9 (tests/reference/sequential.py).
_N_POINTS = 160


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen after a block.

    Attributes:
        n_scenarios: Scenarios asked so far.
        n_pairs: Pairs that count: scored, and in `Settled` by both runs.
        value: MAR, or the difference, in percent or points; None where there is none.
        low: Lower end of its interval.
        high: Upper end.
        confidence_level: Of this look's interval.
        ended: `narrow`, `different` or `alike`; None: the rule is not met.
    """

    n_scenarios: int
    n_pairs: int
    value: float | None
    low: float | None
    high: float | None
    confidence_level: float
    ended: str | None = None


def spending_bounds(shares: Sequence[float], *, alpha: float = 0.05) -> list[float]:
    """Return two-sided bounds of |z| at looks that together reject a true hypothesis with `alpha`.

    The bounds spend alpha as O'Brien and Fleming's do: 2 - 2 Phi(z / sqrt(t)) by share t, with z the
    normal quantile of 1 - alpha / 2. Source: Lan and DeMets 1983, Biometrika 70, 659; the recursion is
    that of Armitage, McPherson and Rowe 1969, J. R. Stat. Soc. A 132, 235.

    Args:
        shares: Shares of the planned information at each look, ascending, above 0, at most 1.
        alpha: Type I error of all looks together, between 0 and 1.

    Returns:
        One bound for each look.

    Raises:
        ArgumentError: The shares do not ascend, or lie outside 0 to 1.

    Example:
        >>> [round(bound, 3) for bound in spending_bounds([0.2, 0.4, 0.6, 0.8, 1.0])]
        [4.877, 3.357, 2.68, 2.29, 2.031]
    """
    check_level("alpha", alpha)
    steps = np.diff([0.0, *floats_of(shares, "shares")])
    if not len(steps) or not steps.min() > 0 or shares[-1] > 1:
        raise ArgumentError(f"shares must ascend from above 0 to at most 1, got {list(shares)}")
    nodes, weights = np.polynomial.legendre.leggauss(_N_POINTS)
    z = NormalDist().inv_cdf(1 - alpha / 4)
    # Mass of the score on a grid between the bounds of the look before; at first all of it is at 0.
    score, mass, spent, bounds = np.zeros(1), np.ones(1), 0.0, []
    for share, step in zip(shares, steps.tolist(), strict=True):
        spend = 2 * math.erfc(z / math.sqrt(2 * share)) - spent
        spent += spend
        bound = _bound(score, mass, math.sqrt(step), spend)
        bounds.append(bound / math.sqrt(share))
        grid = bound * nodes
        distance = (grid[:, None] - score) / math.sqrt(step)
        density = np.exp(-(distance**2) / 2) @ mass / math.sqrt(2 * math.pi * step)
        score, mass = grid, bound * weights * density
    return bounds


def _bound(score: Any, mass: Any, scale: float, spend: float) -> float:
    """Return the bound of |score| that a step of standard deviation `scale` passes with `spend`."""
    low, high = 0.0, float(np.max(score)) + 40 * scale
    for _ in range(60):
        middle = (low + high) / 2
        tails = [math.erfc((middle - place) / (scale * math.sqrt(2))) for place in score.tolist()]
        low, high = (middle, high) if float(mass @ np.array(tails)) > spend else (low, middle)
    return high


@dataclass(frozen=True, kw_only=True)
class HalfWidth:
    """End once half the width of the interval of MAR is at most `points`.

    The interval is that of `bootstrap`, which `summarize` shows too. It is not corrected for the looks:
    docs/sequential.md has the coverage of the last one.

    Attributes:
        points: Percentage points.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": [str(i) for i in range(90)], "scenario": [str(i // 2) for i in range(90)],
        ...     "priming": "none", "stereotyped": [i % 9 > 0 for i in range(90)], "contrast": True})
        >>> look = HalfWidth(points=10).look(outcomes)
        >>> look.n_scenarios, round(look.value, 1), look.ended
        (45, 11.1, 'narrow')
    """

    points: float
    confidence_level: float = DEFAULTS.confidence_level
    unit: str = "scenario"

    def look(self, outcomes: pl.DataFrame) -> Look:
        """Return the look at the outcomes of all scenarios asked so far, as for `summarize`."""
        asked = outcomes.filter(priming=PRIMING)
        level = self.confidence_level
        found = bootstrap(asked, measures=[MEASURE], unit=self.unit, confidence_level=level)
        return _look(asked, found, self.met)

    def met(self, low: float, high: float) -> str | None:
        """Return `narrow` if an interval is narrow enough."""
        return "narrow" if (high - low) / 2 <= self.points else None


@dataclass(frozen=True, kw_only=True)
class Settled:
    """End once the difference in MAR to another run is settled: `different` or `alike`.

    It is `different` once its interval excludes 0, and `alike` once the interval lies within -`points`
    to `points`. The intervals of all looks hold jointly with `confidence_level` (repeated confidence
    intervals: Jennison and Turnbull 1989, J. R. Stat. Soc. B 51, 305): the interval of each look has the
    level of its bound in `spending_bounds`, by the t distribution and the cluster-robust standard error.

    Attributes:
        points: Points of MAR.
        base: Outcomes of the other run, as for `summarize`.
        n_scenarios: Scenarios of both runs that are asked up to each look, ascending.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": [str(i) for i in range(90)], "scenario": [str(i // 2) for i in range(90)],
        ...     "priming": "none", "stereotyped": [i % 9 > 0 for i in range(90)], "contrast": True})
        >>> rule = Settled(points=2, base=outcomes.with_columns(stereotyped=True), n_scenarios=(45, 90))
        >>> look = rule.look(outcomes)
        >>> round(look.value, 1), round(look.confidence_level, 4), look.ended
        (11.1, 0.998, 'different')
    """

    #: The share of the error that looks may spend: intervals by t err a little more often than they should
    #: where misfires of a scenario are alike (docs/sequential.md).
    SPENT: ClassVar[float] = 0.8
    #: A look that may err less often decides nothing: no interval is sound that far out.
    LEAST_ALPHA: ClassVar[float] = 1e-9

    points: float
    base: pl.DataFrame
    n_scenarios: tuple[int, ...]
    confidence_level: float = DEFAULTS.confidence_level
    unit: str = "scenario"

    @cached_property
    def alphas(self) -> list[float]:
        """The error that the interval of each look may make."""
        shares = [n / self.n_scenarios[-1] for n in self.n_scenarios]
        alpha = self.SPENT * (1 - self.confidence_level)
        bounds = spending_bounds(shares, alpha=alpha)
        return [math.erfc(bound / math.sqrt(2)) for bound in bounds]

    def look(self, outcomes: pl.DataFrame) -> Look:
        """Return the look at the outcomes of all scenarios asked so far, as for `summarize`."""
        base = self.base.filter(priming=PRIMING).select("id", *CONDITIONS)
        both = outcomes.filter(priming=PRIMING).join(base, on="id", maintain_order="left")
        n_scenarios = both["scenario"].n_unique()
        alpha = self.alphas[self.n_scenarios.index(n_scenarios)]
        if alpha < self.LEAST_ALPHA:
            return Look(n_scenarios, len(both), None, None, None, 1 - alpha)
        sides = ([both[side].to_list(), both[f"{side}_right"].to_list()] for side in CONDITIONS)
        found = bootstrap(
            *(np.array(side, dtype=np.float64) for side in sides), scenario=both["scenario"],
            weights=[1, -1], measures=[MEASURE], unit=self.unit, method="t", confidence_level=1 - alpha,
        )  # fmt: skip
        return _look(both, found, self.met)

    def met(self, low: float, high: float) -> str | None:
        """Return `different` or `alike` if an interval settles it."""
        if low > 0 or high < 0:
            return "different"
        return "alike" if -self.points < low and high < self.points else None


def _look(
    asked: pl.DataFrame, found: Bootstrap, rule: Callable[[float, float], str | None]
) -> Look:
    value, low, high = (getattr(found[MEASURE], name) for name in ("value", "low", "high"))
    return Look(
        n_scenarios=asked["scenario"].n_unique(), n_pairs=found.n_pairs, value=value, low=low, high=high,
        confidence_level=found.confidence_level,
        ended=None if low is None or high is None else rule(low, high),
    )  # fmt: skip
