"""A gate: do two runs show that a candidate is worse than its base, exclude it, or say neither?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired._core import proportion_interval, t_quantile
from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.labels import checked
from misfired.options import takes_options
from misfired.stats._arrays import Codes, Numbers, resample
from misfired.stats._grid import Grid, grid_of_runs
from misfired.stats.columns import schema_of
from misfired.stats.measures import UNSCORED
from misfired.stats.options import GateOptions, SamplingOptions
from misfired.stats.outcomes import outcomes_of
from misfired.stats.rules import Rule, read_rule
from misfired.stats.support import (
    FEWEST_EFFECTIVE,
    FEWEST_SCENARIOS,
    Support,
    in_rate,
    rate_of,
    support_of,
)
from misfired.stats.verdict import verdict, verdict_priming

GATE_SCHEMA = schema_of(
    "rule slice priming measure base candidate value low high verdict reason n_needed n_pairs"
    " n_scenarios n_unscored n_effective total"
)
"""Columns of the rows of a gate; `value` is candidate - base, in percentage points."""

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 2}
"""Exit code of `misfired compare` for each verdict of a gate."""

MOST_UNSCORED = 5.0
"""Percent of the pairs of both runs that may be unscored in one of them."""

POWER = 0.8
"""Chance with which the scenarios that are needed settle a row."""

MOST_SCENARIOS = 20_000
"""No larger study is advised."""

_WORST_LAST = ("pass", "inconclusive", "fail")
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict of a gate, and what it rests on.

    Attributes:
        verdict: `pass` if the data exclude every harm that was asked about, `fail` if they show one,
            else `inconclusive`.
        rows: Schema `GATE_SCHEMA`: one row per rule and slice.
        reads: By run, true if the model reads; None if it cannot be known (`misfired.stats.verdict`).
        confidence_level: Of the intervals.
    """

    verdict: str
    rows: pl.DataFrame
    reads: Mapping[str, bool | None]
    confidence_level: float

    def __str__(self) -> str:
        """Return the verdict, and a line per row that is not alone."""
        lines = [f"{row['verdict']}: {_in_words(row)}" for row in self.rows.iter_rows(named=True)]
        return lines[0] if len(lines) == 1 else "\n  ".join([self.verdict, *lines])

    @property
    def passed(self) -> bool:
        """True if the data exclude every harm; False also where the gate is inconclusive."""
        return self.verdict == "pass"

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 2 for inconclusive."""
        return EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return the gate for JSON."""
        known = {"verdict": self.verdict, "exit_code": self.exit_code, "reads": dict(self.reads)}
        return known | {"confidence_level": self.confidence_level, "rows": self.rows.to_dicts()}


@takes_options(GateOptions, SamplingOptions)
def gate_runs(
    base: pl.DataFrame, candidate: pl.DataFrame, fail_if: str | Sequence[str], **options: Any
) -> Gate:
    """Judge whether a candidate is worse than its base by more than a line.

    A row is a rule in a slice. It fails where the interval of candidate - base lies wholly beyond the
    line, passes where it ends at the line or before it, and is inconclusive otherwise. It is
    inconclusive, too, where either run has too little support (`misfired.stats.support`), where more
    than `MOST_UNSCORED` percent of the pairs are unscored, and where either model does not read
    (`misfired.stats.verdict`) or gives the same answer to every prompt.

    The gate fails if any of its K rows fails: the end of an interval that must lie beyond the line has
    the level 1 - (1 - `confidence_level`) / K, by Bonferroni. It passes only if all rows pass, which
    needs no adjustment: where one harm is real, that row must pass in error (an intersection-union
    test, Berger 1982, Technometrics 24). docs/gate.md has the error rates of both.

    The interval is that of `compare`, and no narrower than few changes in few scenarios allow: see
    design/gate.md.

    Args:
        base: Answers, or outcomes as for `summarize`; of outcomes it is not known if a model reads.
        candidate: The same pairs under the model to be judged; pairs of one run alone are left out.
        fail_if: Rules, as `read_rule` reads them.
        options: Fields of `GateOptions` and `SamplingOptions`.

    Returns:
        The gate. `n_needed` of a row is the number of scenarios that would settle it with a chance of
        80 percent if the difference stays what it is; null where none up to 20,000 would.

    Raises:
        ArgumentError: A rule has another form, or names a category that the runs do not share.
        DataError: The runs break the rules of `summarize`, or share no pair or priming.

    Example:
        >>> def run(n):
        ...     return pl.DataFrame({
        ...         "id": [f"p{i}" for i in range(400)], "scenario": [f"q{i % 80}" for i in range(400)],
        ...         "category": "age", "priming": "none", "contrast": True,
        ...         "stereotyped": [i * 7 % 400 >= n for i in range(400)]})
        >>> [gate_runs(run(20), run(n), "mar > +2").verdict for n in (21, 32, 60)]
        ['pass', 'inconclusive', 'fail']
    """
    asked = GateOptions.take(options)
    sampling = SamplingOptions.of(options)
    texts = [fail_if] if isinstance(fail_if, str) else fail_if
    # A rule that is given twice is one rule.
    rules = list(dict.fromkeys(map(read_rule, texts)))
    if not rules:
        raise ArgumentError("fail_if must have at least 1 rule, got 0")
    runs = {"base": base, "candidate": candidate}
    grid = _shared_grid(runs, asked.priming)
    reads, unread = _reading(runs, sampling)
    return judge(grid, rules, asked, sampling, reads=reads, unread=unread)


