"""Intervals for paired outcomes of any origin."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.stats._arrays import Flags, Labels, Sampling, as_codes, as_groups, resample
from misfired.stats._seed import Rng, seed_of
from misfired.stats.measures import MEASURES
from misfired.stats.results import Bootstrap, Estimate, named_warnings


def bootstrap(
    stereotyped: Flags | pl.DataFrame,
    contrast: Flags | None = None,
    *,
    scenario: Labels | None = None,
    category: Labels | None = None,
    weights: Sequence[float] | None = None,
    measures: Sequence[str] = MEASURES,
    unit: str | None = None,
    stratified: bool = False,
    method: str | None = None,
    n_resamples: int | str = 10_000,
    confidence_level: float = 0.95,
    rng: Rng = 0,
    n_threads: int | None = None,
) -> Bootstrap:
    """Measures of paired outcomes with their intervals.

    Args:
        stereotyped: Whether each stereotyped prompt was answered correctly, None or NaN where
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
        stratified: Keep the number of units of each category fixed.
        method: `"percentile"`, `"basic"`, `"bca"`, `"studentised"`, `"normal"`, `"t"`; for rates
            also `"logit"`, `"wilson"`, `"clopper_pearson"`. None takes the method of best coverage:
            `"clopper_pearson"` for rates, `"studentised"` for differences (docs/coverage.md).
        n_resamples: Number of resamples, or `"all"` for each of the G^G resamples of at most 8
            scenarios.
        confidence_level: Between 0 and 1.
        rng: Seed or generator; None takes fresh entropy.
        n_threads: Threads, all cores by default; any number gives the same bits.

    Returns:
        An estimate for each measure.

    Raises:
        DataError: If columns differ in length or hold what is no outcome.
        ArgumentError: If an option is outside its limits.

    Example:
        >>> result = bootstrap(
        ...     [True, False, True, True, False, True], [True, True, True, False, True, True],
        ...     scenario=["q1", "q1", "q2", "q2", "q3", "q3"], measures=["mar"])
        >>> result["mar"].value, result.n_units, result["mar"].warnings
        (40.0, 3, ('few_units',))
    """
    if isinstance(stereotyped, pl.DataFrame):
        frame = stereotyped
        scenario = frame["scenario"] if scenario is None and "scenario" in frame else scenario
        category = frame["category"] if category is None and "category" in frame else category
        stereotyped, contrast = frame["stereotyped"], frame["contrast"]
    if contrast is None:
        raise ArgumentError("contrast: missing, expected an outcome for each pair")
    codes = as_codes(stereotyped, contrast)
    if weights is None and len(codes) > 1:
        raise ArgumentError(f"weights: missing, expected {len(codes)}, one for each series")
    weight_row = np.array([[1.0]] if weights is None else [list(weights)], dtype=np.float64)
    if weight_row.shape[1] != len(codes):
        raise ArgumentError(f"weights: {weight_row.shape[1]}, expected {len(codes)}")
    if not weight_row.any():
        raise ArgumentError("weights: all 0, expected at least one other")
    n = codes.shape[1]
    unit = ("pair" if scenario is None else "scenario") if unit is None else unit
    if unit == "scenario" and scenario is None:
        raise ArgumentError("scenario: missing, expected a label for each pair to resample by")
    options = Sampling(
        unit, stratified, method, confidence_level, _number(n_resamples), seed_of(rng), n_threads
    )
    groups = (as_groups(scenario, n, "scenario"), as_groups(category, n, "category"))
    answers = resample(codes, groups, weight_row, measures, options, by_category=False)
    n_units, n_pairs, n_unscored = answers.sizes[0, 0].tolist()
    estimates = []
    for k, measure in enumerate(measures):
        value, low, high, error = (_null(x) for x in answers.estimates[0, 0, k].tolist())
        how, reason = answers.methods[k], answers.reasons[k]
        undefined = bool(answers.n_undefined[0, 0, k])
        warnings = named_warnings(reason, n_units, undefined=undefined)
        estimates.append(Estimate(measure, value, low, high, error, how, reason, warnings))
    return Bootstrap(
        tuple(estimates),
        unit,
        n_units,
        n_pairs,
        n_unscored,
        options.n_resamples,
        confidence_level,
        options.seed,
    )


def _number(n_resamples: int | str) -> int | None:
    if n_resamples == "all":
        return None
    if isinstance(n_resamples, str) or n_resamples < 1:
        raise ArgumentError(f'n_resamples: {n_resamples}, expected at least 1, or "all"')
    return n_resamples


def _null(number: float) -> float | None:
    return None if np.isnan(number) else number
