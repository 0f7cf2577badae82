"""Options of the statistics: how samples are drawn again and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

from misfired.options import Options, at_least, between, one_of, option

UNITS = ("scenario", "pair")

METHODS = (
    "percentile", "basic", "bca", "studentised", "normal", "t", "logit", "wilson", "clopper_pearson",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ResamplingOptions(Options):
    """How intervals are made by resampling.

    Raises:
        ArgumentError: A value breaks its rule.
    """

    n_resamples: int = option(10_000, help="Bootstrap resamples.", check=at_least(1))
    unit: str = option("scenario", help="What is resampled: scenario or pair.", check=one_of(UNITS))
    confidence_level: float = option(
        0.95, help="Confidence level of intervals, between 0 and 1.", check=between(0, 1)
    )
    method: str | None = option(
        None,
        help="How intervals are made. Default: per measure, by coverage.",
        check=one_of(METHODS),
    )
    seed: int = option(0, help="Same seed, same bits.")