def judge(
    grid: Grid,
    rules: Sequence[Rule],
    asked: GateOptions,
    sampling: SamplingOptions,
    *,
    reads: Mapping[str, bool | None],
    unread: str | None,
) -> Gate:
    """Return the gate of a grid whose lines are the base and the candidate.

    `unread` is the reason for which no rate can be judged, or None.
    """
    places = [(rule, i) for rule in rules for i in _slices(rule, grid, asked.by)]
    slices = grid.slices
    rows = [
        (
            rule.text,
            slices[i][0],
            asked.priming,
            rule.measure,
            *_row(rule, each, unread=unread),
            not i,
        )
        for (rule, i), each in zip(places, _differences(grid, places, sampling), strict=True)
    ]
    table = pl.DataFrame(rows, schema=GATE_SCHEMA, orient="row")
    worst = max(table["verdict"], key=_WORST_LAST.index)
    return Gate(worst, table, reads, sampling.confidence_level)


def _shared_grid(runs: Mapping[str, pl.DataFrame], priming: str) -> Grid:
    """Return the outcomes of the pairs of both runs, a line each."""
    frames = {}
    for name, frame in runs.items():
        outcomes = outcomes_of(frame)
        outcomes = checked(outcomes, ("id", "priming"), name)
        if priming not in outcomes["priming"]:
            raise DataError(f"{name}: no rows of priming {priming!r}")
        frames[name] = outcomes.filter(priming=priming)
    base, candidate = frames.values()
    shared = {
        "base": base.join(candidate, on="id", how="semi"),
        "candidate": candidate.join(base, on="id", how="semi"),
    }
    if shared["base"].is_empty():
        raise DataError("candidate: no pair in common with the base")
    return grid_of_runs(shared)


def _slices(rule: Rule, grid: Grid, by: str | None) -> list[int]:
    """Return the numbers of the slices that a rule is about: 0 for all pairs together."""
    if rule.category is not None:
        check_one_of(f"category of fail_if {rule.text!r}", rule.category, grid.categories)
        return [grid.categories.index(rule.category) + 1]
    return list(range(len(grid.categories) + 1)) if by == "category" else [0]


def _reading(
    runs: Mapping[str, pl.DataFrame], sampling: SamplingOptions
) -> tuple[dict[str, bool | None], str | None]:
    """Return which runs read, and why the rates of any mean nothing."""
    keywords = {name: getattr(sampling, name) for name in SamplingOptions.panels()}
    reads: dict[str, bool | None] = dict.fromkeys(runs)
    reason = None
    for name, frame in runs.items():
        if "condition" not in frame.columns:
            continue
        found = verdict(frame, priming=verdict_priming(frame), **keywords)
        reads[name] = found.reads
        if found.reads is False and not found.above_chance:
            reason = "does_not_read"
        elif found.reads is False:
            reason = reason or "not_shown_to_read"
        elif found.reads is None and found.yes_rate.value in {0.0, 100.0}:
            # Nothing tells this model from one that says the same to everything.
            reason = reason or "constant_answers"
    return reads, reason


@dataclass(frozen=True, slots=True)
class _Difference:
    """Candidate - base of a rate in a slice, with the ends at the level of either error."""

    rates: tuple[float | None, float | None]
    value: float | None
    error: float
    ends: tuple[float | None, float | None]
    reason: str | None
    n_scenarios: int
    n_pairs: int
    n_unscored: int
    supports: Sequence[Support]

    @property
    def n_effective(self) -> float:
        return min(support.n_effective for support in self.supports)


