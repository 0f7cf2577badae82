"""Several runs side by side: one table, charts of all, and the differences of the first to each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from misfired.errors import DataError
from misfired.report.figures import runs as figures
from misfired.report.figures.select import Selected, side_by_side
from misfired.report.measured import Measured
from misfired.report.stats import shared_words
from misfired.report.verdict import in_short
from misfired.stats import compare
from misfired.stats.sharing import shared_pairs

_RATES = {
    "mar_joint": "joint MAR (%)",
    "br": "bias rate (%)",
    "accuracy_stereotyped": "accuracy, stereotyped (%)",
    "accuracy_contrast": "accuracy, contrast (%)",
}


@dataclass
class Together:
    """What is said of several runs: a table with a line each, charts, and sentences."""

    table: pl.DataFrame
    charts: Selected
    words: list[str] = field(default_factory=list)


def together(runs: Sequence[Measured]) -> Together:
    """Return runs side by side; differences are those of the first run minus each other one."""
    found = Together(_table(runs), side_by_side(runs))
    first, *others = runs
    for other in others:
        shared = shared_pairs(first.outcomes, other.outcomes)
        both = f"{first.name} and {other.name}"
        try:
            shared.check(first.name, other.name)
            compared = compare(first.outcomes, other.outcomes, rng=first.manifest.settings.seed)
        except DataError as error:
            found.words.append(f"Not compared: {error}.")
            continue
        found.words.append(f"{both}. {shared_words(shared)}")
        found.charts.add(figures.differences(compared, first.name, other.name), "value")
    return found


def _table(runs: Sequence[Measured]) -> pl.DataFrame:
    lines = []
    for run, mar in zip(runs, figures.mar_of(runs).iter_rows(named=True), strict=True):
        rows = run.summary.filter(total=True, priming=run.priming)
        line: dict[str, Any] = {
            "run": run.name,
            "verdict": in_short(run.verdict)[0],
            "priming": run.priming,
        }
        line |= {
            "pairs": run.outcomes["id"].n_unique(),
            "MAR (%)": mar["value"],
            "from": mar["low"],
            "to": mar["high"],
        }
        for measure, words in _RATES.items():
            row = rows.filter(measure=measure).row(0, named=True)
            line[words] = None if row["withheld"] else row["value"]
        lines.append(line)
    return pl.DataFrame(lines, infer_schema_length=None)
