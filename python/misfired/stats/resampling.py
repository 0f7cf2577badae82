"""Intervals for paired outcomes of any origin."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.options import takes_options
from misfired.stats._arrays import (
    Flags,
    Labels,
    as_codes,
    as_groups,
    floats_of,
    no_nan,
    resample,
    warnings_of,
)
from misfired.stats.measures import MEASURES
from misfired.stats.options import DEFAULTS, SamplingOptions
from misfired.stats.outcomes import CONDITIONS

_NUMBERS = dict.fromkeys(("value", "low", "high", "standard_error"), pl.Float64())
_SCHEMA = {**_NUMBERS, "reason": pl.String(), "warnings": pl.List(pl.String)}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure with its interval.

    Attributes:
        measure: Name of the measure.
        value: In percent; percentage points for a difference. None where there is none.
        low: Lower end of the interval, None where there is none.
        high: Upper end.
        standard_error: Linearised, over units: cluster-robust if the unit is the scenario.
        method: How the interval was made.
        reason: Why there is no value, or no interval.
        warnings: See `warnings_of`.
    """

    measure: str
    value: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    method: str
    reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Estimates from one resampling pass.

    Attributes:
        estimates: One for each measure.
        unit: What was resampled, scenario or pair.
        n_units: Number of units.
        n_pairs: Pairs that are scored in all series.
        n_unscored: Pairs that are not scored in all series.
        n_resamples: Resamples drawn; None if all possible ones were taken.
        confidence_level: Of the intervals.
        seed: The seed used: `rng=seed` gives the same numbers.
    """

    estimates: tuple[Estimate, ...]
    unit: str
    n_units: int
    n_pairs: int
    n_unscored: int
    n_resamples: int | None
    confidence_level: float
    seed: int

    def __getitem__(self, measure: str) -> Estimate:
        return {estimate.measure: estimate for estimate in self.estimates}[measure]

    def to_frame(self) -> pl.DataFrame:
        """Return one row for each measure."""
        rows = [asdict(e) | {"warnings": list(e.warnings)} for e in self.estimates]
        frame = pl.DataFrame(rows, schema_overrides=_SCHEMA)
        common = ("unit", "n_units", "n_pairs", "n_unscored")
        return frame.with_columns(pl.lit(getattr(self, name)).alias(name) for name in common)

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self), default=lambda number: number.item())


@takes_options(SamplingOptions)
def bootstrap(
    stereotyped: Flags | pl.DataFrame,
    contrast: Flags | None = None,
    *,
    scenario: Labels | None = None,
    category: Labels | None = None,
    weights: Sequence[float] | None = None,
    measures: Sequence[str] = MEASURES,
    unit: str | None = None,
    n_resamples: int | str = DEFAULTS.n_resamples,
    **options: Any,
) -> Bootstrap:
    """Return an estimate of each measure of paired outcomes, with its interval.

    Args:
        stereotyped: True where a stereotyped prompt was answered correctly, None or NaN where
            unscored: shape [n_pairs], or [n_series, n_pairs] for weighted sums of series on the
            same pairs. Or a frame with columns `stereotyped`, `contrast` and, if it has them,
            `scenario` and `category`.
        contrast: The same for the contrast prompts.
        scenario: Scenario of each pair.
        category: Category of each pair; only `stratified` needs it.
        weights: One for each series: [1, -1] for a difference, [1, -1, -1, 1] for a difference of
            differences; pairs that are unscored in any series are left out of all.
        measures: Names of measures.
        unit: `"scenario"` resamples scenarios with all their pairs (the default where scenarios are
            given), `"pair"` pairs.
        n_resamples: Number of resamples, or `"all"` for each of the G^G resamples of at most 8
            scenarios.
        options: Further fields of `SamplingOptions`.

    Example:
        >>> result = bootstrap(
        ...     [True, False, True, True, False, True], [True, True, True, False, True, True],
        ...     scenario=["q1", "q1", "q2", "q2", "q3", "q3"], measures=["mar"])
        >>> result["mar"].value, result.n_units, result["mar"].warnings
        (40.0, 3, ('few_units',))
    """
    if isinstance(stereotyped, pl.DataFrame):
        frame = stereotyped
        for side in CONDITIONS:
            if side not in frame.columns:
                raise DataError(f"outcomes: column {side!r} is missing")
        scenario = frame.get_column("scenario", default=None) if scenario is None else scenario
        category = frame.get_column("category", default=None) if category is None else category
        stereotyped, contrast = frame["stereotyped"], frame["contrast"]
    if contrast is None:
        raise ArgumentError("contrast must have an outcome for each pair, got None")
    codes = as_codes(stereotyped, contrast)
    if weights is None and len(codes) > 1:
        raise ArgumentError(f"weights must be {len(codes)}, one for each series, got None")
    weight_row = np.array([[1.0] if weights is None else floats_of(weights, "weights")])
    if weight_row.shape[1] != len(codes):
        raise ArgumentError(f"weights must be {len(codes)}, got {weight_row.shape[1]}")
    if not weight_row.any():
        raise ArgumentError("weights must have one that is not 0, got all 0")
    n = codes.shape[1]
    unit = ("pair" if scenario is None else "scenario") if unit is None else unit
    if unit == "scenario" and scenario is None:
        raise ArgumentError("scenario must have a label for each pair as the unit, got None")
    every = n_resamples == "all"
    if isinstance(n_resamples, str) and not (every and unit == "scenario"):
        rule = 'a number, or "all" where scenarios are resampled'
        raise ArgumentError(f"n_resamples must be {rule}, got {n_resamples!r}")
    drawn = {} if every else {"n_resamples": n_resamples}
    sampling = SamplingOptions.of(options | drawn | {"unit": unit})
    groups = (as_groups(scenario, n, "scenario"), as_groups(category, n, "category"))
    for name in measures:
        check_one_of("measures", name, MEASURES)
    found = resample(codes, groups, weight_row, measures, sampling, every=every)
    n_units, n_pairs, n_unscored = found.sizes[0, 0].tolist()
    estimates = []
    for k, measure in enumerate(measures):
        value, low, high, error = map(no_nan, found.estimates[0, 0, k].tolist())
        how, reason = found.methods[k], found.reasons[k]
        undefined = bool(found.n_undefined[0, 0, k])
        n_informative = int(found.n_informative[0, 0, k])
        warnings = warnings_of(reason, n_informative, undefined=undefined)
        estimates.append(Estimate(measure, value, low, high, error, how, reason, warnings))
    n_drawn = None if every else sampling.n_resamples
    level, seed = sampling.confidence_level, sampling.seed
    return Bootstrap(tuple(estimates), unit, n_units, n_pairs, n_unscored, n_drawn, level, seed)
