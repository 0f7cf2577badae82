"""Decision margins of a run, laid out by pair, and how far each scenario pulls a measure of them.

The margin is `logit_diff`, log P(yes) / P(no). Of a pair and its twin there are four: the stereotyped
and the contrast prompt of the pair, whose answer is yes, and those of the twin, whose answer is no. A
prompt and its twin ask about the same person. The twin's contrast prompt tells the story of the pair's
stereotyped prompt, and asks about the other person; so it is with the other two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError
from misfired.labels import check_once, checked
from misfired.stats._arrays import Floats, Labels, Numbers, as_groups, floats_of
from misfired.stats.outcomes import CONDITIONS
from misfired.stats.support import Support

_KEYS = ("id", "category", "scenario", "priming", "condition", "expected")
#: Squares of margins are summed; no model's log-odds come near it.
_LARGEST = 1e9
#: The prompt of each line of `Margins.cells`.
_PROMPTS = tuple((condition, expected) for expected in ("yes", "no") for condition in CONDITIONS)


@dataclass(frozen=True, eq=False)
class Margins:
    """Margins of pairs under one priming.

    Attributes:
        cells: float64 [4, n_pairs], NaN where there is none: the stereotyped and the contrast prompt
            whose answer is yes, then those of the twin, whose answer is no.
        scenario: Number of the scenario of each pair.
        category: Number of the category of each pair.
        one_sided: True if the priming is put to one side only, so that the questions about one story
            are not asked alike.
    """

    cells: Floats
    scenario: Numbers
    category: Numbers
    one_sided: bool = False

    def __post_init__(self) -> None:
        if self.largest > _LARGEST:
            raise DataError(f"margins must be within {_LARGEST:g} of 0, got {self.largest:g}")

    @classmethod
    def of(
        cls,
        stereotyped: Sequence[float] | Floats,
        contrast: Sequence[float] | Floats,
        *,
        stereotyped_no: Sequence[float] | Floats | None = None,
        contrast_no: Sequence[float] | Floats | None = None,
        scenario: Labels | None = None,
    ) -> "Margins":
        """Return the margins of pairs from plain arrays, one number for each pair.

        Without twins leave `*_no` out; without `scenario` each pair is one of its own.

        Example:
            >>> Margins.of([1.0, -2.0], [2.0, 3.0], scenario=["q1", "q2"]).has_twins
            False
        """
        n = len(stereotyped)
        cells = []
        for given in (stereotyped, contrast, stereotyped_no, contrast_no):
            numbers = np.full(n, np.nan) if given is None else floats_of(given, "margins")
            if numbers.shape != (n,):
                raise DataError(f"margins must be {n} on each side, got {numbers.size}")
            cells.append(np.where(np.isfinite(numbers), numbers, np.nan))
        labels = np.arange(n) if scenario is None else scenario
        return cls(np.stack(cells), as_groups(labels, n, "scenario"), np.zeros(n, np.uint32))

    @property
    def largest(self) -> float:
        """The largest distance of a margin from 0."""
        return float(np.nanmax(np.abs(self.cells), initial=0))

    @property
    def n_scenarios(self) -> int:
        """One more than the highest number of a scenario."""
        return int(self.scenario.max()) + 1 if len(self.scenario) else 0

    def side(self, condition: str, expected: str = "yes") -> Floats:
        """Return the margins of a condition's prompts that expect yes or no, [n_pairs]."""
        return np.asarray(self.cells[_PROMPTS.index((condition, expected))])

    @property
    def has_twins(self) -> bool:
        """True if some pair has a scored twin."""
        return bool(np.isfinite(self.cells).all(axis=0).any())

    def by_pair(self) -> "Margins":
        """Return the margins with each pair as a scenario of its own."""
        return replace(self, scenario=np.arange(len(self.scenario), dtype=np.uint32))

    def where(self, kept: npt.NDArray[Any]) -> "Margins":
        """Return the pairs of a slice."""
        scenario, category = self.scenario[kept], self.category[kept]
        return replace(self, cells=self.cells[:, kept], scenario=scenario, category=category)

    def masked(self, others: Sequence["Margins"]) -> "Margins":
        """Return the margins with NaN where another has NaN."""
        missing = np.isnan([other.cells for other in others]).any(axis=0)
        return replace(self, cells=np.where(missing, np.nan, self.cells))


class Row(NamedTuple):
    """A measure of a question in a slice."""

    value: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    method: str
    n_pairs: int
    n_scenarios: int
    n_unscored: int
    reason: str | None
    support: Support | None = None


@dataclass(frozen=True, eq=False)
class RunMargins:
    """Margins of a run, all on the same pairs.

    Attributes:
        ids: Of the pairs, ascending.
        scenarios: Of the pairs, by name.
        categories: By number.
        series: Margins by priming, "none" first.
    """

    ids: list[str]
    scenarios: list[str]
    categories: list[str]
    series: dict[str, Margins]


