"""Sizes of studies: power, detectable differences, widths, and the cost of clustering."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from misfired._core import coverage as core_coverage
from misfired._core import design_effect, intraclass_correlation
from misfired._core import power as core_power
from misfired.errors import ArgumentError
from misfired.options import at_least, between, more_than
from misfired.stats._arrays import Flags, Labels, as_codes, as_groups, floats_of, warnings_of
from misfired.stats.options import DEFAULTS, Rng, check_correlation, check_level, seed_of
from misfired.types import checks_types

#: Differences of shares are found to within this.
_FINEST = 1e-4
#: The first size that is tried for a width, and the largest.
_FIRST, _MOST = 64, 20_000
_MOST_SCENARIOS = 10_000_000  # Above it a plan takes gigabytes.
_LARGEST = 2**32  # Pairs of a scenario stay below it.


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
            `single_pairs` (no scenario with two pairs that count), `constant` (no variation, or none
            between scenarios: then there is no `n_effective` alone).
        warnings: See `warnings_of`.
    """

    correlation: float | None
    design_effect: float | None
    n_effective: float | None
    reason: str | None = None
    warnings: tuple[str, ...] = ()


@checks_types
def clustering(stereotyped: Flags, contrast: Flags, scenario: Labels) -> Clustering:
    """Return the intra-class correlation of misfires by scenario, and the design effect for MAR.

    Arguments are those of `permutation_test`.

    Example:
        >>> clustering([True, True, False, False], [True] * 4, ["a", "a", "b", "b"]).n_effective
        2.0
    """
    (codes,) = as_codes(stereotyped, contrast, most=1)
    groups = as_groups(scenario, len(codes), "scenario")
    n_groups = int(groups.max(initial=0)) + 1
    hits, others = (np.bincount(groups[codes == code], minlength=n_groups) for code in (2, 0))
    trials = hits + others
    n_used = int(np.sum(trials > 0))
    correlation = intraclass_correlation(hits.astype(np.uint32), trials.astype(np.uint32))
    if math.isfinite(correlation):
        effect = design_effect(trials.astype(np.int64), correlation)
        # Where all scenarios have the same rate, no number of independent pairs is as precise.
        n, reason = (float(trials.sum() / effect), None) if effect > 1e-9 else (None, "constant")
        return Clustering(correlation, effect, n, reason, warnings_of(reason, n_used))
    if n_used < 2:
        reason = "one_unit" if n_used else "no_contrast_correct"
    else:
        reason = "single_pairs" if trials.max() == 1 else "constant"
    return Clustering(None, None, None, reason, warnings_of(reason, n_used))


@checks_types
def power(
    gain: float,
    loss: float,
    *,
    n_scenarios: int,
    pairs_per_scenario: int | Sequence[int],
    correlation: float,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    n_simulations: int | None = 4_000,
    rng: Rng = DEFAULTS.rng,
    n_threads: int | None = None,
) -> float:
    """Return the power of the cluster sign-flip test on paired outcomes.

    By simulation: the share of studies in which the exact test rejects, where the shares of gain and
    loss of a scenario are drawn from a Dirichlet distribution. The standard error is at most 0.008 for
    4,000 studies.

    Args:
        gain: Share of pairs that count for, 0 to 1: misfires (c/n), or for a change, pairs that
            misfire in the second run only.
        loss: Share of pairs that count against: reverse misfires (b/n), or pairs that misfire in
            the first run only.
        n_scenarios: Number of scenarios.
        pairs_per_scenario: One number for all, or sizes of scenarios, such as a suite's; if they are not
            `n_scenarios`, as many are taken with the same distribution.
        correlation: Intra-scenario correlation, 0 to 1.
        alpha: Significance level.
        alternative: `"two-sided"`, `"greater"` or `"less"`.
        n_simulations: Simulated studies; None takes a formula instead, the normal approximation. It is
            some points too low where scenarios are few and correlated, or differ in size.
        rng: Seed or generator.
        n_threads: Threads.

    Example:
        >>> study = {"n_scenarios": 30, "pairs_per_scenario": 8, "correlation": 0.1}
        >>> round(power(0.15, 0.05, **study), 2), round(power(0.15, 0.05, n_simulations=None, **study), 2)
        (0.72, 0.7)
    """
    at_least(1, _MOST_SCENARIOS)("n_scenarios", n_scenarios)
    if n_simulations is not None:
        at_least(1)("n_simulations", n_simulations)
    found = core_power(
        _sizes(pairs_per_scenario, n_scenarios), gain=gain, loss=loss, correlation=correlation,
        alpha=alpha, alternative=alternative, n_simulations=n_simulations, seed=seed_of(rng),
        n_threads=n_threads,
    )  # fmt: skip
    return float(found[-1])


@checks_types
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
    n_simulations: int | None = 4_000,
    rng: Rng = DEFAULTS.rng,
    n_threads: int | None = None,
) -> float | None:
    """Return the smallest gain - loss that the sign-flip test finds with the wanted power.

    Arguments are those of `power`, with `target` for the wanted power and `share` for the share of
    pairs in the denominator: 1 for joint MAR, the expected contrast accuracy for MAR. `loss` is that
    of reverse misfires, or of resolved ones. With `alternative="less"` the difference is below 0: the
    smallest fall of `gain` under `loss`. The same studies are simulated for every difference tried.

    Returns:
        In percentage points: 100 (gain - loss) / share; None if no gain reaches the power. A model
        without reverse misfires shows a MAR of that size; a change of MAR is of that size.

    Example:
        >>> study = {"n_scenarios": 30, "pairs_per_scenario": 8, "correlation": 0.1}
        >>> round(minimum_detectable(0.05, **study)), round(minimum_detectable(0.2, alternative="less", **study))
        (11, -12)
    """
    _check_share(share)
    if not alpha < target < 1:
        raise ArgumentError(f"target must be between alpha = {alpha} and 1, got {target}")
    seed = seed_of(rng)

    def reached(gain: float) -> bool:
        return target <= power(
            gain, loss, n_scenarios=n_scenarios, pairs_per_scenario=pairs_per_scenario,
            correlation=correlation, alpha=alpha, alternative=alternative,
            n_simulations=n_simulations, rng=seed, n_threads=n_threads,
        )  # fmt: skip

    near, far = loss, 0.0 if alternative == "less" else 1.0 - loss
    if abs(far - near) < _FINEST or (alternative != "less" and far < near) or not reached(far):
        return None
    while abs(far - near) > _FINEST:
        middle = (near + far) / 2
        near, far = (near, middle) if reached(middle) else (middle, far)
    return 100 * (far - loss) / share


