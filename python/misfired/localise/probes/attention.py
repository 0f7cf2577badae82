"""Attention from the last token to the two persons, for each head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from misfired.localise.cases import Case
from misfired.localise.held import case_rows
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.localise.probes._common import ProbeKind, by_head
from misfired.prompts.primings import CONDITIONS
from misfired.stats.means import mean_interval

PERSONS = ("asked", "other")

_SCHEMA = {
    **dict.fromkeys(("id", "category", "scenario", "kind", "condition"), pl.String),
    **dict.fromkeys(("layer", "head"), pl.Int64),
    **dict.fromkeys(PERSONS, pl.Float64),
}


def attention(probe: Probe, cases: Sequence[Case]) -> pl.DataFrame:
    """Read the attention weight from the last token to the two persons, for each head.

    Cases whose persons cannot be aligned have no rows.

    Returns:
        Columns `id`, `category`, `scenario`, `kind`, `condition`, `layer`, `head`, `asked` (weight on
        all mentions of the person asked about) and `other`.

    Raises:
        ArgumentError: The probe runs in mode `fast`, where the weights may never be computed.
    """
    LocaliseOptions(probes=["attention"], mode=probe.mode)
    aligned = [case for case in cases if case.unaligned is None]
    weights = probe.attention([prompt.ids for case in aligned for prompt in case.prompts])
    layers, numbers = np.divmod(np.arange(probe.n_layer * probe.n_head), probe.n_head)
    frames = [pl.DataFrame(schema=_SCHEMA)]
    for number, weight in enumerate(weights):
        case, side = aligned[number // 2], number % 2
        places = {person: list(getattr(case.prompts[side], person)) for person in PERSONS}
        sums = {
            person: weight[:, :, at].sum(axis=2, dtype=np.float64).reshape(-1)
            for person, at in places.items()
        }
        frames.append(
            case_rows(case, condition=CONDITIONS[side], layer=layers, head=numbers, **sums)
        )
    return pl.concat(frames)


def attention_map(rows: pl.DataFrame, options: LocaliseOptions) -> pl.DataFrame:
    """Average the attention on the person asked about and on the other, stereotyped minus contrast.

    Returns:
        Columns `kind`, `layer`, `head`, `person` (`asked` or `other`), `stereotyped`, `contrast`
        (mean weights), `difference`, `low`, `high`, `n_pairs`, `n_scenarios`; none without rows.
    """
    frames = []
    for (kind,), part in rows.group_by("kind", maintain_order=True):
        for person in PERSONS:
            left, right, scenarios, places = by_head(part, pl.col(person))
            found = mean_interval(left - right, scenarios, **options.statistics)
            named = places.select(
                pl.lit(kind).alias("kind"),
                *("layer", "head"),
                pl.lit(person).alias("person"),
                *CONDITIONS,
            )
            frames.append(
                named.with_columns(
                    pl.Series("difference", found.value),
                    pl.Series("low", found.low),
                    pl.Series("high", found.high),
                    n_pairs=pl.lit(len(left)),
                    n_scenarios=pl.lit(len(set(scenarios))),
                )
            )
    return pl.concat(frames) if frames else pl.DataFrame()


PROBE = ProbeKind(sweep_all=attention, tables={"attention_map": attention_map})
