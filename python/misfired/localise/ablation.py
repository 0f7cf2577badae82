"""Heads chosen on one half of the pairs, ablated on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.cases import Case
from misfired.localise.probe import Probe
from misfired.localise.summary import specificity_of
from misfired.localise.sweeps import Chunk, ablate_together, chunks
from misfired.stats import summarize
from misfired.stats.means import mean_interval

Heads = tuple[tuple[int, int], ...]

#: Measures of `misfired.summarize` that are reported before and after.
MEASURES = ("mar", "mar_joint", "br", "accuracy_stereotyped", "accuracy_contrast")

_N_HALVES = 2


@dataclass(frozen=True)
class Split:
    """Scenarios on which heads are chosen, and those on which they are tested."""

    chosen_on: frozenset[str]
    tested_on: frozenset[str]


def split_scenarios(outcomes: pl.DataFrame, *, rng: int = 0) -> Split:
    """Halve the scenarios at random, those with failures and those without apart, by category.

    Args:
        outcomes: Columns `category`, `scenario`, `stereotyped`, `contrast`.
        rng: Seed.

    Raises:
        ArgumentError: One scenario only holds all failures.
    """
    failed = pl.col("contrast") & ~pl.col("stereotyped")
    scenarios = outcomes.group_by("scenario", maintain_order=True).agg(
        pl.col("category").first(), failed.fill_null(value=False).any().alias("fails")
    )
    if scenarios["fails"].sum() < _N_HALVES:
        raise ArgumentError(
            "heads cannot be chosen and tested apart: all failures lie in one scenario"
        )
    generator = np.random.default_rng(rng)
    halves: tuple[set[str], set[str]] = (set(), set())
    turn = 0
    for _, group in scenarios.sort("fails", "category", descending=[True, False]).group_by(
        "fails", "category", maintain_order=True
    ):
        names = group["scenario"].to_list()
        for place in generator.permutation(len(names)).tolist():
            halves[turn % _N_HALVES].add(names[place])
            turn += 1
    return Split(frozenset(halves[0]), frozenset(halves[1]))


def choose_heads(heads: pl.DataFrame, split: Split, *, n_heads: int) -> Heads:
    """The most specific heads on the failures of the first half.

    Args:
        heads: Rows of the head sweep, of one model and method.
        split: Which scenarios may be looked at.
        n_heads: How many.
    """
    part = heads.filter(pl.col("scenario").is_in(split.chosen_on), pl.col("kind") == "failure")
    specificity, _, places = specificity_of(part)
    order = np.argsort(-specificity.mean(axis=0), kind="stable")[:n_heads]
    return tuple((places["layer"][int(i)], places["head"][int(i)]) for i in order)


def random_heads(probe: Probe, chosen: Heads, *, n_sets: int, rng: int = 0) -> tuple[Heads, ...]:
    """Sets of as many other heads, drawn without replacement within a set.

    Raises:
        ArgumentError: The model has too few other heads.
    """
    others = [
        (layer, head)
        for layer in range(probe.n_layer)
        for head in range(probe.n_head)
        if (layer, head) not in chosen
    ]
    if len(others) < len(chosen):
        raise ArgumentError(
            f"n_heads is {len(chosen)}: the model has only {len(others)} other heads to compare with"
        )
    generator = np.random.default_rng(rng)
    draws = [generator.permutation(len(others))[: len(chosen)] for _ in range(n_sets)]
    return tuple(tuple(others[int(i)] for i in sorted(draw)) for draw in draws)


def ablation_test(
    probe: Probe,
    cases: Sequence[Case],
    chosen: Heads,
    others: Sequence[Heads],
    *,
    n_resamples: int = 10_000,
    confidence_level: float = 0.95,
    rng: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Zero the chosen heads at the last token of every prompt of the test half, and the random ones.

    Args:
        probe: The model.
        cases: All scored pairs of the test half.
        chosen: Heads chosen on the other half.
        others: Sets of random heads.
        n_resamples: Bootstrap resamples of scenarios.
        confidence_level: Of the intervals.
        rng: Seed.
        progress: Called with the number of pairs done.

    Returns:
        One row per set and measure: `set` (`chosen`, `random_1`, ...), `heads`, `measure`, `before`,
        `after`, `change`, `low`, `high` (interval of the change), `n_pairs`, `n_scenarios`. Measures
        are those of `misfired.summarize`, `recovery_rate` (percent of failures that turn right), and
        `kept` (percent of right answers that stay right). All in percent.
    """
    sets = [("chosen", chosen), *((f"random_{i}", other) for i, other in enumerate(others, 1))]
    before, after = _margins(probe, cases, [heads for _, heads in sets], progress)
    options = {"n_resamples": n_resamples, "confidence_level": confidence_level, "rng": rng}
    rows = []
    for number, (name, heads) in enumerate(sets):
        keys = {"set": name, "heads": " ".join(f"{layer}.{head}" for layer, head in heads)}
        rows += [{**keys, **row} for row in _changes(cases, before, after[number], options)]
    return pl.DataFrame(rows, infer_schema_length=None)