@checks_types
def interval_width(
    rate: float,
    *,
    n_scenarios: int,
    pairs_per_scenario: int | Sequence[int],
    correlation: float,
    share: float = 1.0,
    confidence_level: float = DEFAULTS.confidence_level,
    n_simulations: int = 1_000,
    rng: Rng = DEFAULTS.rng,
    n_threads: int | None = None,
) -> float:
    """Return the expected width of the interval that will be reported for a rate, in points.

    That is the mean width of the default interval over simulated studies, in which the rates of
    scenarios have a beta distribution.

    Args:
        rate: Expected rate in percent, such as a MAR.
        n_scenarios: Number of scenarios, at least 2.
        pairs_per_scenario: Pairs in each, as in `power`.
        correlation: Intra-scenario correlation, from 0 to below 1.
        share: Share of pairs in the denominator: for MAR, the expected contrast accuracy, 0 to 1.
        confidence_level: Between 0 and 1.
        n_simulations: Simulated studies.
        rng: Seed or generator.
        n_threads: Threads.

    Example:
        >>> round(interval_width(10, n_scenarios=199, pairs_per_scenario=10, correlation=0.1), 1)
        3.8
    """
    between(0, 100)("rate", rate)
    at_least(2, _MOST_SCENARIOS)("n_scenarios", n_scenarios)
    at_least(1)("n_simulations", n_simulations)
    check_correlation(correlation)
    _check_share(share)
    check_level("confidence_level", confidence_level)
    found = core_coverage(
        _sizes(pairs_per_scenario, n_scenarios), mar=rate / 100, primed=0.0, accuracy_contrast=share,
        correlation=correlation, methods=["clopper_pearson"], unit="scenario", n_resamples=1,
        confidence_level=confidence_level, n_simulations=n_simulations, seed=seed_of(rng),
        n_threads=n_threads,
    )  # fmt: skip
    n_undefined, width = found[0, 0, 3:]
    # A study in which no contrast answer is right says nothing: its interval is all of 0 to 100.
    return float((width + 100 * n_undefined) / n_simulations)


@checks_types
def sample_size(
    rate: float,
    width: float,
    *,
    pairs_per_scenario: int | Sequence[int],
    correlation: float,
    share: float = 1.0,
    confidence_level: float = DEFAULTS.confidence_level,
    n_simulations: int = 1_000,
    rng: Rng = DEFAULTS.rng,
    n_threads: int | None = None,
) -> int:
    """Return the fewest scenarios with an expected interval no wider than wanted.

    `width` is the wanted width in percentage points; the others are those of `interval_width`.

    Example:
        >>> sample_size(10, 8, pairs_per_scenario=10, correlation=0.1)
        50
    """
    more_than(0)("width", width)
    seed = seed_of(rng)

    # The fewest that fit lie above `low` and at most at `high`; at both, the width if it is known.
    low, high, tried = 1, _MOST + 1, _FIRST
    wide = narrow = math.nan
    while high - low > 1:
        found = interval_width(
            rate, n_scenarios=tried, pairs_per_scenario=pairs_per_scenario,
            correlation=correlation, share=share, confidence_level=confidence_level,
            n_simulations=n_simulations, rng=seed, n_threads=n_threads,
        )  # fmt: skip
        if found > width and tried == _MOST:
            raise ArgumentError(f"width must be reachable with {_MOST} scenarios, got {width}")
        if found > width:
            low, wide = tried, found
        else:
            high, narrow = tried, found
        # The width falls with a power of the number of scenarios, often with their root.
        power_law = math.log(wide / narrow) / math.log(high / low)
        steps = 1 / power_law if power_law > 0 else 2
        guess = min(tried * (found / width) ** steps, _MOST)
        tried = min(max(round(guess), low + 1), high - 1)
    return high


def _sizes(pattern: int | Sequence[int], n_scenarios: int) -> npt.NDArray[np.uint32]:
    """Return the sizes of `n_scenarios` scenarios, distributed as the given ones."""
    sizes = [pattern] if isinstance(pattern, Real) else pattern
    given = np.sort(floats_of(sizes, "pairs_per_scenario"))
    strange = given[(given < 0) | (given != np.floor(given)) | (given >= _LARGEST)]
    if len(strange) or not len(given):
        value = f"{strange[0]:g}" if len(strange) else "none"
        raise ArgumentError(f"pairs_per_scenario must be whole numbers of at least 0, got {value}")
    if not given.any():
        raise ArgumentError("pairs_per_scenario must hold at least 1 pair, got only 0")
    ranks = (np.arange(n_scenarios) + 0.5) / n_scenarios
    return given[(ranks * len(given)).astype(np.int64)].astype(np.uint32)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ArgumentError(f"share must be more than 0 and at most 1, got {share}")
