"""Attention from the last token to the two persons, for each head."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import polars as pl

from misfired.localise.cases import QUESTIONS, Case
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes._common import ProbeKind, by_condition, head_means, interval_rows
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval

PERSONS = ("asked", "other")

_SCHEMA = {
    **dict.fromkeys(("id", "category", "scenario", "kind", "condition", "question"), pl.String),
    **dict.fromkeys(("layer", "head"), pl.Int64),
    **dict.fromkeys(PERSONS, pl.Float64),
}


def attention(probe: Probe, cases: Sequence[Case]) -> pl.DataFrame:
    """Read the attention weight from the last token to the two persons, for each head.

    Cases whose persons cannot be aligned have no rows.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `question`, `layer`, `head`, `asked`
        (weight on all mentions of the person asked about) and `other`.

    Raises:
        ArgumentError: The probe runs in mode `fast`, where the weights may never be computed.
    """
    LocaliseOptions(probes=["attention"], mode=probe.mode)
    aligned = [case for case in cases if case.unaligned is None]
    layers, numbers = np.array(probe.heads).T
    frames = [pl.DataFrame(schema=_SCHEMA)]
    # The false questions come last, where there are any.
    names = list(product(QUESTIONS, CONDITIONS))
    for case in aligned:
        # Case by case: the weights of all prompts would take gigabytes.
        weights = probe.attention([prompt.ids for prompt in case.prompts])
        for (question, condition), prompt, weight in zip(
            names, case.prompts, weights, strict=False
        ):
            parts = {name: weight[:, :, list(getattr(prompt, name))] for name in PERSONS}
            sums = {name: part.sum(axis=2, dtype=float).ravel() for name, part in parts.items()}
            keys = {"condition": condition, "question": question}
            frames.append(case.rows(**keys, layer=layers, head=numbers, **sums))
    return pl.concat(frames)


def attention_map(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Average the attention on the person asked about and on the other, stereotyped minus contrast.

    Returns:
        Columns `kind`, `question`, `layer`, `head`, `person` (`asked` or `other`), `stereotyped`,
        `contrast` (mean weights), `difference`, `low`, `high`, `n_pairs`, `n_scenarios`, `reason`; none
        without rows.
    """
    frames = []
    labels = (rows[name].unique(maintain_order=True) for name in ("kind", "question"))
    for kind, question, person in product(*labels, PERSONS):
        part = rows.filter(kind=kind, question=question)
        left, right, scenarios = by_condition(part, pl.col(person))
        found = mean_interval(left - right, scenarios, **options.statistics)
        keys = head_means(part, left, right).select(
            pl.lit(kind).alias("kind"),
            pl.lit(question).alias("question"),
            *("layer", "head"),
            pl.lit(person).alias("person"),
            *CONDITIONS,
        )
        frames.append(interval_rows(found, scenarios, **keys.to_dict()))
    if not frames:
        return pl.DataFrame()
    table = pl.concat(frames).rename({"value": "difference"})
    return table.cast({"n_pairs": pl.Int32, "n_scenarios": pl.Int32})


PROBE = ProbeKind(sweep_all=attention, tables={"attention_map": attention_map})
