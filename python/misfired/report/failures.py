"""The pairs of a run that misfired, or that came out otherwise, worst margin first."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from misfired.errors import ArgumentError, check_one_of
from misfired.options import Options, one_of, option, within
from misfired.prompts.prompt_set import build_prompts
from misfired.report.measured import judged_pairs
from misfired.report.table import WIDTH, number
from misfired.runs.finished import FinishedRun
from misfired.stats.outcomes import CONDITIONS, build_outcomes
from misfired.suites.difference import differing_words, mark_difference
from misfired.text import shown

OUTCOMES = ("misfire", "reverse", "both_right", "both_wrong", "unscored")
"""What can become of a pair."""

_MARGIN = within(-1e6, 1e6)

#: What a count of them is called.
_COUNTED = {
    "misfire": "misfires",
    "reverse": "reverse misfires (stereotyped right, contrast wrong)",
    "both_right": "pairs with both right",
    "both_wrong": "pairs with both wrong",
    "unscored": "pairs not scored",
    "any": "pairs",
}

#: Order of the rows, lowest first; rows without it stand last, and equal ones in the order of the suite.
_ORDERS = {
    "margin": pl.col("margin_stereotyped"),
    "gap": pl.col("margin_stereotyped") - pl.col("margin_contrast"),
    "pair": pl.int_range(pl.len()),
}

FAILURE_COLUMNS = (
    "id", "category", "scenario", "priming", "outcome", "margin_stereotyped", "margin_contrast",
    "answer_stereotyped", "answer_contrast", "expected_stereotyped", "expected_contrast",
    "sentence_stereotyped", "sentence_contrast", "stereotyped", "contrast", "system_stereotyped",
    "system_contrast", "reason",
)  # fmt: skip
"""Columns of `failures`; a sentence is that of the priming with which the prompt of its side begins."""


@dataclass(frozen=True, kw_only=True)
class FailureOptions(Options):
    """Which pairs are listed, and in which order."""

    PANEL: ClassVar[str | None] = "Filters"

    category: list[str] | None = option(
        None, help="Pairs of this category; may be given again.", metavar="NAME"
    )
    priming: list[str] | None = option(
        None, help="Pairs under this priming; may be given again.", metavar="NAME"
    )
    outcome: str = option(
        "misfire",
        help=f"What became of a pair: {', '.join(OUTCOMES)}, or any.",
        check=one_of((*OUTCOMES, "any")),
    )
    lowest: float | None = option(
        None, help="Least stereotyped margin of a row, in logits.", check=_MARGIN
    )
    highest: float | None = option(
        None, help="Largest stereotyped margin of a row, in logits.", check=_MARGIN
    )
    search: str | None = option(
        None, help="Words that id and prompts must hold, all of them, in any case."
    )
    sort: str = option(
        "margin",
        help="Order: margin, the stereotyped margin; gap, stereotyped - contrast; pair, as in the suite.",
        check=one_of(_ORDERS),
    )

    def check_together(self) -> None:
        """Check that the lowest margin is not above the highest."""
        if None not in {self.lowest, self.highest} and self.lowest > self.highest:  # type: ignore[operator]
            raise ArgumentError(f"lowest must be at most highest {self.highest}, got {self.lowest}")


@dataclass(frozen=True)
class _Run:
    answers: pl.DataFrame
    outcomes: pl.DataFrame


def failures(run: FinishedRun, options: FailureOptions) -> pl.DataFrame:
    """Return the rows of the list, in its order.

    A margin is how far the right answer leads, so the worst is the lowest; it is null where there is none.
    The prompts are as they were asked, with the sentence of their priming; null where the folder holds
    the pairs no more.

    Raises:
        ArgumentError: A category or priming is not in the run.
    """
    judged = judged_pairs(_Run(run.answers, build_outcomes(run.answers))).rename(
        {"verdict": "outcome"}
    )
    for name in ("category", "priming"):
        for wanted in getattr(options, name) or ():
            check_one_of(name, wanted, judged[name].unique().sort().to_list())
    rows = _with_prompts(judged, run).filter(*_conditions(options))
    return rows.sort(_ORDERS[options.sort], nulls_last=True, maintain_order=True).select(
        FAILURE_COLUMNS
    )


def _with_prompts(judged: pl.DataFrame, run: FinishedRun) -> pl.DataFrame:
    """Add text and system message of each side as asked, the place in the suite, and the text to search."""
    judged = judged.drop(CONDITIONS)
    if run.pairs is None:
        texts = {name: pl.lit(None, pl.String) for name in FAILURE_COLUMNS[11:17]}
        return judged.with_columns(**texts, _searched=pl.col("id").str.to_lowercase())
    prompts = build_prompts(run.pairs, run.manifest.settings.primings)
    for side in CONDITIONS:
        asked = prompts.filter(condition=side)
        own = pl.col("priming").is_in(asked["priming"].unique().to_list())
        texts_of = asked.select("id", _from="priming", **{side: "text", f"system_{side}": "system"})
        judged = judged.with_columns(_from=pl.when(own).then("priming").otherwise(pl.lit("none")))
        judged = judged.join(texts_of, on=["id", "_from"], how="left", maintain_order="left")
        plain = run.pairs.select("id", _n=pl.col(side).str.len_chars())
        judged = judged.join(plain, on="id", how="left", maintain_order="left")
        # A priming of the user's role is put before the prompt.
        before = pl.col(side).str.head(pl.col(side).str.len_chars() - pl.col("_n"))
        sentence = before.str.strip_chars_end().replace("", None)
        judged = judged.with_columns(sentence.alias(f"sentence_{side}")).drop("_n")
    bare = pl.concat_str("id", *CONDITIONS, separator="\n", ignore_nulls=True)
    places = run.pairs.select("id", _place=pl.row_index(), _searched=bare.str.to_lowercase())
    return judged.join(places, on="id", how="left", maintain_order="left").sort(
        "_place", maintain_order=True
    )


def _conditions(options: FailureOptions) -> Iterator[pl.Expr]:
    yield pl.lit(True)
    for name in ("category", "priming"):
        if wanted := getattr(options, name):
            yield pl.col(name).is_in(wanted)
    if options.outcome != "any":
        yield pl.col("outcome") == options.outcome
    margin = pl.col("margin_stereotyped")
    if options.lowest is not None:
        yield margin >= options.lowest
    if options.highest is not None:
        yield margin <= options.highest
    for word in (options.search or "").lower().split():
        yield pl.col("_searched").str.contains(word, literal=True)


def failure_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for JSON, with the runs of words that differ between its prompts without sentences."""
    one, other = (_without_sentence(row, side) for side in CONDITIONS)
    unknown = one is None or other is None
    return {**row, "difference": None if unknown else differing_words(str(one), str(other))}


