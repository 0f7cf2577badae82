"""Heads chosen on one half of the pairs, ablated on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.localise.cases import Case
from misfired.localise.held import Chunk, Held, Interventions, Margins, chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes.heads import specificity_of
from misfired.stats import summarize
from misfired.stats.means import bootstrap

#: Places (layer, head) of heads that are ablated together.
HeadSet = tuple[tuple[int, int], ...]

#: The method by whose specificity heads are chosen.
CHOOSING_METHOD = "zero"

#: Measures of `misfired.summarize` that are reported before and after.
REPORTED = ("mar", "mar_joint", "br", "accuracy_stereotyped", "accuracy_contrast")

_N_HALVES = 2

_FAILED = pl.col("contrast") & ~pl.col("stereotyped")


@dataclass(frozen=True)
class Split:
    """Scenarios on which heads are chosen, and those on which they are tested."""

    chosen_on: frozenset[str]
    tested_on: frozenset[str]


def split_scenarios(outcomes: pl.DataFrame, *, seed: int = 0) -> Split:
    """Halve the scenarios at random within each category, apart for those with and without failures.

    Args:
        outcomes: Columns `category`, `scenario`, `stereotyped`, `contrast`.
        seed: Seed.

    Raises:
        ArgumentError: All failures lie in one scenario.
    """
    scenarios = outcomes.group_by("scenario", maintain_order=True).agg(
        pl.col("category").first(), _FAILED.fill_null(value=False).any().alias("fails")
    )
    if scenarios["fails"].sum() < _N_HALVES:
        raise ArgumentError(
            "failures must lie in at least 2 scenarios to choose and test heads apart, got 1"
        )
    generator = np.random.default_rng(seed)
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


def tested_pairs(outcomes: pl.DataFrame, split: Split) -> pl.DataFrame:
    """Return all scored pairs of the test half: columns `id`, `kind` (`failure` or `other`)."""
    kind = pl.when(_FAILED).then(pl.lit("failure")).otherwise(pl.lit("other")).alias("kind")
    return outcomes.filter(
        pl.col("scenario").is_in(split.tested_on),
        pl.col("stereotyped").is_not_null() & pl.col("contrast").is_not_null(),
    ).select("id", kind)


def ablate_chosen(
    probe: Probe,
    rows: pl.DataFrame,
    split: Split,
    cases: Sequence[Case],
    *,
    options: LocaliseOptions,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame | None:
    """Choose heads on one half and ablate them on the other, as `ablation_test` does.

    Args:
        probe: The model.
        rows: Rows of the head sweep, of this model.
        split: The halves.
        cases: All scored pairs of the test half.
        options: How many heads and random sets, and how intervals are made.
        progress: Called with the number of pairs just done.

    Returns:
        The table; None if the sweep was made without the method by which heads are chosen.

    Raises:
        DataError: No failure was drawn in the half on which heads are chosen.
    """
    heads = rows.filter(pl.col("method") == CHOOSING_METHOD)
    if heads.is_empty():
        return None
    if heads.filter(pl.col("scenario").is_in(split.chosen_on)).is_empty():
        raise DataError(
            "n_pairs must be larger: no failure was drawn in the half on which heads are chosen"
        )
    chosen = choose_heads(heads, split, n_heads=options.n_heads)
    others = random_heads(probe, chosen, n_sets=options.n_random, seed=options.seed)
    return ablation_test(probe, cases, chosen, others, options=options, progress=progress)


def choose_heads(rows: pl.DataFrame, split: Split, *, n_heads: int) -> HeadSet:
    """Return the most specific heads on the failures of the first half.

    Args:
        rows: Rows of the head sweep, of one model and method.
        split: The halves.
        n_heads: Number of heads.
    """
    part = rows.filter(pl.col("scenario").is_in(split.chosen_on), pl.col("kind") == "failure")
    specificity, _, places = specificity_of(part)
    order = np.argsort(-specificity.mean(axis=0), kind="stable")[:n_heads]
    return tuple((places["layer"][int(i)], places["head"][int(i)]) for i in order)


def random_heads(
    probe: Probe, chosen: HeadSet, *, n_sets: int, seed: int = 0
) -> tuple[HeadSet, ...]:
    """Draw sets of as many other heads, without replacement within a set.

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
            f"n_heads must be at most {len(others)}, the other heads to compare with, got {len(chosen)}"
        )
    generator = np.random.default_rng(seed)
    draws = [generator.permutation(len(others))[: len(chosen)] for _ in range(n_sets)]
    return tuple(tuple(others[int(i)] for i in sorted(draw)) for draw in draws)


