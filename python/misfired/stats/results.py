"""Results of the functions of `misfired.stats`: frozen, printable, exportable."""

import dataclasses
import json
from dataclasses import dataclass

import polars as pl

__all__ = ["Bootstrap", "Estimate", "TestResult", "named_warnings"]

FEW_UNITS = 20
"""Below this many units, no interval holds its level for rare outcomes (docs/coverage.md)."""


def named_warnings(
    reason: str | None, n_units: int, *, fewest: int = FEW_UNITS, undefined: bool = False
) -> tuple[str, ...]:
    """Return the names of the warnings that a result deserves.

    - `few_units`: fewer than `fewest`;
    - `undefined_resamples`: some resamples had no value and were left out;
    - the reason why there is no value, no interval or no p value.

    Example:
        >>> named_warnings("constant", 3)
        ('few_units', 'constant')
    """
    known = {"few_units": n_units < fewest, "undefined_resamples": undefined}
    return (*(name for name, holds in known.items() if holds), *([reason] if reason else []))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure with its interval.

    Attributes:
        measure: Name of the measure.
        value: In percent; percentage points for a difference. None where there is none.
        low: Lower end of the interval, None where there is none.
        high: Upper end of the interval.
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
        for estimate in self.estimates:
            if estimate.measure == measure:
                return estimate
        raise KeyError(measure)

    def to_frame(self) -> pl.DataFrame:
        """Return one row for each measure."""
        rows = [dataclasses.asdict(e) | {"warnings": list(e.warnings)} for e in self.estimates]
        frame = pl.DataFrame(rows, schema_overrides=_SCHEMA)
        return frame.with_columns(
            unit=pl.lit(self.unit),
            n_units=self.n_units,
            n_pairs=self.n_pairs,
            n_unscored=self.n_unscored,
        )

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(dataclasses.asdict(self))


_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "standard_error": pl.Float64,
    "reason": pl.String,
    "warnings": pl.List(pl.String),
}


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
        row = dataclasses.asdict(self) | {"warnings": list(self.warnings)}
        return pl.DataFrame([row], schema_overrides={"warnings": pl.List(pl.String)})

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(dataclasses.asdict(self))