def margins_of_answers(answers: pl.DataFrame, *, of: str = "margin") -> RunMargins:
    """Return the margins of a run by priming.

    A twin stands beside its pair. A pair whose two prompts expect different answers is left out. A
    priming without prompts of its own on a side takes the margins of "none" there.

    Args:
        answers: As `misfired.stats.outcomes.build_outcomes` takes them, with `expected`, and `twin_of`
            and `logit_diff` where there are any. No row has a margin without `logit_diff`.
        of: "margin", or "answer": 1 for yes and -1 for no, which texts give too.

    Raises:
        DataError: A column is missing, or a prompt is there twice.
    """
    answers = checked(answers, _KEYS if of == "margin" else (*_KEYS, "answer"), "answers")
    frame = answers.with_columns(_margin=margin_of(answers) if of == "margin" else _said())
    frame = _with_items(frame)
    items = frame.select("_item", "category", "scenario").unique("_item").sort("_item")
    keys = ["priming", "_item", "condition", "expected"]
    check_once(frame, keys, "answers", told=["id"])
    scenario = as_groups(items["scenario"], len(items), "scenario")
    category = as_groups(items["category"], len(items), "category")
    primings = sorted(
        answers["priming"].unique().to_list(), key=lambda name: (name != "none", name)
    )
    asked = set(frame.select("priming", "condition").unique().rows())
    found = {}
    for priming in primings:
        sources = {s: priming if (priming, s) in asked else "none" for s in CONDITIONS}
        cells = [_cell(frame, items, sources[side], side, answer) for side, answer in _PROMPTS]
        one_sided = len(set(sources.values())) > 1
        found[priming] = Margins(np.stack(cells), scenario, category, one_sided)
    categories = items["category"].unique().sort().to_list()
    return RunMargins(items["_item"].to_list(), items["scenario"].to_list(), categories, found)


def _cell(
    frame: pl.DataFrame, items: pl.DataFrame, priming: str, side: str, expected: str
) -> Floats:
    rows = frame.filter(priming=priming, condition=side, expected=expected)
    joined = items.join(rows.select("_item", "_margin"), on="_item", how="left")
    numbers = joined.sort("_item")["_margin"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


def margin_of(answers: pl.DataFrame) -> pl.Expr:
    """Return log P(yes) / P(no), null where there is none: `logit_diff` leads with the first answer."""
    if "logit_diff" not in answers.columns:
        return pl.lit(None, pl.Float64)
    named = [name for name in answers.columns if name in {"logp_yes", "logp_no"}]
    margin = pl.col("logit_diff").cast(pl.Float64) * (-1 if named[:1] == ["logp_no"] else 1)
    return pl.when(margin.is_finite()).then(margin)


def _said() -> pl.Expr:
    return pl.col("answer").cast(pl.String).replace_strict({"yes": 1.0, "no": -1.0}, default=None)


def _with_items(answers: pl.DataFrame) -> pl.DataFrame:
    """Name the pair that a row belongs to: a twin belongs to its own pair, a second one to none."""
    even = pl.col("expected").n_unique().over("id") == 1
    frame = answers.filter(even & pl.col("expected").is_in(["yes", "no"]))
    if "twin_of" not in frame.columns:
        return frame.with_columns(_item="id")
    ids = frame.select("id", "twin_of", "expected", "scenario").unique(maintain_order=True)
    own = ids.with_columns(_item=pl.coalesce("twin_of", "id")).sort(
        pl.col("twin_of").is_not_null(), maintain_order=True
    )
    first = pl.struct("_item", "expected").is_first_distinct()
    same = pl.col("scenario") == pl.col("scenario").first().over("_item")
    item = pl.when(first & same).then("_item").otherwise("id")
    return frame.join(own.select("id", _item=item), on="id", maintain_order="left")


def why_none(name: str, series: Sequence[Margins], *, by_story: bool = False) -> str:
    """Return why a measure has no value; `by_story` if it weighs two questions about one story."""
    has = [np.isfinite(each.cells) for each in series]
    yes, no = (any(cells[half].any() for cells in has) for half in (slice(2), slice(2, 4)))
    wants_no = not name.startswith(("margin_shift", "lower_share"))
    rules = {
        "no_margin": not (yes or no),
        "no_expected_yes": not yes,
        "no_expected_no": name.startswith("auc") and not no,
        "no_twin": wants_no and not all(each.has_twins for each in series),
        "primed_on_one_side": by_story and any(each.one_sided for each in series),
        "constant": name.endswith("_standardised"),
    }
    return next((reason for reason, holds in rules.items() if holds), "no_scored_pair")