def _differences(
    grid: Grid, places: Sequence[tuple[Rule, int]], sampling: SamplingOptions
) -> Iterator[_Difference]:
    """Yield the difference that each rule is about, in its slice."""
    measures = list(dict.fromkeys(rule.measure for rule, _ in places))
    level = sampling.confidence_level
    levels = (1 - (1 - level) / len(places), level)
    sure, plain = (
        resample(
            grid.codes, grid.groups, np.array([[-1.0, 1.0]]), measures,
            replace(sampling, confidence_level=each), by_category=True,
        )
        for each in levels
    )  # fmt: skip
    slices = grid.slices
    for rule, i in places:
        at = (i, 0, measures.index(rule.measure))
        value, low, high, _, reason = plain.estimate(*at)
        _, *far, _, _ = sure.estimate(*at)
        # The end that must lie beyond the line to show the harm has the adjusted level.
        ends = (far[0], high) if rule.rises else (low, far[1])
        at_levels = levels if rule.rises else levels[::-1]
        codes, scenario = _scored(grid, i, sampling.unit)
        supports = [support_of(line, scenario, rule.measure) for line in codes]
        if value is not None and all(support.n_effective for support in supports):
            ends = _widened(value, ends, at_levels, codes, scenario, rule.measure)
            reason = reason if None in ends else None
        rates = [rate_of(counts, rule.measure) for counts in plain.counts[i, 0]]
        error = float(plain.estimates[(*at, 3)])
        _, n_pairs, n_unscored = plain.sizes[i, 0].tolist()
        sizes = (slices[i][2], n_pairs, n_unscored)
        yield _Difference((rates[0], rates[1]), value, error, ends, reason, *sizes, supports)


def _widened(  # noqa: PLR0917
    value: float,
    ends: tuple[float | None, float | None],
    levels: tuple[float, float],
    codes: Codes,
    scenario: Numbers,
    measure: str,
) -> tuple[float | None, float | None]:
    """Return ends that are no nearer to the value than the pairs allow that came and went."""
    unchanged = not (codes[0] != codes[1]).any()
    if None in ends and not unchanged:
        return ends
    low, high = (value if end is None else end for end in ends)
    down = arms_of_change(codes, scenario, measure, levels[0])[0]
    up = arms_of_change(codes, scenario, measure, levels[1])[1]
    return max(min(low, value - down), -100.0), min(max(high, value + up), 100.0)


def arms_of_change(
    codes: Codes, scenario: Numbers, measure: str, confidence_level: float
) -> tuple[float, float]:
    """Return how far the interval of a change reaches down and up, from pairs that came and went.

    Among the pairs that count for a rate in both runs, some come into its numerator and some leave it. The
    change is the share of the first minus that of the second, and its arms are those of a difference
    (Zou and Donner 2008): up sqrt(x^2 + y^2 - 2 r x y), where x is the upper arm of the share that came, y
    the lower arm of the share that went, and r their correlation over scenarios.

    Args:
        codes: Outcome codes of base and candidate, all scored, [2, n_pairs].
        scenario: Scenario of each pair.
        measure: A rate.
        confidence_level: Of the interval.

    Example:
        >>> codes = np.array([[0] * 100, [2] + [0] * 99], np.uint8)
        >>> down, up = arms_of_change(codes, np.arange(100, dtype=np.uint32), "mar", 0.95)
        >>> round(down, 1), round(up, 1)
        (3.8, 6.1)
    """
    (was, counted), (is_, counts) = (in_rate(line, measure) for line in codes)
    both = counted & counts
    if not both.any():
        return 0.0, 0.0
    groups = np.unique(scenario[both], return_inverse=True)[1].astype(np.uint32)
    n_effective = min(support_of(line[both], groups, measure).n_effective for line in codes)
    hits = [each[both] for each in (is_ & ~was, was & ~is_)]
    came, went = (_share(each, groups, n_effective, confidence_level) for each in hits)
    pulls = [np.bincount(groups, each - each.mean()) for each in hits]
    sizes = math.sqrt(float((pulls[0] ** 2).sum() * (pulls[1] ** 2).sum()))
    alike = float(pulls[0] @ pulls[1]) / sizes if sizes > 0 else 0.0

    def arm(one: float, other: float) -> float:
        return math.sqrt(max(one**2 + other**2 - 2 * alike * one * other, 0.0))

    return arm(came[0] - came[1], went[2] - went[0]), arm(came[2] - came[0], went[0] - went[1])


