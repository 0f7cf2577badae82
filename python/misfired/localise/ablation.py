"""Heads chosen on one half of the pairs, ablated on the other."""

from collections.abc import Callable, Collection, Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.localise.cases import FAILED, Case
from misfired.localise.held import Interventions, chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes.heads import specificity_of
from misfired.stats import summarize
from misfired.stats.means import Floats, mean_interval

#: Places (layer, head) of heads that are ablated together.
HeadSet = tuple[tuple[int, int], ...]

#: Heads are chosen by their specificity under this method.
CHOOSING_METHOD = "zero"

#: Measures of `misfired.summarize` that are reported before and after.
REPORTED = ("mar", "mar_joint", "br", "accuracy_stereotyped", "accuracy_contrast")


def split_scenarios(outcomes: pl.DataFrame, *, seed: int = 0) -> tuple[list[str], pl.DataFrame]:
    """Halve the scenarios at random within each category, apart for those with and without failures.

    Returns:
        The scenarios on which heads are chosen, and all scored pairs of the others, on which they are
        tested: columns `id`, `kind` (`failure` or `other`).

    Raises:
        ArgumentError: All failures lie in one scenario.
    """
    scenarios = outcomes.group_by("scenario", maintain_order=True).agg(
        pl.col("category").first(), FAILED.fill_null(value=False).any().alias("fails")
    )
    if scenarios["fails"].sum() < 2:
        raise ArgumentError(
            "failures must lie in at least 2 scenarios to choose and test heads apart, got 1"
        )
    generator = np.random.default_rng(seed)
    dealt: list[str] = []
    ordered = scenarios.sort("fails", "category", descending=[True, False])
    for _, group in ordered.group_by("fails", "category", maintain_order=True):
        dealt += group["scenario"].gather(generator.permutation(len(group))).to_list()
    kind = pl.when(FAILED).then(pl.lit("failure")).otherwise(pl.lit("other")).alias("kind")
    scored = outcomes.drop_nulls(["stereotyped", "contrast"])
    return dealt[::2], scored.filter(pl.col("scenario").is_in(dealt[1::2])).select("id", kind)


def choose_heads(rows: pl.DataFrame, chosen_on: Collection[str], *, n_heads: int) -> HeadSet:
    """Return the most specific heads on failures of these scenarios, from rows of one model and method."""
    part = rows.filter(pl.col("scenario").is_in(chosen_on), kind="failure")
    if part.is_empty():
        raise DataError(
            "n_pairs must be larger: no failure was drawn in the half on which heads are chosen"
        )
    specificity, _, places = specificity_of(part)
    order = np.argsort(-specificity.mean(axis=0), kind="stable")[:n_heads]
    return tuple(places.select("layer", "head")[order].iter_rows())


def random_heads(probe: Probe, chosen: HeadSet, *, n_sets: int, seed: int = 0) -> list[HeadSet]:
    """Draw sets of as many other heads, without replacement within a set."""
    others = [place for place in probe.heads if place not in chosen]
    if len(others) < len(chosen):
        raise ArgumentError(
            f"n_heads must be at most {len(others)}, the other heads to compare with, got {len(chosen)}"
        )
    generator = np.random.default_rng(seed)
    draws = [generator.permutation(len(others))[: len(chosen)] for _ in range(n_sets)]
    return [tuple(others[int(i)] for i in sorted(draw)) for draw in draws]


