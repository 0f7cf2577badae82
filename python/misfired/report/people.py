"""What is told of studies with people: their draw, who answered, and their rates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from misfired.report.notes import Notes
from misfired.report.table import Table, number, paragraph
from misfired.stats.ratings import Agreement
from misfired.stats.support import FEWEST_EFFECTIVE

#: What each scope is called.
_SCOPES = {
    "these": "these people",
    "alike": "people of their kinds",
    "any": "people at large",
    "majority": "their majority",
}
SCOPES_NOTE = (
    "these people: other scenarios; people of their kinds: also other people; people at large: also kinds of "
    "people that were not met"
)
"""What stands below tables of `people_table`."""


def study_report(about: Mapping[str, Any], folder: Path) -> str:
    """Return what was drawn, how narrow the interval can get, and what to do next."""
    counts, options, zero = about["counts"], about["options"], about["zero"]
    n_pairs, n_people = counts["n_pairs"], options["annotators"]
    expected = ", ".join(f"{answer} {n} times" for answer, n in counts["expected"].items())
    categories = ", ".join(f"{name} {n}" for name, n in counts["categories"].items())
    without = n_pairs - counts["n_foils"]
    why = (
        f" ({without} without: their texts allow none, or fewer were asked for)" if without else ""
    )
    fewest = counts["pairs_a_person"][0]
    little = f" (under {FEWEST_EFFECTIVE}: other commands withhold the MAR of one person)"
    told = [
        f"{_counted(n_pairs, 'pair')} of {_counted(counts['n_scenarios'], 'scenario')}: {categories}",
        f"{counts['n_foils']} with false questions{why}; right answers: {expected}",
        f"{_counted(n_people, 'person', 'people')}, {_range(counts['pairs_a_person'])} pairs each"
        + (little if fewest < FEWEST_EFFECTIVE else ""),
        f"{_range(counts['questions_a_person'])} questions each; pairs that go to everyone: {len(about['core'])}",
    ]
    lines = [
        *map(paragraph, told),
        "",
        "If nobody misfires, the 95 % interval of MAR will be",
        f"  0 to {zero['these']:.1f} %  for these people (by scenario: {counts['n_scenarios']})",
        f"  0 to {zero['any']:.1f} %  for people at large (by person: {n_people})"
        if n_people > 1
        else "  unknown for people at large: one person says nothing of others",
        "",
        f"Fill in {folder / 'preregistration.md'} and {folder / 'consent.md'},",
        f"then: misfired annotate serve {folder}",
    ]
    return "\n".join(lines)


def annotators_table(people: pl.DataFrame) -> Table:
    """Return who answered, and who failed attention items."""
    rows = []
    for row in people.iter_rows(named=True):
        status = row["status"] + (", excluded" if row["excluded"] else "")
        done = f"{row['n_answered']}/{row['n_questions']}"
        failed = f"{row['n_failed']}/{row['n_attention']}"
        rows.append(
            (row["annotator"], status, done, row["n_cannot_tell"], row["n_revised"], failed,
             number(row["median_seconds"]))
        )  # fmt: skip
    header = ("annotator", "status", "answered", "cannot tell", "changed", "failed", "median s")
    notes = ["failed: attention items answered wrongly, of those answered"]
    if people["excluded"].any():
        notes.append(
            "excluded: failed more attention items than the study allows; has no run folder"
        )
    return Table(header, rows, n_words=2, notes=notes)


def people_table(
    people: pl.DataFrame, measure: str = "mar", *, against: str | None = None
) -> Table:
    """Return the rows of `misfired.stats.people` of one measure, or of `people_against` a run."""
    rows, notes, sign = [], Notes(), "" if against is None else "+"
    for row in people.filter(measure=measure).iter_rows(named=True):
        name = row["annotator"] or _SCOPES[row["scope"]]
        counts = (row["n_base"], row["n_scenarios"], row["n_unscored"])
        value, ends = notes.value(row, measure, name, sign), notes.interval(row, measure, name)
        rows.append((name, value, ends, *counts))
    of, unit = "", "percent"
    if against is not None:
        of, unit = f" minus that of {against}, on the same pairs", "points"
    whose = {"mar": "a+c", "br": "a+b"}.get(measure, "n")
    header = ("claim about", measure, "interval", whose, "scen.", "unscored")
    title = f"{measure} of people{of}, {unit}"
    return Table(header, rows, title, n_words=1, notes=notes.lines())


def agreement_words(every: Agreement, core: Agreement | None) -> str:
    """Return what annotators agree on: alpha on all prompts, kappa on those that all of them answered."""
    told = [f"agreement: Krippendorff's alpha {_coefficient(every)} on {every.n_items} prompts"]
    if core is not None:
        told.append(
            f"Fleiss' kappa {_coefficient(core)} on the {core.n_items} that everyone answered"
        )
    return ", ".join(told)


def _coefficient(found: Agreement) -> str:
    if found.value is None:
        return f"unknown ({str(found.reason).replace('_', ' ')})"
    ends = "" if found.low is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{found.value:.2f}{ends}"


def _counted(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _range(ends: list[int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"
