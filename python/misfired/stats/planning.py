"""Sizes of studies: power, detectable differences, widths, and the cost of clustering."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from misfired._core import design_effect, intraclass_correlation, t_quantile
from misfired._core import power as core_power
from misfired.errors import ArgumentError
from misfired.options import at_least, between, more_than
from misfired.stats._arrays import Flags, Labels, as_codes, as_groups, warnings_of
from misfired.stats.options import DEFAULTS, Rng, check_correlation, check_level, seed_of


@dataclass(frozen=True, slots=True)
class Clustering:
    """How alike the pairs of one scenario are in their misfires.

    Attributes:
        correlation: Intra-class correlation by analysis of variance among pairs with a correct
            contrast answer; may be slightly negative by chance. None if it cannot be estimated.
        design_effect: 1 + (sum m^2 / sum m - 1) correlation (Kish 1965), by which the variance of
            MAR exceeds that of independent pairs.
        n_effective: Independent pairs that would give the same precision.
        reason: Why there is no number: `no_contrast_correct`, `one_unit` (a single scenario),
            `single_pairs` (no scenario with two pairs that count), `constant` (no variation).
        warnings: See `warnings_of`.
    """

    correlation: float | None
    design_effect: float | None
    n_effective: float | None
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def clustering(stereotyped: Flags, contrast: Flags, scenario: Labels) -> Clustering:
    """Return the intra-class correlation of misfires by scenario, and the design effect for MAR.

    Arguments are those of `permutation_test`.

    Example:
        >>> clustering([True, True, False, False], [True] * 4, ["a", "a", "b", "b"]).n_effective
        2.0
    """
    codes = as_codes(stereotyped, contrast)[0]
    groups = as_groups(scenario, len(codes), "scenario")
    n_groups = int(groups.max(initial=0)) + 1
    hits, others = (np.bincount(groups[codes == code], minlength=n_groups) for code in (2, 0))
    trials = hits + others
    n_used = int(np.sum(trials > 0))
    correlation = intraclass_correlation(hits.astype(np.uint32), trials.astype(np.uint32))
    if math.isfinite(correlation):
        effect = design_effect(trials.astype(np.int64), correlation)
        warnings = warnings_of(None, n_used)
        return Clustering(correlation, effect, float(trials.sum() / effect), warnings=warnings)
    if n_used < 2:
        reason = "one_unit" if n_used else "no_contrast_correct"
    else:
        reason = "single_pairs" if trials.max() == 1 else "constant"
    return Clustering(None, None, None, reason, warnings_of(reason, n_used))


def power(
    gain: float,
    loss: float,
    *,
    n_scenarios: int,
    pairs_per_scenario: int | Sequence[int],
    correlation: float,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    n_simulations: int | None = None,
    rng: Rng = DEFAULTS.rng,
    n_threads: int | None = None,
) -> float:
    """Return the power of the cluster sign-flip test on paired outcomes.

    By formula, the difference has variance deff ((gain + loss) - (gain - loss)^2) / n, without the
    square under the null hypothesis. With `n_simulations`, by simulation of Dirichlet-distributed
    scenarios under the exact test.

    Args:
        gain: Share of pairs that count for, 0 to 1: misfires (c/n), or for a change, pairs that
            misfire in the second run only.
        loss: Share of pairs that count against: reverse misfires (b/n), or pairs that misfire in
            the first run only.
        n_scenarios: Number of scenarios.
        pairs_per_scenario: One number for all, or sizes that are repeated in turn.
        correlation: Intra-scenario correlation, 0 to 1.
        alpha: Significance level.
        alternative: `"two-sided"`, `"greater"` or `"less"`.
        n_simulations: Simulated studies; None takes the formula.
        rng: Seed or generator.
        n_threads: Threads.

    Example:
        >>> round(power(0.08, 0.04, n_scenarios=199, pairs_per_scenario=10, correlation=0.1), 3)
        0.963
    """
    at_least(1)("n_scenarios", n_scenarios)
    if n_simulations is not None:
        at_least(1)("n_simulations", n_simulations)
    pattern = np.atleast_1d(np.asarray(pairs_per_scenario, dtype=np.uint32))
    found = core_power(
        np.resize(pattern, n_scenarios), gain=gain, loss=loss, correlation=correlation,
        alpha=alpha, alternative=alternative, n_simulations=n_simulations, seed=seed_of(rng),
        n_threads=n_threads,
    )  # fmt: skip
    return float(found[-1])


def minimum_detectable(
    loss: float,
    *,
    n_scenarios: int,
    pairs_per_scenario: int | Sequence[int],
    correlation: float,
    share: float = 1.0,
    target: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> float | None:
    """Return the smallest gain - loss that the sign-flip test finds with the wanted power, by formula.

    Arguments are those of `power`, with `target` for the wanted power and `share` for the share of
    pairs in the denominator: 1 for joint MAR, the expected contrast accuracy for MAR. `loss` is that
    of reverse misfires, or of resolved ones; `alternative` is `"two-sided"` or `"greater"`.

    Returns:
        In percentage points: 100 (gain - loss) / share; None if no gain reaches the power. A model
        without reverse misfires shows a MAR of that size; a change of MAR is of that size.

    Example:
        >>> round(minimum_detectable(0.04, n_scenarios=199, pairs_per_scenario=10,
        ...     correlation=0.1), 2)
        2.85
    """
    _check_share(share)
    if not alpha < target < 1:
        raise ArgumentError(f"target must be between alpha = {alpha} and 1, got {target}")

    def reached(gain: float) -> bool:
        return target <= power(
            gain, loss, n_scenarios=n_scenarios, pairs_per_scenario=pairs_per_scenario,
            correlation=correlation, alpha=alpha, alternative=alternative,
        )  # fmt: skip

    low, high = loss, 1.0 - loss
    if high <= low or not reached(high):
        return None
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return 100 * (high - loss) / share


def interval_width(
    rate: float,
    *,
    n_scenarios: int,
    pairs_per_scenario: float,
    correlation: float,
    share: float = 1.0,
    confidence_level: float = DEFAULTS.confidence_level,
) -> float:
    """Return the expected width of a rate's `"logit"` interval, in percentage points.

    On the logit scale the half-width is t sqrt(deff / (m G share rate (1 - rate))), with
    deff = 1 + (m share - 1) correlation and G - 1 degrees of freedom.

    Args:
        rate: Expected rate in percent, such as a MAR.
        n_scenarios: Number of scenarios G, at least 2.
        pairs_per_scenario: Pairs in each, m.
        correlation: Intra-scenario correlation, 0 to 1.
        share: Share of pairs in the denominator: for MAR, the expected contrast accuracy, 0 to 1.
        confidence_level: Between 0 and 1.

    Example:
        >>> round(interval_width(10, n_scenarios=199, pairs_per_scenario=10, correlation=0.1), 2)
        3.67
    """
    between(0, 100)("rate", rate)
    at_least(2)("n_scenarios", n_scenarios)
    check_correlation(correlation)
    _check_share(share)
    check_level("confidence_level", confidence_level)
    p, m = rate / 100, pairs_per_scenario * share
    effect = 1 + max(m - 1, 0) * correlation
    quantile = t_quantile((1 + confidence_level) / 2, n_scenarios - 1)
    half = quantile * math.sqrt(effect / (m * n_scenarios * p * (1 - p)))
    centre = math.log(p / (1 - p))
    low, high = (1 / (1 + math.exp(-(centre + side * half))) for side in (-1, 1))
    return 100 * (high - low)


def sample_size(
    rate: float,
    width: float,
    *,
    pairs_per_scenario: float,
    correlation: float,
    share: float = 1.0,
    confidence_level: float = DEFAULTS.confidence_level,
) -> int:
    """Return the fewest scenarios with an expected interval no wider than wanted.

    `width` is the wanted width in percentage points; the others are those of `interval_width`.

    Example:
        >>> sample_size(10, 4, pairs_per_scenario=10, correlation=0.1)
        168
    """
    more_than(0)("width", width)

    def fits(n_scenarios: int) -> bool:
        return interval_width(
            rate, n_scenarios=n_scenarios, pairs_per_scenario=pairs_per_scenario,
            correlation=correlation, share=share, confidence_level=confidence_level,
        ) <= width  # fmt: skip

    high = 2
    while not fits(high):
        high *= 2
    return bisect_left(range(high), True, lo=high // 2 + 1, key=fits)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ArgumentError(f"share must be more than 0 and at most 1, got {share}")
