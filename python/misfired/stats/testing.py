"""Tests on paired outcomes, and corrections for families of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import adjust as core_adjust
from misfired._core import mcnemar as core_mcnemar
from misfired.errors import ArgumentError, check_one_of
from misfired.options import at_least
from misfired.stats._arrays import (
    Flags,
    Labels,
    as_codes,
    as_groups,
    floats_of,
    no_nan,
    permute,
    warnings_of,
)
from misfired.stats.measures import MEASURES
from misfired.stats.options import DEFAULTS, Rng, SamplingOptions
from misfired.types import checks_types

_FEWEST = 6  # With 5 clusters, a two-sided exact test cannot reject at 5 %: 2 / 2^5 = 0.0625.


@dataclass(frozen=True, slots=True)
class TestResult:
    """Result of a test.

    Attributes:
        statistic: The observed difference, in the units of the test.
        p_value: None if the test could not be made; may underflow to 0 (see `log_p_value`).
        log_p_value: Natural logarithm of the p value.
        alternative: Which departures from the null hypothesis count.
        method: Name of the test.
        n: Number of units or pairs.
        reason: Why there is no p value.
        seed: The seed used, if the p value was sampled.
        warnings: `few_units` where too few can flip for a p value below 0.05 (discordant pairs, or
            scenarios whose difference is not 0), and the reason.
    """

    __test__ = False  # not a test of pytest's

    statistic: float | None
    p_value: float | None
    log_p_value: float | None
    alternative: str
    method: str
    n: int
    reason: str | None = None
    seed: int | None = None
    warnings: tuple[str, ...] = ()

    def to_frame(self) -> pl.DataFrame:
        """Return one row."""
        row = asdict(self) | {"warnings": list(self.warnings)}
        return pl.DataFrame([row], schema_overrides={"warnings": pl.List(pl.String)})

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self), default=lambda number: number.item())


@checks_types
def mcnemar(b: int, c: int, *, alternative: str = "two-sided", mid_p: bool = False) -> TestResult:
    """Test by McNemar's exact test if c of b + c discordant pairs are more than half.

    The test takes pairs as independent. Pairs of one scenario are not, so its level is too high on
    clustered data (docs/coverage.md); `permutation_test` keeps its level.

    Args:
        b: Pairs that count against.
        c: Pairs that count for.
        alternative: `"two-sided"`, `"greater"` (c is larger) or `"less"`.
        mid_p: Take half the probability of the observed count off the tail.

    Returns:
        statistic = c - b; the p value in log space, right at any count.

    Example:
        >>> round(mcnemar(1, 4, alternative="greater").p_value, 4)
        0.1875
        >>> mcnemar(0, 0).reason
        'no_discordant_pair'
    """
    for name, count in (("b", b), ("c", c)):
        at_least(0, 2**63 - 1)(name, count)
    against, for_ = np.array([[b], [c]], dtype=np.uint64)
    log_p = float(core_mcnemar(against, for_, alternative=alternative, mid_p=mid_p)[0])
    name = "mcnemar_mid_p" if mid_p else "mcnemar"
    reason = "no_discordant_pair" if np.isnan(log_p) else None
    warnings = warnings_of(reason, b + c, fewest=_FEWEST)
    numbers = float(c - b), no_nan(float(np.exp(log_p))), no_nan(log_p)
    return TestResult(*numbers, alternative, name, b + c, reason, warnings=warnings)


@checks_types
def permutation_test(
    stereotyped: Flags,
    contrast: Flags,
    *,
    scenario: Labels | None = None,
    measure: str | None = None,
    alternative: str = "two-sided",
    n_resamples: int = 100_000,
    rng: Rng = DEFAULTS.rng,
    n_threads: int | None = None,
) -> TestResult:
    """Test asymmetry within a run, or change between two, by permuting whole scenarios.

    With one series, the null hypothesis is that the stereotyped and the contrast answer of a pair
    are exchangeable; the statistic is the sum of c - b, and whole scenarios flip their sign. With
    two series, the null hypothesis is that a pair's answers are exchangeable between the series, and
    whole scenarios change places. The test is exact over all 2^G flips (by dynamic programming over
    the sums) wherever the statistic is a whole number: asymmetry, and change in measures with the
    denominator n. It is sampled for `mar` and `br`: p = (1 + as extreme) / (1 + n_resamples).

    Args:
        stereotyped: True where a prompt was answered correctly, shape [n_pairs], or [2, n_pairs]
            for a change, first - second.
        contrast: The same for the contrast prompts.
        scenario: Scenario of each pair; without, each pair is its own.
        measure: For a change; `"mar_joint"` by default.
        alternative: `"two-sided"`, `"greater"` or `"less"`.
        n_resamples: Resamples where the test cannot be exact.
        rng: Seed or generator.
        n_threads: Threads.

    Returns:
        statistic: the discrepancy, or the change of the measure, in percentage points.

    Example:
        >>> st, co = [False, False, False, True], [True, True, True, True]
        >>> permutation_test(st, co, scenario=["a", "a", "b", "c"], alternative="greater").p_value
        0.25
    """
    codes = as_codes(stereotyped, contrast, most=2)
    if len(codes) == 1 and measure is not None:
        raise ArgumentError(f"measure must be None without two series, got {measure!r}")
    if len(codes) == 2:
        measure = "mar_joint" if measure is None else measure
        check_one_of("measure", measure, MEASURES)
    # Pairs of equal outcome are grouped in the core; scenarios of one pair would be slower.
    unit = "pair" if scenario is None else "scenario"
    options = SamplingOptions(unit=unit, n_resamples=n_resamples, rng=rng, n_threads=n_threads)
    groups = as_groups(scenario, codes.shape[1], "scenario")
    found = permute(codes, groups, measure, options, alternative)
    value, p_value, log_p, exact, n_clusters, n_informative = found
    name = "sign_flip" if exact else "sign_flip_sampled"
    reason = None
    if p_value is None:
        reason = "no_value" if value is None else "no_discordant_pair"
    seed = None if exact or reason else options.seed
    warnings = warnings_of(reason, n_informative, fewest=_FEWEST)
    return TestResult(value, p_value, log_p, alternative, name, n_clusters, reason, seed, warnings)


@checks_types
def adjust(
    p_values: Sequence[float | None] | npt.NDArray[np.float64], *, method: str = "bh"
) -> npt.NDArray[np.float64]:
    """Adjust p values for a family of tests.

    Args:
        p_values: In any order; None or NaN for a test that could not be made, which stays NaN and
            does not count towards the size of the family.
        method: `"bh"` (Benjamini and Hochberg 1995), `"by"` (Benjamini and Yekutieli 2001, under
            any dependence) or `"holm"` (family-wise).

    Returns:
        Adjusted p values in the same order, float64.

    Example:
        >>> adjust([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.04, 0.04]
    """
    numbers = floats_of(p_values, "p_values")
    strange = (numbers < 0) | (numbers > 1)
    if strange.any():
        raise ArgumentError(f"p_values must be from 0 to 1, got {numbers[strange][0]}")
    return core_adjust(numbers, method)


def with_adjusted(frame: pl.DataFrame, method: str) -> pl.DataFrame:
    """Return a table with `p_adjusted` from its `p_value`, all rows one family."""
    adjusted = adjust(frame["p_value"].to_list(), method=method)
    return frame.with_columns(p_adjusted=pl.Series(adjusted).fill_nan(None))
