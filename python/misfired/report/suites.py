"""What is in a suite, as text for a terminal."""

import textwrap
from collections.abc import Iterable
from typing import Any

import polars as pl

from misfired.report.table import facts, page_width, text_table
from misfired.suites.difference import mark_difference
from misfired.text import named, shown

_ALL = "all"
_SWAPS = {
    "columns": "",
    "subjects": "at least ",
    "texts": "unknown without stereotyped_subject and contrast_subject",
}


def check_report(report: dict[str, Any]) -> str:
    """Return what `check_pairs` found, a line for each property."""
    n_pairs, length, swaps = (report[k] for k in ("n_pairs", "length_difference", "exact_swaps"))
    known = "" if swaps is None else _share(swaps, n_pairs)
    twins, scenarios = report["n_twins"], report["n_scenarios"]
    means = f"mean {length['mean']:+.2f}, absolute {length['mean_absolute']:.2f}"
    unlike = f"stereotyped - contrast: {means}, most {length['most']}"
    effective = (f"{n:.0f} at r = {r}" for r, n in report["n_effective"].items())
    return facts(
        [
            ("suite", report["suite"]),
            ("pairs", f"{n_pairs}, and {twins} twins, in {scenarios} scenarios"),
            ("expected answers", _listed(report["expected"])),
            ("exact swaps", _SWAPS[report["swaps_from"]] + known),
            ("tokens that differ", _listed(report["distance"])),
            ("negative questions", _share(report["negative_questions"], 2 * n_pairs)),
            ("negation anywhere", _share(report["negated"], 2 * n_pairs)),
            (f"length in {length['unit']}", unlike),
            ("duplicates", str(report["duplicates"])),
            ("known misprints", _listed(report["glitches"]) or "none"),
            ("pairs a scenario", _listed(report["scenario_size"])),
            ("effective pairs", "; ".join(effective)),
        ]
    )


def pair_counts(pairs: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return what is counted of a suite that was built; a twin is no pair of its own."""
    n_scenarios = pl.col("scenario").n_unique()
    if "twin_of" not in pairs.columns:
        return {"n_pairs": pl.len(), "n_scenarios": n_scenarios}
    is_pair = pl.col("twin_of").is_null()
    swaps = {"n_exact_swaps": (is_pair & pl.col("exact_swap")).sum(), "n_twins": (~is_pair).sum()}
    return {"n_pairs": is_pair.sum(), "n_scenarios": n_scenarios, **swaps}


def counts_report(by_category: pl.DataFrame, total: dict[str, int]) -> str:
    """Return the counts of a suite, a line for each category and one for all."""
    header = [name.removeprefix("n_").replace("_", " ") for name in by_category.columns]
    return text_table(header, [*_by_category(by_category.rows()), (_ALL, *total.values())])


def description_report(about: dict[str, Any]) -> str:
    """Return what a suite and its card say of it."""
    card = about["card"] or {"licence": "no card", "source": "no card"}
    told = [
        *(("suite", about["suite"]), ("file", about["file"])),
        *(("licence", card["licence"]), ("source", card["source"])),
        ("longest prompt", f"{about['longest_prompt']} characters"),
        ("primings", ", ".join(about["primings"])),
        ("further columns", ", ".join(about["further_columns"]) or "none"),
    ]
    header, *_ = categories = about["categories"]
    rows = _by_category(tuple(row.values()) for row in categories)
    total = (_ALL, *(about[name] for name in list(header)[1:]))
    expected = text_table(("expected", "rows"), list(about["expected"].items()))
    return "\n\n".join([facts(told), text_table(list(header), [*rows, total]), expected])


def pair_text(pair: dict[str, Any]) -> str:
    """Return a pair with its cue, the words that differ in [brackets]."""
    texts = {"cue": shown(pair["cue"] or "none", None)}
    sides = ("stereotyped", "contrast")
    for side, marked in zip(sides, mark_difference(*(pair[s] for s in sides)), strict=True):
        group, expected = (shown(pair[key]) for key in (f"{side}_group", f"expected_{side}"))
        texts[f"{side}: {group}, expected {expected}"] = shown(marked, None, lines=True)
    name, suite, category = (shown(pair[key]) for key in ("id", "suite", "category"))
    lines = [f"{name}  ({suite}, {category})"]
    for title, text in texts.items():
        folded = textwrap.wrap(text, page_width() - 4, break_on_hyphens=False)
        lines += [f"  {title}", *(f"    {line}" for line in folded)]
    return "\n".join(lines)


def _by_category(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(named(category, _ALL), *counts) for category, *counts in rows]


def _listed(counts: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:g}" for name, value in counts.items())


def _share(n: int, of: int) -> str:
    return f"{n} of {of} ({100 * n / of:.1f} %)"
