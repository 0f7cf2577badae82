"""Results of the functions of `misfired.stats`: frozen, printable, exportable."""

import json
from dataclasses import asdict, dataclass

import polars as pl

_FEW_UNITS = 20  # Below it, no interval holds its level for rare outcomes (docs/coverage.md).


def named_warnings(
    reason: str | None, n_units: int, *, fewest: int = _FEW_UNITS, undefined: bool = False
) -> tuple[str, ...]:
    """Return the names of the warnings that a result deserves.

    `few_units` (fewer than `fewest`), `undefined_resamples` (some resamples had no value and were
    left out), and the reason why there is no value, no interval or no p value.

    Example:
        >>> named_warnings("constant", 3)
        ('few_units', 'constant')
    """
    known = {"few_units": n_units < fewest, "undefined_resamples": undefined}
    return (*(name for name, holds in known.items() if holds), *([reason] if reason else []))


_WARNINGS = {"warnings": pl.List(pl.String)}
_NUMBERS = dict.fromkeys(("value", "low", "high", "standard_error"), pl.Float64())
_SCHEMA = {**_NUMBERS, "reason": pl.String(), **_WARNINGS}


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
        warnings: See `named_warnings`.
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
        common = ("unit", "n_units", "n_pairs", "n_unscored")
        return pl.DataFrame(rows, schema_overrides=_SCHEMA).with_columns(
            pl.lit(getattr(self, name)).alias(name) for name in common
        )

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self))


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
        warnings: `few_units` where so few units cannot give a p value below 0.05, and the reason
            why there is none.
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
        return pl.DataFrame([row], schema_overrides=_WARNINGS)

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self))
