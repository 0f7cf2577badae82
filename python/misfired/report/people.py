"""What is told of a study with people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def study_report(about: Mapping[str, Any], folder: Path) -> str:
    """Return what was drawn, how narrow the interval can get, and what to do next."""
    counts, options, zero = about["counts"], about["options"], about["zero"]
    n_pairs, n_people = counts["n_pairs"], options["annotators"]
    expected = ", ".join(f"{answer} {n} times" for answer, n in counts["expected"].items())
    without = n_pairs - counts["n_foils"]
    lines = [
        f"{n_pairs} pairs of {counts['n_scenarios']} scenarios: "
        + ", ".join(f"{name} {n}" for name, n in counts["categories"].items()),
        f"{counts['n_foils']} with false questions"
        + (
            f" ({without} without: their texts allow none, or fewer were asked for)"
            if without
            else ""
        )
        + f"; the right answers are {expected}",
        f"{n_people} people: {_range(counts['pairs_a_person'])} pairs each, "
        f"{_range(counts['questions_a_person'])} questions; {len(about['core'])} pairs go to everyone",
        "",
        "If nobody misfires, the 95 % interval of MAR will be",
        f"  0 to {zero['these']:.1f} %  for these people (by scenario: {counts['n_scenarios']})",
        f"  0 to {zero['any']:.1f} %  for people at large (by person: {n_people})",
        "",
        f"Fill in {folder / 'preregistration.md'} and {folder / 'consent.md'}, then: misfired annotate serve {folder}",
    ]
    return "\n".join(lines)


def _range(ends: list[int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"
