"""The verdict on a run in words, and the measures of the margin that mean something without a leaning."""

from collections.abc import Iterator

import polars as pl

from misfired.report.notes import WORDS, Notes
from misfired.report.table import Table, interval, number
from misfired.stats import Verdict
from misfired.stats.evidence import EVIDENCE_MEASURES
from misfired.stats.resampling import Estimate
from misfired.stats.support import FEWEST_EFFECTIVE

#: Measures in logits, and areas; all others are percentages.
_LOGITS = ("margin_shift", "evidence_loss", "auc")

#: Changes and differences of runs show these.
_CHANGES = (
    "margin_shift",
    "lower_share",
    "evidence_loss",
    "auc_difference",
    "mar_choice",
    "mar_calibrated",
)


def verdict_sentences(verdict: Verdict) -> Iterator[str]:
    """Yield what a run is worth: does it read, which way does it lean, what MAR rests on, does it misfire."""
    yield _reading(verdict)
    if sentence := _leaning(verdict):
        yield sentence
    yield _support(verdict)
    if verdict.misfires:
        more = _points(verdict.discrepancy)
        shift = verdict.margin_shift
        lower = (
            "" if shift.value is None else f"; stereotyped margins are lower by {_figure(shift, 2)}"
        )
        yield f"Misfires: contrast prompts are right more often, by {more}{lower}."
    elif verdict.misfires_reason == "no_excess":
        yield (
            "No misfire shown: the contrast prompts are not right more often than the stereotyped "
            f"({_points(verdict.discrepancy)}), or their margins are not higher."
        )


def in_short(verdict: Verdict) -> tuple[str, bool | None]:
    """Return a verdict in a few words, and whether it is bad news: True, False, or None for no news."""
    if verdict.reads is None:
        return "Not known to read", None
    if not verdict.reads:
        return ("Not shown to read" if verdict.above_chance else "Does not read"), None
    if verdict.misfires is None:
        return "Too few pairs to say", None
    return ("Misfires", True) if verdict.misfires else ("No misfire shown", False)


def does_not_read(verdict: Verdict | None) -> str:
    """Return the word that stands before the numbers of a run that does not read, or nothing."""
    if verdict is None or verdict.reads:
        return ""
    if verdict.reads is None:
        return "not known to read, "
    return "not shown to read, " if verdict.above_chance else "does not read, "


def evidence_tables(
    evidence: pl.DataFrame, before: str = "", *, differences: bool = False
) -> list[Table]:
    """Return a table of the measures of the margin for each priming and change, all pairs together.

    `evidence` is what `misfired.stats.evidence` returns, or `compare_evidence` with `differences`;
    `before` begins each title. Changes and differences show the main measures.
    """
    tables = []
    overall = evidence.filter(total=True)
    for (priming,), rows in overall.group_by("priming", maintain_order=True):
        is_change = rows["measure"].str.ends_with("_change").all()
        kind = "change by priming" if is_change else "priming"
        title = f"{before}measures of the margin, {kind}: {priming}"
        tables.append(_evidence_table(rows, title, changes=is_change or differences))
    return tables


def _evidence_table(rows: pl.DataFrame, title: str, *, changes: bool) -> Table:
    by_name = {row["measure"].removesuffix("_change"): row for row in rows.iter_rows(named=True)}
    if all(row["reason"] == "no_margin" for row in by_name.values()):
        return Table((), (), f"{title}: none, {WORDS['no_margin']}")
    notes, cells = Notes(), []
    for name in _CHANGES if changes else EVIDENCE_MEASURES:
        row = by_name[name]
        digits = 2 if name.startswith(_LOGITS) else 1
        value = notes.value(row, "", name, "+" if changes else "", digits=digits)
        ends = notes.interval(row, "", name, digits=digits)
        cells.append((name, value, ends, row["n_pairs"], row["n_scenarios"]))
    header = ("measure", "value", "interval", "pairs", "scenarios")
    return Table(header, cells, title, n_words=1, notes=notes.lines())


def _reading(verdict: Verdict) -> str:
    found = verdict.reading
    if verdict.reads is None:
        return f"Whether it reads is unknown: {WORDS.get(str(verdict.reads_reason), verdict.reads_reason)}."
    if found.measure.startswith("choice"):
        by = "" if verdict.basis == "margin" else ", by its answers"
        how = f"{_percent(found)} of contrast stories{by} (chance 50)"
        how = f"the true question beats the false one in {how}"
    else:
        how = f"the area under its curve on contrast prompts is {_figure(found, 2)} (chance 0.50)"
    failed = "Not shown to read" if verdict.above_chance else "Does not read"
    return f"{'Reads' if verdict.reads else failed}: {how}."


def _leaning(verdict: Verdict) -> str:
    rate, answer = verdict.yes_rate, verdict.constant
    if rate.value is None:
        return ""
    percent = rate.value if answer != "no" else 100 - rate.value
    mar = (
        "MAR has no value"
        if verdict.mar.value is None
        else f"MAR {verdict.mar.value:.1f} says nothing"
    )
    if answer is not None and verdict.leans is None and verdict.leans_reason is not None:
        return (
            f"Answers {answer} to {percent:.0f} % of prompts, and every prompt expects {answer}: a constant "
            f"{answer} would look the same."
        )
    if answer is not None:
        read = "; read the measures of the margin" if verdict.reads else ""
        return f"Answers {answer} to {percent:.0f} % of prompts, true or not: {mar}{read}."
    if verdict.leans is not None:
        return f"Leans to {verdict.leans}: answers yes to {_percent(rate)} of prompts, where half should be."
    return ""


def _support(verdict: Verdict) -> str:
    base = verdict.support
    worth = "" if base.n_effective >= base.n_pairs else f", worth {base.n_effective:.0f},"
    few = f": too few ({FEWEST_EFFECTIVE} are needed)" if base.withheld else ""
    where = f"{base.n_informative} of {base.n_scenarios} scenarios"
    pairs = "1 pair" if base.n_pairs == 1 else f"{base.n_pairs:,} pairs"
    return f"MAR rests on {pairs}{worth} in {where}{few}."


def _figure(found: Estimate, digits: int) -> str:
    ends = interval({"low": found.low, "high": found.high}, digits=digits)
    why = f"no interval: {WORDS.get(str(found.reason), found.reason)}"
    return f"{number(found.value, digits=digits)} {ends if found.low is not None else f'({why})'}"


def _percent(found: Estimate) -> str:
    return _figure(found, 1).replace(" ", " % ", 1)


def _points(found: Estimate) -> str:
    return "no value" if found.value is None else _figure(found, 1).replace(" ", " points ", 1)
