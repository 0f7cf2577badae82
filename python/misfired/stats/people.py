"""Rates of people: intervals when the people are a sample, as the scenarios are.

The answers of one person are not independent, and neither are those about one scenario. Three claims of
rising breadth have an interval each:

| scope | drawn anew | the claim is about |
|---|---|---|
| `these` | scenarios | the people who were asked |
| `alike` | scenarios and people | people of the kinds that were asked |
| `any` | the same, and kinds of people that were not met | people at large |

`these` is the interval of `bootstrap` for all answers, by scenario. `alike` is that of Clopper and Pearson on the
effective number of answers (Korn and Graubard 1998) under the crossed variance V = V_scenario + V_person - V_cell, at
least each of the first two (Cameron, Gelbach and Miller 2011, equation 2.8; Owen 2007). Its degrees of freedom are
V^2 / (V_scenario^2 / df_scenario + V_person^2 / df_person) (Satterthwaite 1946). `any` reaches at least to the
upper end of a rate of which none was seen among as many independent people: n people tell nothing of a kind to which
fewer than one in n / 3.7 belongs. A wider claim has the wider interval always.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import proportion_interval, t_quantile
from misfired.errors import ArgumentError, DataError
from misfired.labels import check_once, checked, labelled
from misfired.options import at_least, takes_options
from misfired.stats._arrays import Codes, Floats, Numbers, as_codes, as_groups
from misfired.stats.columns import schema_of
from misfired.stats.options import DEFAULTS, LevelOptions, check_level
from misfired.stats.outcomes import CONDITIONS
from misfired.stats.resampling import bootstrap
from misfired.stats.support import CELLS, SUPPORTED
from misfired.types import checks_types

SCOPES = ("these", "alike", "any")
"""Claims of rising breadth."""

PEOPLE_SCHEMA = schema_of(
    "scope annotator measure value low high method n_people n_pairs n_base n_scenarios n_unscored reason"
)
"""Columns of `people`."""

_Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Crossed:
    """A rate of people and scenarios, with the variance of both.

    Attributes:
        value: The rate, 0 to 1; NaN with an empty denominator.
        n_base: Answers in the denominator.
        n_people: People with an answer in it.
        n_scenarios: Scenarios with an answer in it.
        by_scenario: What each scenario adds to the value, to first order.
        variance: V of the module's text.
        degrees: Its degrees of freedom.
        of_scenarios: V_scenario.
    """

    value: float
    n_base: int
    n_people: int
    n_scenarios: int
    by_scenario: Floats
    variance: float
    degrees: float
    of_scenarios: float

    @classmethod
    def of(cls, hits: Floats, base: Floats, person: Numbers, scenario: Numbers) -> "Crossed":
        """Return the rate sum(hits) / sum(base) of answers by person and scenario.

        Example:
            >>> ones, person = np.ones(4), np.array([0, 0, 1, 1], np.uint32)
            >>> found = Crossed.of(np.array([1.0, 0, 1, 0]), ones, person, np.array([0, 1, 0, 1], np.uint32))
            >>> found.value, found.n_people, round(found.variance, 3)
            (0.5, 2, 0.25)
        """
        n = base.sum()
        value = hits.sum() / n if n else np.nan
        pulls = (hits - value * base) / n if n else np.zeros(len(hits))
        cell = person.astype(np.int64) * (int(scenario.max(initial=0)) + 1) + scenario
        (by_scenario, of_scenarios, df_scenario), (_, of_people, df_person), (_, of_cells, _) = (
            _moments(pulls, base, group) for group in (scenario, person, cell)
        )
        both = of_scenarios + of_people - of_cells
        variance = max(both, of_scenarios, of_people)
        parts = of_scenarios**2 / df_scenario + of_people**2 / df_person
        degrees = float(np.clip(variance**2 / parts, 1.0, None)) if parts > 0 else 1.0
        n_scenarios, n_people = (len(np.unique(group[base > 0])) for group in (scenario, person))
        return cls(
            float(value), int(n), n_people, n_scenarios, by_scenario, variance, degrees, of_scenarios
        )  # fmt: skip

    def interval(self, scope: str, these: _Ends | None, level: float) -> _Ends | None:
        """Return the interval of `alike` or `any` in percent; None without a value, or for one person.

        `these` is the interval of the narrower claim.
        """
        if np.isnan(self.value) or these is None or min(self.n_people, self.n_scenarios) < 2:
            return None
        low, high = these
        if 0 < self.value < 1:
            size = float(self.n_base)
            if self.variance > 0:
                size = min(self.value * (1 - self.value) / self.variance, size)
            upper = (1 + level) / 2
            size *= (NormalDist().inv_cdf(upper) / t_quantile(upper, self.degrees)) ** 2
            own = _exact(self.value * size, size, level)
            low, high = min(low, own[0]), max(high, own[1])
        if scope == "any":
            bound = _exact(0.0, self.n_people, level)[1]
            low, high = min(low, 100 - bound), max(high, bound)
        return low, high


@checks_types
def zero_bounds(
    n_people: int, n_scenarios: int, *, confidence_level: float = DEFAULTS.confidence_level
) -> dict[str, float]:
    """Return the upper end, by scope, of the intervals of a rate of which none is seen, in percent.

    It is that of Clopper and Pearson: 100 (1 - (alpha / 2)^(1 / n)), about 370 / n. By person n is n_people; by
    scenario it is n_scenarios (z / t)^2, t with n_scenarios - 1 degrees of freedom. The one-sided bound of
    level 95 % is known as the rule of three.

    Args:
        n_people: People, each of whom is asked about any of the scenarios.
        n_scenarios: Scenarios; one alone has the bound 100.
        confidence_level: Between 0 and 1.

    Example:
        >>> {scope: round(bound, 1) for scope, bound in zero_bounds(5, 100).items()}
        {'these': 3.7, 'alike': 3.7, 'any': 52.2}
    """
    at_least(1)("n_people", n_people)
    at_least(1)("n_scenarios", n_scenarios)
    check_level("confidence_level", confidence_level)
    tail = (1 - confidence_level) / 2

    def bound(n: float) -> float:
        return 100 * -math.expm1(math.log(tail) / n)

    these = 100.0
    if n_scenarios > 1:
        shrink = NormalDist().inv_cdf(1 - tail) / t_quantile(1 - tail, n_scenarios - 1)
        these = bound(n_scenarios * shrink**2)
    return {"these": these, "alike": these, "any": max(these, bound(n_people))}


@takes_options(LevelOptions)
def people(
    outcomes: pl.DataFrame, *, measures: Sequence[str] = SUPPORTED, **options: Any
) -> pl.DataFrame:
    """Return rates of several people together, of each of them, and of their majority.

    Args:
        outcomes: One row per pair and person: `id`, `scenario`, `annotator` (String), `stereotyped`,
            `contrast` (Boolean: answered correctly; null if unscored).
        measures: Rates; any measure but `discrepancy`.
        options: Fields of `LevelOptions`.

    Returns:
        A frame of schema `PEOPLE_SCHEMA`, in percent: for each measure a row for each of `SCOPES`, then
        scope `person` for each annotator, by scenario, and `majority`: of the people who answered a
        prompt, more than half were right (wrong); a tie leaves it unscored.

    Raises:
        DataError: A column is missing, or a person has a pair twice.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": [f"p{i}" for i in range(30)] * 2, "scenario": [f"s{i}" for i in range(30)] * 2,
        ...     "annotator": ["a"] * 30 + ["b"] * 30, "contrast": True, "stereotyped": True})
        >>> found = people(outcomes, measures=["mar"])
        >>> found.select("scope", pl.col("high").round(1)).rows()[:3]
        [('these', 12.5), ('alike', 12.5), ('any', 84.2)]
    """
    level = LevelOptions.of(options).confidence_level
    outcomes = _checked(outcomes)
    data = _Data.of(outcomes)
    rows: list[dict[str, Any]] = []
    these = _rows(outcomes, measures, level, "these")
    for row in these:
        crossed = data.crossed(row["measure"])
        rows.append(row | {"n_people": data.n_people})
        for scope in SCOPES[1:]:
            ends = crossed.interval(scope, _ends(row), level)
            low, high = ends or (None, None)
            why = row["reason"] or (None if ends else "one_unit")
            more = {"low": low, "high": high, "method": "crossed", "reason": why}
            rows.append(row | more | {"scope": scope, "n_people": data.n_people})
    for (name,), part in outcomes.group_by("annotator", maintain_order=True):
        own = _rows(part, measures, level, "person")
        rows += [row | {"annotator": name, "n_people": 1} for row in own]
    of_majority = _rows(majority(outcomes), measures, level, "majority")
    rows += [row | {"n_people": data.n_people} for row in of_majority]
    return pl.DataFrame(rows, schema=PEOPLE_SCHEMA)


def majority(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return the outcomes of the majority: right if more than half of those who were scored were right.

    Arguments are those of `people`; a tie is null.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": "p", "scenario": "s", "annotator": ["a", "b", "c"],
        ...     "stereotyped": [True, False, None], "contrast": [True, True, False]})
        >>> majority(outcomes).row(0)
        ('p', 's', None, True)
    """
    outcomes = _checked(outcomes)
    share = [pl.col(side).cast(pl.Float64).mean() for side in CONDITIONS]
    found = outcomes.group_by("id", "scenario", maintain_order=True).agg(share)
    return found.with_columns(
        pl.when(pl.col(side) != 0.5).then(pl.col(side) > 0.5).alias(side) for side in CONDITIONS
    )


