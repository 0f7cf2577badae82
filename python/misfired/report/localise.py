"""What a localisation found, as text for a terminal."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from misfired.localise import Localisation
from misfired.report.table import interval, number, text_table

#: Heads of each model that are shown.
_N_SHOWN = 5


def localisation_json(found: Localisation, out: Path) -> dict[str, Any]:
    """Return counts, checks and the small tables of a localisation, ready for JSON."""
    names = ("n_failures", "n_controls", "n_tested", "n_unaligned", "check")
    told: dict[str, Any] = {"out": str(out)} | {name: found.manifest[name] for name in names}
    tables = {name: found.tables[name] for name in _TABLES if name in found.tables}
    return told | {name: json.loads(table.write_json()) for name, table in tables.items()}


def localisation_report(found: Localisation, out: Path) -> str:
    """Return counts, the noise floor and the small tables of a localisation."""
    counts = found.manifest
    moved = max(check["redecoding"] for check in counts["check"].values())
    head = (
        f"{counts['n_failures']} failures, {counts['n_controls']} controls; persons not aligned in "
        f"{counts['n_unaligned']}\n"
        f"noise floor: {moved:.1g} logits (re-decoding); ignore smaller effects"
    )
    tables = [show(found.tables[name]) for name, show in _TABLES.items() if name in found.tables]
    return "\n\n".join([head, *tables, f"tables, figures and manifest in {out}"])


def _figures(figures: pl.DataFrame) -> str:
    shown = figures.filter(pl.col("kind") == "failure", pl.col("value").is_not_null())
    rows = []
    for row in shown.iter_rows(named=True):
        probe = row["probe"] + ("" if row["model"] == "instruct" else f", {row['model']}")
        rows.append(
            (probe, row["measure"], number(row["value"], digits=2), interval(row, digits=2))
        )
    return text_table(("probe", "measure", "value", "interval"), rows)


def _heads(table: pl.DataFrame) -> str:
    shown = table.filter(pl.col("rank") <= _N_SHOWN, pl.col("method") == table["method"][0])
    names = ("model", "method", "layer", "head")
    rows = []
    for row in shown.sort("model", "rank", descending=[True, False]).iter_rows(named=True):
        values = (number(row["specificity"], digits=2), interval(row, digits=2))
        rows.append((*(row[name] for name in names), *values, "yes" if row["passes"] else "no"))
    return text_table((*names, "specificity", "interval", "passes"), rows)


def _ablation(table: pl.DataFrame) -> str:
    shown = table.filter(pl.col("measure").is_in(["mar", "recovery_rate", "kept"]))
    rows = []
    for row in shown.iter_rows(named=True):
        values = (number(row[name], digits=2) for name in ("before", "after"))
        rows.append((row["set"], row["heads"], row["measure"], *values, interval(row, digits=2)))
    return text_table(("heads ablated", "which", "measure", "before", "after", "change"), rows)


_TABLES = {"figures": _figures, "head_map": _heads, "ablation": _ablation}
