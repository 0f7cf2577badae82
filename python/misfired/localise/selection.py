"""What of a run is studied: failures, controls, and the pairs on which ablated heads are tested."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from misfired.localise.ablation import CHOOSING_METHOD, split_scenarios, why_untested
from misfired.localise.cases import FAILED, Case, build_cases, longest
from misfired.localise.options import LocaliseOptions
from misfired.localise.reading import choose_asked
from misfired.localise.run import RunData
from misfired.prompts.primings import CONDITIONS
from misfired.scoring.llama.session import Session
from misfired.stats.means import Floats
from misfired.suites.false_questions import false_questions

#: Types of columns of the table of cases that may be null throughout.
_NULLABLE = {
    "evidence_stereotyped": pl.Float64(),
    "evidence_contrast": pl.Float64(),
    "unaligned": pl.String(),
}


@dataclass(frozen=True)
class Selection:
    """Cases of one call of `localise`.

    Attributes:
        failures: Failures under study.
        controls: Their controls.
        asked: Cases that show whether the model reads; empty where the run tells.
        chosen_on: Scenarios on which heads are chosen.
        tested: Pairs of the other scenarios, on which they are tested.
        untested: Why they are not, though heads are probed; or None.
        false_questions: How many pairs of the suite have them (`n_pairs`), and how many have not, by
            reason (`none`).
        is_evidence: True if the cases have false questions.
    """

    failures: list[Case]
    controls: list[Case]
    asked: list[Case]
    chosen_on: Collection[str]
    tested: list[Case]
    untested: str | None
    false_questions: dict[str, Any]
    is_evidence: bool

    @property
    def cases(self) -> list[Case]:
        """Failures, and then controls."""
        return [*self.failures, *self.controls]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return longest([*self.cases, *self.tested, *self.asked])

    def table(self, margins: list[Floats]) -> pl.DataFrame:
        """Return the table `cases`, from the margins of the prompts of each."""
        rows = []
        for case, values in zip(self.cases, margins, strict=True):
            sides = np.reshape(values, (-1, 2))
            evidence = sides.sum(axis=0) if len(sides) == 2 else (None, None)
            named = {
                f"{name}_{condition}": value
                for name, pair in (("margin", sides[0]), ("evidence", evidence))
                for condition, value in zip(CONDITIONS, pair, strict=True)
            }
            rows.append({**case.keys, **named, "unaligned": case.unaligned})
        return pl.DataFrame(rows, schema_overrides=_NULLABLE, infer_schema_length=None)

    def summary(self) -> dict[str, Any]:
        """Return the counts and reasons of the manifest."""
        unaligned = [case.id for case in self.cases if case.unaligned is not None]
        failing, controlled = (
            {case.category for case in cases} for cases in (self.failures, self.controls)
        )
        return {
            "n_failures": len(self.failures),
            "n_controls": len(self.controls),
            "controls_match": controlled <= failing,
            "n_tested": len(self.tested),
            "untested": self.untested,
            "quantity": "evidence" if self.is_evidence else "margin",
            "false_questions": self.false_questions,
            "n_unaligned": len(unaligned),
            "unaligned": unaligned,
        }


def select(session: Session, data: RunData, options: LocaliseOptions) -> Selection:
    """Draw the cases of a run, and build their prompts.

    Raises:
        DataError: There is no failure to study.
    """
    false = false_questions(data.pairs)
    twinned = false.drop_nulls("stereotyped")["id"].to_list()
    is_evidence = data.outcomes.filter(FAILED, pl.col("id").is_in(twinned)).height > 0

    def build(chosen: pl.DataFrame) -> list[Case]:
        asked = false if is_evidence else None
        return build_cases(data.pairs, chosen, session, data.priming, asked)

    among = twinned if is_evidence else None
    cases = build(data.choose(n_pairs=options.n_pairs, seed=options.seed, among=among))
    failures = [case for case in cases if case.kind == "failure"]
    chosen_on: list[str] = []
    tested, untested = pl.DataFrame(), None
    if "heads" in options.probes and CHOOSING_METHOD in options.head_methods:
        chosen_on, tested = split_scenarios(data.outcomes, seed=options.seed)
        untested = why_untested(failures, chosen_on, tested)
    asked = pl.DataFrame()
    if data.verdict.reads is None and is_evidence:
        asked = choose_asked(data.outcomes.filter(pl.col("id").is_in(twinned)))
    reasons = dict(false.drop_nulls("reason")["reason"].value_counts(sort=True).iter_rows())
    return Selection(
        failures=failures,
        controls=[case for case in cases if case.kind == "control"],
        asked=[] if asked.is_empty() else build(asked),
        chosen_on=chosen_on,
        tested=[] if tested.is_empty() or untested is not None else build(tested),
        untested=untested,
        false_questions={"n_pairs": len(false) - sum(reasons.values()), "none": reasons},
        is_evidence=is_evidence,
    )