@takes_options(LevelOptions)
def people_against(
    outcomes: pl.DataFrame,
    model: pl.DataFrame,
    *,
    measures: Sequence[str] = SUPPORTED,
    **options: Any,
) -> pl.DataFrame:
    """Return the rates of people minus those of a model on the very answers of the people.

    Each answer of a person stands against the model's outcome of the same pair, on pairs that both have
    scored. The intervals are those of Zou and Donner (2008) from the intervals of both rates, and the
    correlation of what scenarios add to them.

    Args:
        outcomes: As for `people`.
        model: Outcomes of one run under one priming: `id`, `stereotyped`, `contrast`.
        measures: As for `people`.
        options: Fields of `LevelOptions`.

    Returns:
        A frame of schema `PEOPLE_SCHEMA`, in percentage points, with the rows of `SCOPES`.

    Raises:
        DataError: As `people`, the model has a pair twice, or no pair is scored by both.

    Example:
        >>> outcomes = pl.DataFrame({
        ...     "id": [f"p{i}" for i in range(30)] * 2, "scenario": [f"s{i}" for i in range(30)] * 2,
        ...     "annotator": ["a"] * 30 + ["b"] * 30, "contrast": True, "stereotyped": True})
        >>> model = outcomes.head(30).with_columns(stereotyped=pl.Series([True, False] * 15))
        >>> people_against(outcomes, model, measures=["mar"])["value"].to_list()
        [-50.0, -50.0, -50.0]
    """
    level = LevelOptions.of(options).confidence_level
    sides = [pl.col(side).alias(f"_{side}") for side in CONDITIONS]
    model = checked(model, ("id", *CONDITIONS), "model")
    check_once(model, ["id"], "model", told=["id"])
    both = _checked(outcomes).join(model.select("id", *sides), on="id", maintain_order="left")
    both = both.drop_nulls([*CONDITIONS, *(f"_{side}" for side in CONDITIONS)])
    if both.is_empty():
        raise DataError("model: must share a scored pair with the people, got none")
    others = both.with_columns(pl.col(f"_{side}").alias(side) for side in CONDITIONS)
    own, other = _Data.of(both), _Data.of(others)
    rows = []
    pairs = zip(
        _rows(both, measures, level, "these"), _rows(others, measures, level, "these"), strict=True
    )
    for row, base in pairs:
        one, two = own.crossed(row["measure"]), other.crossed(row["measure"])
        product = (one.by_scenario * two.by_scenario).sum()
        for scope in SCOPES:
            ends = _ends(row) if scope == "these" else one.interval(scope, _ends(row), level)
            spread = one.of_scenarios if scope == "these" else one.variance
            scale = np.sqrt(spread * two.of_scenarios)
            correlation = float(np.clip(product / scale, -1, 1)) if scale > 0 else 0.0
            head = row | {"scope": scope, "n_people": own.n_people}
            rows.append(head | _minus(row, ends, base, correlation))
    return pl.DataFrame(rows, schema=PEOPLE_SCHEMA)