def _without_sentence(row: Mapping[str, Any], side: str) -> str | None:
    text, sentence = row[side], row[f"sentence_{side}"]
    return text if sentence is None else str(text).removeprefix(sentence).lstrip()


def failures_text(rows: pl.DataFrame, options: FailureOptions, n: int) -> str:
    """Return the first `n` rows for a terminal, both prompts with the words that differ in [brackets]."""
    more = f"; the first {n:,} shown" if len(rows) > n else ""
    parts = [f"{len(rows):,} {_COUNTED[options.outcome]}{more}"]
    parts += [_row_text(row) for row in rows.head(n).iter_rows(named=True)]
    return "\n\n".join(parts)


def _row_text(row: Mapping[str, Any]) -> str:
    kind = f", {row['outcome'].replace('_', ' ')}"
    name, category, priming = (shown(row[key]) for key in ("id", "category", "priming"))
    lines = [f"{name}  ({category}, priming {priming}{kind})"]
    texts: Sequence[str | None] = [_without_sentence(row, side) for side in CONDITIONS]
    if None not in texts:
        texts = mark_difference(*map(str, texts))
    for side, text in zip(CONDITIONS, texts, strict=True):
        answer, expected = row[f"answer_{side}"], row[f"expected_{side}"]
        said = "no answer" if answer is None else f"answer {shown(answer)}"
        margin = number(row[f"margin_{side}"], "+", digits=2)
        lines.append(f"  {side}: {said}, expected {shown(expected)}, margin {margin}")
        system = row[f"system_{side}"]
        lines += _folded(f"system: {system}") if system is not None else []
        before = row[f"sentence_{side}"]
        lines += _folded(f"before it: {before}") if before is not None else []
        lines += _folded("(the run folder holds no prompts)" if text is None else text)
    if row["reason"] is not None:
        lines += textwrap.wrap(
            f"why: {shown(row['reason'], None)}",
            WIDTH - 2,
            initial_indent="  ",
            subsequent_indent="  ",
        )
    return "\n".join(lines)


def _folded(text: str) -> list[str]:
    folded = textwrap.wrap(shown(text, None, lines=True), WIDTH - 4, break_on_hyphens=False)
    return [f"    {line}" for line in folded]