_Margins = npt.NDArray[np.float64]


def _margins(
    probe: Probe,
    cases: Sequence[Case],
    sets: Sequence[Heads],
    progress: Callable[[int], None] | None,
) -> tuple[_Margins, _Margins]:
    """Margins before, shape (pair, condition), and after, shape (set, pair, condition)."""
    before, after = [], []
    done = 0
    for part in chunks(cases, probe):
        held = Chunk.hold(probe, part).held
        before.append(held.margins.reshape(-1, 2))
        after.append(ablate_together(held, sets).reshape(len(sets), -1, 2))
        done += len(part)
        if progress is not None:
            progress(done)
    return np.concatenate(before), np.concatenate(after, axis=1)


def _changes(
    cases: Sequence[Case], before: _Margins, after: _Margins, options: dict[str, float]
) -> list[dict[str, object]]:
    frames = [_outcomes(cases, margins, name) for margins, name in ((before, "none"), (after, "x"))]
    summary = summarize(pl.concat(frames), unit="scenario", **options)
    overall = summary.filter(pl.col("slice") == "overall")
    found = {(r["priming"], r["measure"]): r for r in overall.iter_rows(named=True)}
    rows = []
    for measure in MEASURES:
        change = found["x - none", f"{measure}_change"]
        rows.append(
            {
                "measure": measure,
                "before": found["none", measure]["value"],
                "after": found["x", measure]["value"],
                "change": change["value"],
                "low": change["low"],
                "high": change["high"],
                "n_pairs": change["n_pairs"],
                "n_scenarios": change["n_scenarios"],
            }
        )
    scenarios = [case.scenario for case in cases]
    right, still = before > 0, after > 0
    failed = right[:, 1] & ~right[:, 0]
    shares = {
        "recovery_rate": (0.0, failed & still[:, 0], failed),
        "kept": (100.0, (right & still).sum(axis=1), right.sum(axis=1)),
    }
    for measure, (start, part, whole) in shares.items():
        numbers = _share(part, whole, scenarios, start=start, options=options)
        rows.append({"measure": measure, "before": start, **numbers})
    return rows


def _share(
    part: npt.NDArray[np.generic],
    whole: npt.NDArray[np.generic],
    scenarios: list[str],
    *,
    start: float,
    options: dict[str, float],
) -> dict[str, object]:
    """100 times part over whole, as a change from `start`."""
    counted = whole.astype(np.float64) > 0
    values = np.stack([part, whole], axis=1).astype(np.float64)[counted]
    names = [name for name, keep in zip(scenarios, counted.tolist(), strict=True) if keep]
    numbers: dict[str, float | None] = dict.fromkeys(("after", "change", "low", "high"))
    if len(values):
        found = mean_interval(
            values,
            names,
            lambda means: 100.0 * means[..., :1] / means[..., 1:] - start,
            **options,  # type: ignore[arg-type]
        )
        change = float(found.value[0])
        numbers = {
            "after": start + change,
            "change": change,
            "low": float(found.low[0]),
            "high": float(found.high[0]),
        }
    return {**numbers, "n_pairs": len(values), "n_scenarios": len(set(names))}


def _outcomes(cases: Sequence[Case], margins: _Margins, name: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [case.id for case in cases],
            "category": [case.category for case in cases],
            "scenario": [case.scenario for case in cases],
            "priming": name,
            "stereotyped": margins[:, 0] > 0,
            "contrast": margins[:, 1] > 0,
            "reason": pl.Series([None] * len(cases), dtype=pl.String),
        }
    )
