"""Why a table prints a dash, and what makes a number unsure: codes of `misfired.stats` in words."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from misfired.report.table import interval, number
from misfired.stats.support import FEWEST_EFFECTIVE, FEWEST_SCENARIOS, WIDEST

#: What the reasons and flags mean.
WORDS = {
    "no_scored_pair": "no pair has all its prompts scored",
    "no_contrast_correct": "no contrast side is right",
    "no_stereotyped_correct": "no stereotyped side is right",
    "no_expected_yes": "no prompt expects yes",
    "no_expected_no": "no prompt expects no",
    "one_unit": "one scenario or person alone has no spread",
    "constant": "nothing varies between scenarios",
    "one_sided": "all resamples lie on one side of the value",
    "unbounded": "an end of the interval is infinite",
    "not_a_rate": "the method is for rates",
    "no_margin": "answers from text alone have no margin",
    "no_twin": "no pair has a twin that expects no",
    "primed_on_one_side": "the two questions about a story are not primed alike",
    "auc_k_at_chance": "the contrast margins do not tell yes from no",
    "little_support": f"it rests on pairs worth fewer than {FEWEST_EFFECTIVE}",
    "criterion_at_limit": "some answer is given too rarely to place a criterion",
    "no_discordant_pair": "no pair has changed between the two",
    "not_tested": "a difference of changes has no test",
    "no_answers": "outcomes alone tell no answers",
    "no_answer": "no prompt has an answer of yes or no",
    "no_yes_or_no": "no prompt expects yes or no",
    "does_not_read": "the model does not read",
    "wide": f"interval wider than {WIDEST:g} points",
    "few_scenarios": f"fewer than {FEWEST_SCENARIOS} scenarios behind it",
    "at_limit": "0 or 100 is a limit, not a finding",
}


@dataclass
class Notes:
    """Collects why the cells of a table are dashes or unsure."""

    dashes: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    flags: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    places: set[str] = field(default_factory=set)

    _MANY: ClassVar[int] = 3  # Up to this number, all places are named.

    def value(
        self, row: Mapping[str, Any], column: str, place: str, sign: str = "", *, digits: int = 1
    ) -> str:
        """Return a number, with a star where it has flags, or a dash whose reason is kept."""
        self.places.add(place)
        why = row["reason"] if row["value"] is None else row.get("withheld")
        if why is not None or row["value"] is None:
            self._dash(why, column, place)
            return "-"
        for flag in (row.get("flags") or "").split(", ") if row.get("flags") else ():
            self.flags[flag].append(place)
        return number(row["value"], sign, digits=digits) + ("*" if row.get("flags") else "")

    def interval(self, row: Mapping[str, Any], column: str, place: str, *, digits: int = 1) -> str:
        """Return an interval, or a dash whose reason is kept."""
        if row["low"] is None or row.get("withheld"):
            if row["value"] is not None and not row.get("withheld"):
                self._dash(row["reason"], f"interval of {column}".removesuffix(" of "), place)
            return "-"
        return interval(row, digits=digits)

    def lines(self) -> list[str]:
        """Return a line for each reason and each flag."""
        found = []
        for reason, columns in self.dashes.items():
            alike = defaultdict(list)  # Columns by their places.
            for column, places in columns.items():
                alike[tuple(places)].append(column)
            where = "; ".join(f"{', '.join(alike[at])} ({self._named(at)})" for at in alike)
            where = where.removeprefix(" (").removesuffix(")") if "" in columns else where
            found.append(f"- {where}: {reason}, {WORDS.get(reason, 'see the documentation')}")
        for flag, places in self.flags.items():
            found.append(f"* {self._named(dict.fromkeys(places))}: {flag}, {WORDS[flag]}")
        return found

    def _named(self, places: Collection[str]) -> str:
        every = len(places) == len(self.places) > self._MANY
        return "all" if every else ", ".join(places)

    def _dash(self, reason: str | None, column: str, place: str) -> None:
        places = self.dashes[reason or "no_value"].setdefault(column, [])
        if place not in places:
            places.append(place)
