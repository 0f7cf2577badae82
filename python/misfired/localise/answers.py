"""Answers before and after an intervention: rates, choice, and what recovers without a leaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.localise.cases import Case
from misfired.localise.options import LocaliseOptions
from misfired.localise.probes._common import share
from misfired.stats import summarize
from misfired.stats.means import Floats, MeanInterval, mean_interval

Flags = npt.NDArray[np.bool_]

#: Measures of `misfired.summarize` that are reported before and after.
RATES = ("mar", "mar_joint", "br", "accuracy_stereotyped", "accuracy_contrast")


@dataclass(frozen=True)
class Answers:
    """The margins of the right answer in all prompts of some cases.

    Attributes:
        cases: The cases.
        margins: Shape (case, question, condition); NaN for a question that is not asked.
    """

    cases: Sequence[Case]
    margins: Floats

    @property
    def right(self) -> Flags:
        """True where the answer is right, shape (case, question, condition)."""
        return self.margins > 0

    @property
    def asked_twice(self) -> Flags:
        """True for the cases with a false question about each story."""
        return np.logical_not(np.isnan(self.margins).any(axis=(1, 2)))

    @property
    def says_yes(self) -> Flags:
        """True where the answer is yes, shape (case, question, condition)."""
        expects_yes = np.array(
            [[p.expected == "yes" for p in case.prompts[:2]] + [False] * 2 for case in self.cases]
        ).reshape(self.margins.shape)
        found: Flags = self.right == expects_yes
        return found

    @property
    def chosen_rightly(self) -> Floats:
        """For each story 1 if its true question has the larger margin of yes, 0.5 for a tie, else 0."""
        evidence: Floats = self.margins.sum(axis=1)
        found: Floats = np.heaviside(evidence, 0.5)
        return found


def measure_changes(
    before: Answers, after: Answers, options: LocaliseOptions
) -> list[dict[str, Any]]:
    """Return what an intervention changes, in percent, with intervals over scenarios.

    - `RATES` of all pairs.
    - `yes_rate`: prompts answered yes, and `choice_accuracy_s`, `choice_accuracy_k`:
      stories whose true question has the larger margin of yes than the false one. Both are of pairs with
      false questions; without any they are null with the reason `no_false_questions`.
    - `recovery_rate`: failures that turn right while the false questions about both stories are answered
      rightly. A leaning to yes recovers nothing. Where no pair has false questions, failures that turn
      right, which may be a leaning.
    - `kept`: right answers, to both questions, that stay right.

    Returns:
        One row per measure: `measure`, `before`, `after`, `change`, `low`, `high`, `n_pairs`,
        `n_scenarios`, `reason`.
    """
    rows = [*_rates(before, after, options), *_balanced(before, after, options)]
    both = before.asked_twice
    counts = both if both.any() else np.ones(len(both), np.bool_)
    failed = before.right[:, 0, 1] & ~before.right[:, 0, 0] & counts
    # A question that is not asked is not wrong.
    holds = (after.right[:, 1] | np.isnan(after.margins[:, 1])).all(axis=1)
    recovered = after.right[:, 0, 0] & holds
    owner = np.arange(len(both))[:, None, None]
    places = np.broadcast_to(owner, before.right.shape)[before.right]
    shares = {
        "recovery_rate": (0.0, recovered[failed], np.flatnonzero(failed)),
        "kept": (100.0, after.right[before.right], places),
    }
    for measure, (start, events, pairs) in shares.items():
        found = share(events, [before.cases[i].scenario for i in pairs], options)
        value = float(found.value[0])
        low, high = (_no_nan(float(each[0]) - start) for each in (found.low, found.high))
        row = {"measure": measure, "before": start, "after": _no_nan(value)}
        row |= {"change": _no_nan(value - start)}
        rows.append(
            row | {"low": low, "high": high, **_counts(before, pairs), "reason": found.reason[0]}
        )
    return rows


def _counts(answers: Answers, pairs: npt.NDArray[np.int_]) -> dict[str, int]:
    own = set(pairs.tolist())
    return {"n_pairs": len(own), "n_scenarios": len({answers.cases[i].scenario for i in own})}


def _rates(before: Answers, after: Answers, options: LocaliseOptions) -> list[dict[str, Any]]:
    pairs = pl.DataFrame([case.keys for case in before.cases])
    pairs = pairs.with_columns(reason=pl.lit(None, pl.String))
    outcomes = pl.concat(
        pairs.with_columns(priming=pl.lit(name), stereotyped=right[:, 0], contrast=right[:, 1])
        for name, right in (("none", before.right[:, 0]), ("x", after.right[:, 0]))
    )
    summary = summarize(outcomes, unit="scenario", **options.statistics).filter(total=True)
    found = {(r["priming"], r["measure"]): r for r in summary.iter_rows(named=True)}
    rows: list[dict[str, Any]] = []
    for measure in RATES:
        change = found["x - none", f"{measure}_change"]
        start, end = (found[name, measure]["value"] for name in ("none", "x"))
        row = {"measure": measure, "before": start, "after": end, "change": change["value"]}
        names = ("low", "high", "n_pairs", "n_scenarios", "reason")
        rows.append(row | {key: change[key] for key in names})
    return rows


def _balanced(before: Answers, after: Answers, options: LocaliseOptions) -> list[dict[str, Any]]:
    """Return the rows of measures of stories that are asked twice."""
    both = np.flatnonzero(before.asked_twice)
    names = ["yes_rate", "choice_accuracy_s", "choice_accuracy_k"]
    if not len(both):
        nothing: dict[str, Any] = dict.fromkeys(("before", "after", "change", "low", "high"))
        counts = {"n_pairs": 0, "n_scenarios": 0, "reason": "no_false_questions"}
        return [{"measure": name, **nothing, **counts} for name in names]
    start, end = (
        100.0 * np.column_stack([each.says_yes.mean(axis=(1, 2)), each.chosen_rightly])[both]
        for each in (before, after)
    )
    scenarios = [before.cases[i].scenario for i in both.tolist()]
    change: MeanInterval = mean_interval(end - start, scenarios, **options.statistics)
    columns = {"before": start.mean(axis=0), "after": end.mean(axis=0), "change": change.value}
    columns |= {"low": change.low, "high": change.high}
    return [
        {"measure": name}
        | {key: _no_nan(values[i]) for key, values in columns.items()}
        | {**_counts(before, both), "reason": change.reason[i]}
        for i, name in enumerate(names)
    ]


def _no_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
