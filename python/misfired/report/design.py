"""What the design of a run lets one say beyond its summary."""

from __future__ import annotations

from typing import Any

import polars as pl
from rich.table import Table

from misfired.report.tables import contrasts_table, detection_table, expected_table
from misfired.stats import by_expected, controlled_primings, priming_contrasts, signal_detection
from misfired.stats.outcomes import build_outcomes

__all__ = ["design_tables"]


def design_tables(answers: pl.DataFrame, **options: Any) -> list[Table]:
    """Contrasts where a priming has its control; signal detection where yes and no are expected.

    Args:
        answers: One row for each prompt; without a column `condition` there is nothing to say.
        options: As for `summarize`.
    """
    if "condition" not in answers.columns:
        return []
    tables = []
    controlled = controlled_primings(answers)
    if controlled:
        control, primings = controlled
        outcomes = build_outcomes(answers)
        found = priming_contrasts(outcomes, control=control, primings=primings, **options)
        tables.append(contrasts_table(found))
    if set(answers["expected"]) == {"yes", "no"} and set(answers["answer"]) <= {"yes", "no", None}:
        halves = by_expected(answers, **options)
        options.pop("stratified", None)
        detection = signal_detection(answers, **options)
        names = detection["priming"].unique(maintain_order=True)
        tables += [detection_table(detection, name) for name in names]
        tables.append(expected_table(halves, detection))
    return tables
