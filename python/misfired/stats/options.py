"""Options of the statistics: unit and number of resamples, level and method of intervals."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from misfired.errors import ArgumentError
from misfired.options import Options, at_least, between, one_of, option, seeds, within

Rng = int | np.random.Generator | None
"""A seed, a generator that draws one, or None for fresh entropy."""

INTERVAL_METHODS = (
    "percentile", "basic", "bca", "studentised", "normal", "t", "logit", "wilson", "clopper_pearson",
    "mover",
)  # fmt: skip
"""`logit`, `wilson` and `clopper_pearson` are for rates alone, `mover` for rates and their differences;
docs/coverage.md has the coverage of all."""

check_level = between(0, 1)
check_count = at_least(1, 100_000_000)
check_threads = within(1, 1024)


def check_correlation(correlation: float) -> None:
    """Refuse a correlation outside 0 to 1."""
    if not 0 <= correlation <= 1:
        raise ArgumentError(f"correlation must be from 0 to 1, got {correlation}")


class _StatisticsOptions(Options):
    """Options of one help panel."""

    PANEL: ClassVar[str | None] = "Statistics"


@dataclass(frozen=True, kw_only=True)
class LevelOptions(_StatisticsOptions):
    """The level of the intervals."""

    confidence_level: float = option(
        0.95, help="Confidence level of intervals, between 0 and 1.", check=check_level
    )


@dataclass(frozen=True, kw_only=True)
class DrawOptions(LevelOptions):
    """How often samples are drawn again."""

    n_resamples: int = option(10_000, help="Bootstrap resamples.", check=check_count)


@dataclass(frozen=True, kw_only=True)
class UnitOptions(_StatisticsOptions):
    """The unit of resampling."""

    unit: str = option(
        "scenario",
        help="Unit of resampling: scenario, with all its pairs, or pair.",
        check=one_of(("scenario", "pair")),
    )


@dataclass(frozen=True, kw_only=True)
class MethodOptions(_StatisticsOptions):
    """How intervals are made; by default clopper_pearson for rates, mover for their differences."""

    method: str | None = option(
        None,
        help="How intervals are made. Default: per measure, by coverage.",
        check=one_of(INTERVAL_METHODS),
    )


@dataclass(frozen=True, kw_only=True)
class StrataOptions(_StatisticsOptions):
    """Strata that every resample keeps."""

    stratified: bool = option(
        False, help="Keep the number of units of each category fixed in the overall slice."
    )


@dataclass(frozen=True, kw_only=True)
class ResamplingOptions(MethodOptions, DrawOptions, UnitOptions):
    """Options of the statistics of a run, which takes a seed."""

    seed: int = option(0, help="Same seed, same bits.", check=seeds)


@dataclass(frozen=True, kw_only=True)
class RngOptions(DrawOptions):
    """Options of the functions of `misfired.stats`, which take `rng` as scipy does."""

    rng: Rng = option(0, help="Seed or generator; None takes fresh entropy.")
    n_threads: int | None = option(
        None,
        help="Threads, all cores by default; any number gives the same bits.",
        check=check_threads,
    )

    @cached_property
    def seed(self) -> int:
        """The seed that `rng` gives; a generator is asked once."""
        return seed_of(self.rng)

    def arguments(self) -> dict[str, Any]:
        """Return the keywords of the core: the same names, with the seed for `rng`."""
        names = {each.name for each in fields(self)} - {"rng"} | {"seed"}
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(RngOptions, MethodOptions, StrataOptions, UnitOptions):
    """All options of a resampling pass."""


@dataclass(frozen=True, kw_only=True)
class RankingOptions(LevelOptions, StrataOptions, UnitOptions):
    """Options of `leaderboard`, whose joint intervals resample nothing."""

    n_threads: int | None = option(None, help="Threads, all cores by default.", check=check_threads)


@dataclass(frozen=True, kw_only=True)
class VariantOptions(RngOptions, MethodOptions, StrataOptions):
    """Options of `compare_variants`, which resamples scenarios."""


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(RngOptions, MethodOptions, UnitOptions):
    """Options of `signal_detection`, which takes no categories."""


@dataclass(frozen=True, kw_only=True)
class GateOptions(Options):
    """What a gate asks of two runs."""

    PANEL: ClassVar[str | None] = "Gate"

    by: str | None = option(
        None,
        help="Ask a rule of all pairs together and of each category: category.",
        check=one_of(("category",)),
    )
    priming: str = option("none", help="The priming of both runs that is judged.")


DEFAULTS = SamplingOptions()
"""For signatures that have single options."""


def seed_of(rng: Rng) -> int:
    """Return the seed: the number itself, a draw from a generator, or fresh entropy for None."""
    if rng is None:
        rng = np.random.default_rng()
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**63))
    if not 0 <= rng < 2**64:
        raise ArgumentError(f"rng must be from 0 to {2**64 - 1}, got {rng}")
    return int(rng)
