"""What the design of a run allows beyond its summary: contrasts of primings, and signal detection."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from misfired.stats import (
    Verdict,
    by_expected,
    controlled_primings,
    evidence,
    priming_contrasts,
    signal_detection,
    verdict,
)
from misfired.stats.columns import TOTAL
from misfired.stats.detection import DETECTION_SCHEMA, EXPECTED_SCHEMA
from misfired.stats.outcomes import build_outcomes
from misfired.stats.priming import CONTRASTS_SCHEMA
from misfired.stats.verdict import verdict_priming
from misfired.suites.twins import checks_reading


@dataclass(frozen=True)
class Analyses:
    """Tables of a run; those that its design does not allow are empty.

    `contrasts` of primings with controls are by `misfired.stats.priming_contrasts`. Where both yes and no
    are expected, `detection` is by `misfired.stats.signal_detection`, `expected` by `by_expected`.
    `evidence` is by `misfired.stats.evidence`, and `verdict` is of the priming `none`, or of the first.
    """

    contrasts: pl.DataFrame
    detection: pl.DataFrame
    expected: pl.DataFrame
    evidence: pl.DataFrame
    verdict: Verdict

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of each table, as `analyses.json` holds them."""
        tables = ("contrasts", "detection", "expected")
        return {name: getattr(self, name).to_dicts() for name in tables}

    def summary_rows(self, summary: pl.DataFrame) -> list[dict[str, Any]]:
        """Return the rows of `summary.json`: those of `summarize`, of `evidence`, and the verdict's."""
        rows = [*summary.to_dicts(), *self.evidence.to_dicts()]
        blank = dict.fromkeys(summary.columns) | {
            "slice": TOTAL,
            "total": True,
            "measure": "verdict",
        }
        return [*rows, blank | {"priming": self.verdict.priming, "verdict": self.verdict.to_dict()}]


def analyse(
    answers: pl.DataFrame, outcomes: pl.DataFrame | None = None, **options: Any
) -> Analyses:
    """Compute what the design of a run allows; `options` are those of `misfired.summarize`.

    `outcomes` are what `build_outcomes` makes of the answers, if that is known.
    """
    found = verdict(answers, priming=verdict_priming(answers), **options)
    measured = evidence(answers, **options)
    # Twins that check the reading are too few for the rates of a design.
    answers = answers.filter(~checks_reading(answers))
    schemas = (CONTRASTS_SCHEMA, DETECTION_SCHEMA, EXPECTED_SCHEMA)
    contrasts, detection, expected = (pl.DataFrame(schema=schema) for schema in schemas)
    if controlled := controlled_primings(answers):
        control, primings = controlled
        outcomes = build_outcomes(answers) if outcomes is None else outcomes
        contrasts = priming_contrasts(outcomes, control=control, primings=primings, **options)
    if set(answers["expected"]) == {"yes", "no"} and set(answers["answer"]) <= {"yes", "no", None}:
        expected = by_expected(answers, **options)
        options.pop("stratified", None)
        detection = signal_detection(answers, **options)
    return Analyses(contrasts, detection, expected, measured, found)