def ablation_test(
    probe: Probe,
    rows: pl.DataFrame,
    chosen_on: Collection[str],
    cases: Sequence[Case],
    options: LocaliseOptions,
    *,
    progress: Callable[[int], None],
) -> pl.DataFrame:
    """Choose heads on one half; zero them, and random ones, at the last tokens of the other half.

    `rows` are those of the head sweep, of this model and `CHOOSING_METHOD`; `chosen_on` holds the
    scenarios of the first half, `cases` all scored pairs of the other. `progress` is called with the
    number of pairs just done.

    Returns:
        One row per set and measure: `set` (`chosen`, `random_1`, ...), `heads`, `measure`, `before`,
        `after`, `change`, `low`, `high` (interval of the change), `n_pairs`, `n_scenarios`. Measures
        are those of `misfired.summarize`, `recovery_rate` (percent of failures that turn right), and
        `kept` (percent of right answers that stay right). All in percent.

    Raises:
        ArgumentError: The model has too few other heads to compare with.
        DataError: The half on which heads are chosen has no failures.
    """
    chosen = choose_heads(rows, chosen_on, n_heads=options.n_heads)
    others = random_heads(probe, chosen, n_sets=options.n_random, seed=options.seed)
    sets = {"chosen": chosen, **{f"random_{i}": other for i, other in enumerate(others, 1)}}
    before, after = [], []
    for chunk in chunks(probe, cases):
        runs = Interventions(chunk)
        for heads, (slot, prompt) in product(sets.values(), enumerate(chunk.prompts)):
            job = runs.add(slot)
            for layer, head in heads:
                runs.zero(job, "attention", layer, prompt.last, probe.head_columns(head))
        before.append(chunk.margins.reshape(-1, 2))
        after.append(runs.margins().reshape(len(sets), -1, 2))
        progress(len(chunk.cases))
    changed = np.concatenate(after, axis=1)
    table = []
    for margins, (name, heads) in zip(changed, sets.items(), strict=True):
        keys = {"set": name, "heads": " ".join(f"{layer}.{head}" for layer, head in heads)}
        changes = _changes(cases, np.concatenate(before), margins, options)
        table += [{**keys, **row} for row in changes]
    return pl.DataFrame(table, infer_schema_length=None)


def _changes(
    cases: Sequence[Case], before: Floats, after: Floats, options: LocaliseOptions
) -> list[dict[str, Any]]:
    """Return one row per measure: `measure`, `before`, `after`, `change`, interval, counts."""
    pairs = pl.DataFrame([case.keys for case in cases]).with_columns(reason=pl.lit(None, pl.String))
    outcomes = pl.concat(
        pairs.with_columns(
            priming=pl.lit(name), stereotyped=margins[:, 0] > 0, contrast=margins[:, 1] > 0
        )
        for name, margins in (("none", before), ("x", after))
    )
    summary = summarize(outcomes, unit="scenario", **options.statistics).filter(slice="overall")
    found = {(r["priming"], r["measure"]): r for r in summary.iter_rows(named=True)}
    rows: list[dict[str, Any]] = []
    for measure in REPORTED:
        change = found["x - none", f"{measure}_change"]
        start, end = (found[name, measure]["value"] for name in ("none", "x"))
        row = {"measure": measure, "before": start, "after": end, "change": change["value"]}
        rows.append(row | {key: change[key] for key in ("low", "high", "n_pairs", "n_scenarios")})
    right, still = before > 0, after > 0
    failed = right[:, 1] & ~right[:, 0]
    shares = {
        "recovery_rate": (0.0, failed & still[:, 0], failed),
        "kept": (100.0, (right & still).sum(axis=1), right.sum(axis=1)),
    }
    for measure, (start, part, whole) in shares.items():
        counts = np.stack([part, whole], axis=1).astype(np.float64)
        rows.append({"measure": measure, "before": start, **_share(cases, counts, start, options)})
    return rows


def _share(
    cases: Sequence[Case], counts: Floats, start: float, options: LocaliseOptions
) -> dict[str, Any]:
    """Return 100 times part over whole, the columns of `counts`, as a change from `start`."""
    counted = counts[:, 1] > 0
    scenarios = [case.scenario for case, keep in zip(cases, counted, strict=True) if keep]
    numbers: dict[str, Any] = dict.fromkeys(("after", "change", "low", "high"))
    if scenarios:
        found = mean_interval(
            counts[counted],
            scenarios,
            lambda means: 100.0 * means[..., :1] / means[..., 1:] - start,
            **options.statistics,
        )
        change, low, high = (float(each[0]) for each in (found.value, found.low, found.high))
        numbers = {"after": start + change, "change": change, "low": low, "high": high}
    return {**numbers, "n_pairs": len(scenarios), "n_scenarios": len(set(scenarios))}