def _share(
    hits: npt.NDArray[np.bool_], groups: Numbers, n_effective: float, level: float
) -> tuple[float, float, float]:
    """Return a share in percent with its interval, of Clopper and Pearson on the effective pairs.

    The size is shrunk for few degrees of freedom (Korn and Graubard 1998), which are those of what the
    scenarios add (Satterthwaite 1946), not below `FEWEST_SCENARIOS` - 1. A share of 0 has the effective pairs of the rate.
    """
    share, upper = float(hits.mean()), (1 + level) / 2
    size = n_effective
    if 0 < share < 1:
        pulls = np.bincount(groups, hits - share) / len(hits)
        n, squares = len(pulls), pulls**2
        total = float(squares.sum())
        size = 1.0
        if n > 1 and total > 0:
            excess = float((squares**2).sum()) / total**2 - 1 / n
            # Fewer degrees would make one change in one scenario say less than none does.
            known = max(2 / excess, FEWEST_SCENARIOS - 1) if excess > 0 else n - 1
            degrees = min(n - 1, known)
            shrink = (_NORMAL.inv_cdf(upper) / t_quantile(upper, degrees)) ** 2
            size = min(share * (1 - share) * (n - 1) / (n * total), len(hits)) * shrink
    ends = proportion_interval(share * size, size, method="clopper_pearson", confidence_level=level)
    return (100 * share, *ends)


def _scored(grid: Grid, i: int, unit: str) -> tuple[Codes, Numbers]:
    """Return the codes of the pairs of a slice that both runs scored, and the units of resampling."""
    own = grid.category == i - 1 if i else np.ones(len(grid.category), bool)
    own &= (grid.codes != UNSCORED).all(axis=0)
    codes, scenario = grid.codes[:, own], grid.scenario[own]
    return codes, np.arange(len(scenario), dtype=np.uint32) if unit == "pair" else scenario


def _row(rule: Rule, found: _Difference, *, unread: str | None) -> tuple[Any, ...]:
    """Return the columns from `base` to the end."""
    verdict, reason = _judged(rule, found, unread=unread)
    needed = None
    if reason in {"little_support", "few_scenarios"}:
        needed = _n_for_support(found)
    elif reason == "reaches_over":
        needed = _n_needed(rule, found)
    sizes = (found.n_pairs, found.n_scenarios, found.n_unscored, found.n_effective)
    return (*found.rates, found.value, *found.ends, verdict, reason, needed, *sizes)


def _judged(rule: Rule, found: _Difference, *, unread: str | None) -> tuple[str, str | None]:
    """Return the verdict, and the reason where it is inconclusive."""
    low, high = found.ends
    # More scenarios may show that a model reads; that it does not read counts before all else.
    little = _too_little(found)
    reason = (
        little or unread if unread == "not_shown_to_read" else unread or little
    ) or found.reason
    if reason or low is None or high is None:
        return "inconclusive", reason or "no_interval"
    near, far = (low, high) if rule.rises else (-high, -low)
    line = rule.line if rule.rises else -rule.line
    if near > line:
        return "fail", None
    return ("pass", None) if far <= line else ("inconclusive", "reaches_over")


def _too_little(found: _Difference) -> str | None:
    if 100 * found.n_unscored > MOST_UNSCORED * (found.n_pairs + found.n_unscored):
        return "unscored"
    if any(support.withheld for support in found.supports):
        return "little_support"
    few = any(support.n_informative < FEWEST_SCENARIOS for support in found.supports)
    return "few_scenarios" if few else None


def _n_needed(rule: Rule, found: _Difference) -> int | None:
    """Return how many scenarios settle a row: its arm and its error fall with the root of their number."""
    low, high = found.ends
    if found.value is None or low is None or high is None:
        return None
    is_above = found.value > rule.line
    arm = found.value - low if is_above else high - found.value
    wanted = arm + _NORMAL.inv_cdf(POWER) * found.error
    return _advised(found.n_scenarios, wanted, abs(found.value - rule.line), power=2)


def _n_for_support(found: _Difference) -> int | None:
    """Return how many scenarios give both runs their support."""
    needed = [
        _advised(found.n_scenarios, wanted, known, power=1)
        for support in found.supports
        for wanted, known in (
            (FEWEST_EFFECTIVE, support.n_effective),
            (FEWEST_SCENARIOS, support.n_informative),
        )
    ]
    return None if None in needed else max(filter(None, needed))


def _advised(n_scenarios: int, wanted: float, known: float, *, power: int) -> int | None:
    """Return n (wanted / known)^power, more than n; None beyond `MOST_SCENARIOS`."""
    if known <= 0 or n_scenarios * (wanted / known) ** power > MOST_SCENARIOS:
        return None
    return max(math.ceil(n_scenarios * (wanted / known) ** power), n_scenarios + 1)


def _in_words(row: Mapping[str, Any]) -> str:
    ends = "no interval"
    if row["low"] is not None and row["high"] is not None:
        ends = f"{row['value']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
    why = f" ({row['reason']})" if row["reason"] else ""
    needed = f", about {row['n_needed']:,} scenarios would settle it" if row["n_needed"] else ""
    return f"{row['rule']} ({row['slice']}): {ends}{why}{needed}"