@dataclass(frozen=True, slots=True)
class _Data:
    """Outcome codes of answers, with their people and scenarios."""

    codes: Codes
    person: Numbers
    scenario: Numbers

    @classmethod
    def of(cls, outcomes: pl.DataFrame) -> "_Data":
        who = ["annotator", "id"]
        check_once(outcomes, who, "outcomes", told=who)
        n = len(outcomes)
        codes = as_codes(outcomes["stereotyped"], outcomes["contrast"])[0]
        person = as_groups(outcomes["annotator"], n, "annotator")
        return cls(codes, person, as_groups(outcomes["scenario"], n, "scenario"))

    @property
    def n_people(self) -> int:
        return len(np.unique(self.person))

    def crossed(self, measure: str) -> Crossed:
        hits, base = (np.isin(self.codes, cells).astype(np.float64) for cells in CELLS[measure])
        return Crossed.of(hits, base, self.person, self.scenario)


def _checked(outcomes: pl.DataFrame) -> pl.DataFrame:
    frame = checked(outcomes, ("id", "scenario", "annotator", *CONDITIONS), "outcomes")
    return labelled(frame, ["annotator"], "outcomes")


def _rows(
    outcomes: pl.DataFrame, measures: Sequence[str], level: float, scope: str
) -> list[dict[str, Any]]:
    """Return the rows of rates with intervals by scenario."""
    if unknown := [name for name in measures if name not in SUPPORTED]:
        raise ArgumentError(f"measures must be of {', '.join(SUPPORTED)}, got {unknown[0]!r}")
    sides = [outcomes[side] for side in CONDITIONS]
    # The default method of rates resamples nothing.
    found = bootstrap(
        *sides,
        scenario=outcomes["scenario"],
        measures=measures,
        confidence_level=level,
        n_resamples=1,
    )
    codes = as_codes(*sides)[0]
    scored = outcomes.drop_nulls(CONDITIONS)
    counts = {
        "n_pairs": len(scored),
        "n_scenarios": scored["scenario"].n_unique(),
        "n_unscored": len(outcomes) - len(scored),
    }
    rows = []
    for name in measures:
        each = found[name]
        head: dict[str, Any] = {"scope": scope, "annotator": None, "measure": name}
        head |= {"value": each.value, "low": each.low, "high": each.high, "method": each.method}
        head |= {"n_base": int(np.isin(codes, CELLS[name][1]).sum()), "reason": each.reason}
        rows.append(head | counts)
    return rows


