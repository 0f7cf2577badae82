"""The data of the list of pairs, as compact JSON: text that both prompts share is written once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from misfired.prompts.primings import Priming
from misfired.report.figures.rates import OUTCOMES
from misfired.report.measured import Measured, judged_pairs
from misfired.suites.difference import shared_and_own

#: Signs of a generated text that the page keeps.
_LONGEST = 400
_SIDES = ("stereotyped", "contrast")


@dataclass
class Explorer:
    """Pairs and rows of several runs; a pair that several runs asked is there once."""

    with_text: bool
    runs: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    primings: list[Priming] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    _places: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _asked: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Sequence[Measured], *, with_text: bool = True) -> "Explorer":
        """Return the data of runs; without text, no prompt, cue or name of a group."""
        found = cls(with_text)
        found.categories = sorted({str(name) for run in runs for name in run.outcomes["category"]})
        for run in runs:
            found._add(run)
        if with_text:
            for pair, row in zip(found.pairs, found._asked, strict=True):
                pair["cues"] = [each.text or row.get(each.column or "") for each in found.primings]
        return found

    def to_json(self) -> str:
        """Return the data as JSON for an HTML page: no `<`, so that no text can end its block."""
        content = {
            "runs": self.runs,
            "categories": self.categories,
            "primings": [
                {"name": priming.name, "sides": [side in priming.sides for side in _SIDES]}
                for priming in self.primings
            ],
            "pairs": self.pairs,
            "rows": self.rows,
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")

    def _add(self, run: Measured) -> None:
        number = len(self.runs)
        self.runs.append(run.name)
        # Two of one name that differ in their sentence stay two.
        asked = run.manifest.settings.primings
        self.primings += [priming for priming in asked if priming not in self.primings]
        places = {row["id"]: self._place(at, row) for at, row in _asked(run)}
        primings = {priming.name: self.primings.index(priming) for priming in asked}
        verdicts = {name: at for at, name in enumerate(OUTCOMES)}
        order = {name: at for at, name in enumerate(places)}
        judged = judged_pairs(run).with_columns(
            pl.col("margin_stereotyped", "margin_contrast").round(3),
            _order=pl.col("id").replace_strict(order, return_dtype=pl.Int64),
        )
        for row in judged.sort("_order", maintain_order=True).iter_rows(named=True):
            self.rows.append([
                number, places[row["id"]], primings[row["priming"]], verdicts[row["verdict"]],
                *([row[f"{name}_{side}"] for side in _SIDES] for name in ("answer", "margin")),
                *([[_cut(row[f"text_{side}"]) for side in _SIDES]] if "text_contrast" in row and self.with_text else []),
            ])  # fmt: skip

    def _place(self, number: int, row: dict[str, Any]) -> int:
        """Return the place of a pair among all pairs, which it joins if it is new."""
        key = (row["id"], row.get("stereotyped"), row.get("contrast"), row["category"])
        if key in self._places:
            return self._places[key]
        self._places[key] = len(self.pairs)
        self._asked.append(row)
        pair: dict[str, Any] = {
            "name": str(row["id"]) if self.with_text else f"pair {number}",
            "category": self.categories.index(row["category"]),
            "expected": [row[f"expected_{side}"] for side in _SIDES],
            "cues": [],
        }
        if self.with_text and "stereotyped" in row:
            pair["groups"] = [row[f"{side}_group"] for side in _SIDES]
            pair["text"] = shared_and_own(row["stereotyped"], row["contrast"])
        self.pairs.append(pair)
        return len(self.pairs) - 1


def _cut(text: str | None) -> str | None:
    """Return a text that the model wrote, its end where it is long: there stands the answer."""
    return text if text is None or len(text) <= _LONGEST else f"... {text[-_LONGEST:]}"


def _asked(run: Measured) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the pairs of a run, twins apart, with their row; without their file, what the answers tell."""
    pairs = run.pairs
    if pairs is None:
        told = run.answers.select("id", "category", "condition", "expected")
        sides = told.unique(["id", "condition"], maintain_order=True)
        wide = sides.pivot("condition", index=["id", "category"], values="expected")
        pairs = wide.rename({side: f"expected_{side}" for side in _SIDES})
    asked = set(run.outcomes["id"])
    return (
        (at, row) for at, row in enumerate(pairs.iter_rows(named=True), 1) if row["id"] in asked
    )
