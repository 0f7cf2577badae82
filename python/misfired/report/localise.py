"""What a localisation found, as text for a terminal."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from misfired.localise import Localisation
from misfired.localise.reading import in_words
from misfired.report.table import interval, number, paragraph, text_table
from misfired.text import LONGEST_MESSAGE, shown

#: Heads of each model that are shown.
_N_SHOWN = 5

#: Measures of an ablation that are shown of random heads, and of the chosen ones beside them.
_OF_RANDOM = ("mar", "recovery_rate", "kept")
_OF_CHOSEN = (
    *("accuracy_stereotyped", "accuracy_contrast", "yes_rate"),
    *("choice_accuracy_s", "choice_accuracy_k"),
)
#: Why it is not known whether a run reads, in words.
_UNKNOWN = {"no_expected_no": "it asks no question whose answer is no"}
_NOTES = (
    "recovery_rate: failures that turn right, with both false questions answered rightly.",
    "choice_accuracy: stories whose true question has the larger margin of yes; 50 is chance.",
)


def localisation_json(found: Localisation, out: Path) -> dict[str, Any]:
    """Return counts, checks and the small tables of a localisation, ready for JSON."""
    names = (
        "n_failures",
        "n_controls",
        "n_tested",
        "n_unaligned",
        "quantity",
        "false_questions",
        "reading",
    )
    told = {"out": str(out)} | {name: found.manifest[name] for name in (*names, "check")}
    tables = {name: found.tables[name] for name in _TABLES if name in found.tables}
    return told | {name: json.loads(table.write_json()) for name, table in tables.items()}


def localisation_report(found: Localisation, out: Path) -> str:
    """Return counts, the noise floor and the small tables of a localisation."""
    head = "\n".join(map(paragraph, localisation_sentences(found.manifest)))
    tables = [show(found.tables[name]) for name, show in _TABLES.items() if name in found.tables]
    return "\n\n".join(
        [head, *tables, f"tables, figures and manifest in {shown(out, LONGEST_MESSAGE)}"]
    )


def localisation_sentences(manifest: dict[str, Any]) -> list[str]:
    """Return what a localisation rests on: counts, the noise floor, its quantity, and what is in doubt."""
    moved = max(check["redecoding"] for check in manifest["check"].values())
    unaligned = f"persons not aligned in {manifest['n_unaligned']}"
    sentences = [
        f"{manifest['n_failures']} failures, {manifest['n_controls']} controls; {unaligned}.",
        f"Noise floor: {moved:.1g} logits (re-decoding); ignore smaller effects.",
        _quantity(manifest),
        _doubt(manifest["reading"]),
    ]
    if not manifest.get("controls_match", True):
        sentences.append(
            "Controls are of other categories: no pair of the failures' categories is right on both prompts."
        )
    if manifest.get("untested"):
        sentences.append(f"No test of ablated heads: {manifest['untested']}.")
    return list(filter(None, sentences))


def _quantity(manifest: dict[str, Any]) -> str:
    """Say what the numbers are of, and for how many pairs there were no false questions."""
    asked, none = manifest["false_questions"]["n_pairs"], manifest["false_questions"]["none"]
    because = "; ".join(f"{reason} ({n})" for reason, n in none.items())
    if manifest["quantity"] == "margin":
        return (
            f"What follows may be a leaning: margins of the right answer alone, since no failure has a "
            f"false question about its stories: {because}."
        )
    left = f" Not studied, since they have none: {because}." if none else ""
    return (
        "Evidence: the margin of yes for the true question minus that for the false question about the "
        f"same story, for {asked} pairs.{left}"
    )


def _doubt(reading: dict[str, Any]) -> str | None:
    """Say whether the run reads, unless it does."""
    if reading["reads"] is None:
        why = _UNKNOWN.get(reading["reason"], reading["reason"])
        return f"Unknown whether this model reads its stories: {why}."
    if reading["reads"]:
        return None
    return f"This model does not read its stories ({in_words(reading)}): what follows may be a leaning."


def _figures(figures: pl.DataFrame) -> str:
    # A patch that recovers nothing is one of many; a curve that suppresses nothing is a finding.
    told = pl.col("value").is_not_null() | (pl.col("probe") == "lens")
    controls = (pl.col("measure") == "rises_then_falls") & (pl.col("model") == "instruct")
    shown = figures.filter((pl.col("kind") == "failure") & told | controls)
    rows = []
    for row in shown.iter_rows(named=True):
        probe = row["probe"] + (", controls" if row["kind"] == "control" else "")
        probe += "" if row["model"] == "instruct" else f", {row['model']}"
        rows.append((probe, row["measure"], number(row["value"], digits=2), _interval(row)))
    return text_table(("probe", "measure", "value", "interval"), rows)


def _heads(table: pl.DataFrame) -> str:
    shown = table.filter(pl.col("rank") <= _N_SHOWN, pl.col("method") == table["method"][0])
    names = ("model", "method", "layer", "head")
    rows = []
    for row in shown.sort("model", "rank", descending=[True, False]).iter_rows(named=True):
        values = (number(row["specificity"], digits=2), _interval(row))
        rows.append((*(row[name] for name in names), *values, "yes" if row["passes"] else "no"))
    return text_table((*names, "specificity", "interval", "passes"), rows)


def _ablation(table: pl.DataFrame) -> str:
    chosen = pl.col("set") == "chosen"
    shown = table.filter(
        pl.col("measure").is_in(_OF_RANDOM) | chosen & pl.col("measure").is_in(_OF_CHOSEN)
    )
    rows = []
    for row in shown.iter_rows(named=True):
        values = (number(row[name], digits=1) for name in ("before", "after"))
        rows.append((row["set"], row["heads"], row["measure"], *values, _interval(row, digits=1)))
    header = ("heads ablated", "which", "measure", "before", "after", "change")
    return "\n".join([text_table(header, rows), *map(paragraph, _NOTES)])


def _interval(row: dict[str, Any], *, digits: int = 2) -> str:
    """Return the interval of a row, or why there is none."""
    return row["reason"] or "-" if row["low"] is None else interval(row, digits=digits)


_TABLES = {"figures": _figures, "head_map": _heads, "ablation": _ablation}