def ablation_test(
    probe: Probe,
    cases: Sequence[Case],
    chosen: HeadSet,
    others: Sequence[HeadSet],
    *,
    options: LocaliseOptions,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Zero the chosen heads, and the random ones, at the last token of every prompt of the test half.

    Args:
        probe: The model.
        cases: All scored pairs of the test half.
        chosen: Heads chosen on the other half.
        others: Sets of random heads.
        options: How intervals are made.
        progress: Called with the number of pairs just done.

    Returns:
        One row per set and measure: `set` (`chosen`, `random_1`, ...), `heads`, `measure`, `before`,
        `after`, `change`, `low`, `high` (interval of the change), `n_pairs`, `n_scenarios`. Measures
        are those of `misfired.summarize`, `recovery_rate` (percent of failures that turn right), and
        `kept` (percent of right answers that stay right). All in percent.
    """
    sets = [("chosen", chosen), *((f"random_{i}", other) for i, other in enumerate(others, 1))]
    before, after = _margins(probe, cases, [heads for _, heads in sets], progress)
    rows = []
    for number, (name, heads) in enumerate(sets):
        keys = {"set": name, "heads": " ".join(f"{layer}.{head}" for layer, head in heads)}
        rows += [{**keys, **row} for row in _changes(cases, before, after[number], options)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _margins(
    probe: Probe,
    cases: Sequence[Case],
    sets: Sequence[HeadSet],
    progress: Callable[[int], None] | None,
) -> tuple[Margins, Margins]:
    """Return margins before, shape (pair, condition), and after, shape (set, pair, condition)."""
    before, after = [], []
    for part in chunks(cases, probe):
        held = Chunk.hold(probe, part).held
        before.append(held.margins.reshape(-1, 2))
        after.append(_ablate_together(held, sets).reshape(len(sets), -1, 2))
        if progress is not None:
            progress(len(part))
    return np.concatenate(before), np.concatenate(after, axis=1)


def _ablate_together(held: Held, sets: Sequence[HeadSet]) -> Margins:
    """Zero all heads of a set at the last token; return margins, set after set."""
    runs = Interventions(held)
    for chosen in sets:
        for slot, prompt in enumerate(held.prompts):
            job = runs.add(slot)
            for layer, head in chosen:
                runs.zero(job, "attention", layer, prompt.last, held.probe.head_columns(head))
    return runs.margins()


def _changes(
    cases: Sequence[Case], before: Margins, after: Margins, options: LocaliseOptions
) -> list[dict[str, object]]:
    frames = [_outcomes(cases, margins, name) for margins, name in ((before, "none"), (after, "x"))]
    summary = summarize(pl.concat(frames), unit="scenario", **options.statistics)
    overall = summary.filter(pl.col("slice") == "overall")
    found = {(r["priming"], r["measure"]): r for r in overall.iter_rows(named=True)}
    rows = []
    for measure in REPORTED:
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
    options: LocaliseOptions,
) -> dict[str, object]:
    """Return 100 times part over whole, as a change from `start`."""
    counted = whole.astype(np.float64) > 0
    values = np.stack([part, whole], axis=1).astype(np.float64)[counted]
    names = [name for name, keep in zip(scenarios, counted.tolist(), strict=True) if keep]
    numbers: dict[str, float | None] = dict.fromkeys(("after", "change", "low", "high"))
    if len(values):
        found = bootstrap(
            values,
            names,
            lambda means: 100.0 * means[..., :1] / means[..., 1:] - start,
            **options.statistics,
        )
        change = float(found.value[0])
        numbers = {
            "after": start + change,
            "change": change,
            "low": float(found.low[0]),
            "high": float(found.high[0]),
        }
    return {**numbers, "n_pairs": len(values), "n_scenarios": len(set(names))}


def _outcomes(cases: Sequence[Case], margins: Margins, name: str) -> pl.DataFrame:
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
