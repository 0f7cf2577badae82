"""Heads chosen on one half of the pairs, ablated on the other."""

from collections.abc import Callable, Collection, Sequence
from itertools import product

import numpy as np
import polars as pl

from misfired.errors import ArgumentError
from misfired.localise.answers import Answers, measure_changes
from misfired.localise.cases import FAILED, QUESTIONS, Case
from misfired.localise.held import Chunk, Interventions, chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes.heads import specificity_of
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import Floats

#: Places (layer, head) of heads that are ablated together.
HeadSet = tuple[tuple[int, int], ...]

#: Heads are chosen by their specificity under this method.
CHOOSING_METHOD = "zero"


def split_scenarios(outcomes: pl.DataFrame, *, seed: int = 0) -> tuple[list[str], pl.DataFrame]:
    """Halve the scenarios at random within each category, apart for those with and without failures.

    Returns:
        The scenarios on which heads are chosen, and all scored pairs of the others, on which they are
        tested: columns `id`, `kind` (`failure` or `other`).
    """
    scenarios = outcomes.group_by("scenario", maintain_order=True).agg(
        pl.col("category").first(), FAILED.fill_null(value=False).any().alias("fails")
    )
    generator = np.random.default_rng(seed)
    dealt: list[str] = []
    ordered = scenarios.sort("fails", "category", descending=[True, False])
    for _, group in ordered.group_by("fails", "category", maintain_order=True):
        dealt += group["scenario"].gather(generator.permutation(len(group))).to_list()
    kind = pl.when(FAILED).then(pl.lit("failure")).otherwise(pl.lit("other")).alias("kind")
    scored = outcomes.drop_nulls(["stereotyped", "contrast"])
    return dealt[::2], scored.filter(pl.col("scenario").is_in(dealt[1::2])).select("id", kind)


def why_untested(
    failures: Sequence[Case], chosen_on: Collection[str], tested: pl.DataFrame
) -> str | None:
    """Return why no heads can be chosen on the first half and tested on the other, or None."""
    if "failure" not in tested["kind"]:
        return "all failures lie in one scenario, and heads are chosen and tested on different ones"
    if not any(case.scenario in chosen_on for case in failures):
        return "no failure was drawn in the half on which heads are chosen; n_pairs is too small"
    return None


def check_n_heads(probe: Probe, options: LocaliseOptions) -> None:
    """Refuse more heads than there are others to compare with.

    Raises:
        ArgumentError: `n_heads` is above half of the heads, or above all of them without random sets.
    """
    most, which = len(probe.heads), "all heads"
    if options.n_random:
        most, which = most // 2, "half of the heads, since as many random ones are drawn"
    if options.n_heads > most:
        raise ArgumentError(f"n_heads must be at most {most}, {which}, got {options.n_heads}")


def choose_heads(rows: pl.DataFrame, chosen_on: Collection[str], *, n_heads: int) -> HeadSet:
    """Return the most specific heads on failures of these scenarios, from rows of one model and method."""
    part = rows.filter(pl.col("scenario").is_in(chosen_on), kind="failure")
    specificity, _, places = specificity_of(part)
    order = np.argsort(-specificity.mean(axis=0), kind="stable")[:n_heads]
    return tuple(places.select("layer", "head")[order].iter_rows())


def random_heads(probe: Probe, chosen: HeadSet, *, n_sets: int, seed: int = 0) -> list[HeadSet]:
    """Draw sets of as many other heads, without replacement within a set."""
    others = [place for place in probe.heads if place not in chosen]
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
    progress: Callable[[Sequence[Case]], None],
) -> pl.DataFrame:
    """Choose heads on one half; zero them, and random ones, at the last tokens of the other half.

    `rows` are those of the head sweep, of this model and `CHOOSING_METHOD`; `chosen_on` holds the
    scenarios of the first half, `cases` all scored pairs of the other. `progress` is called with the
    cases just done.

    Returns:
        One row per set and measure: `set` (`chosen`, `random_1`, ...), `heads`, `measure`, `before`,
        `after`, `change`, `low`, `high` (interval of the change), `n_pairs`, `n_scenarios`, `reason`;
        the measures are those of `measure_changes`.
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
        before.append(_by_case(chunk, chunk.margins[None]))
        after.append(_by_case(chunk, runs.margins().reshape(len(sets), -1)))
        progress(chunk.cases)
    unchanged = Answers(cases, np.concatenate(before, axis=1)[0])
    table = []
    for margins, (name, heads) in zip(np.concatenate(after, axis=1), sets.items(), strict=True):
        keys = {"set": name, "heads": " ".join(f"{layer}.{head}" for layer, head in heads)}
        changes = measure_changes(unchanged, Answers(cases, margins), options)
        table += [{**keys, **row} for row in changes]
    return pl.DataFrame(table, schema_overrides={"reason": pl.String}, infer_schema_length=None)


def _by_case(chunk: Chunk, margins: Floats) -> Floats:
    """Return margins, shape (set, slot), as (set, case, question, condition); NaN where not asked."""
    found = np.full((len(margins), len(chunk.cases), len(QUESTIONS), len(CONDITIONS)), np.nan)
    for slot, place in enumerate(chunk.places):
        question, side = QUESTIONS.index(place.question), CONDITIONS.index(place.condition)
        found[:, place.number - chunk.first, question, side] = margins[:, slot]
    return found