def _minus(
    row: Mapping[str, Any], ends: _Ends | None, base: Mapping[str, Any], correlation: float
) -> dict[str, Any]:
    """Return value and interval of a difference of two rates."""
    other = _ends(base)
    if row["value"] is None or base["value"] is None:
        return {"value": None, "low": None, "high": None, "reason": row["reason"] or base["reason"]}
    value = row["value"] - base["value"]
    if ends is None or other is None:
        return {"value": value, "low": None, "high": None, "reason": "one_unit"}
    below, above = row["value"] - ends[0], ends[1] - row["value"]
    base_below, base_above = base["value"] - other[0], other[1] - base["value"]

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(a**2 + b**2 - 2 * correlation * a * b, 0.0)))

    low, high = value - reach(below, base_above), value + reach(above, base_below)
    return {"value": value, "low": max(low, -100.0), "high": min(high, 100.0), "method": "mover"}


def _ends(row: Mapping[str, Any]) -> _Ends | None:
    return None if row["low"] is None or row["high"] is None else (row["low"], row["high"])


def _exact(hits: float, n: float, level: float) -> _Ends:
    return proportion_interval(hits, n, method="clopper_pearson", confidence_level=level)


def _moments(pulls: Floats, base: Floats, group: npt.NDArray[Any]) -> tuple[Floats, float, float]:
    """Return what each group adds to a value, the variance of their sum, and its degrees of freedom.

    As intervals by scenario have them: sum of squares times G / (G - 1), and 2 / (sum of fourth powers /
    squared sum of squares - 1 / G), at most G - 1.
    """
    sums = np.bincount(group, pulls).astype(np.float64)
    has = np.bincount(group, base) > 0
    n = int(has.sum())
    if n < 2:
        return sums, 0.0, 1.0
    centred = sums[has] - sums[has].mean()
    second, fourth = float((centred**2).sum()), float((centred**4).sum())
    if second <= 0:
        return sums, 0.0, float(n - 1)
    excess = fourth / second**2 - 1 / n
    degrees = min(n - 1, 2 / excess) if excess > 0 else n - 1
    return sums, second * n / (n - 1), float(degrees)
