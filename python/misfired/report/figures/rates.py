"""Charts of one run: MAR by category, its change by a priming, the counts, and the margins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from misfired.report.figures.chart import BLUE, FAINT, MUTED, PURPLE, VERMILION, Chart
from misfired.report.figures.draw import (
    beside,
    by_rows,
    by_width,
    columns,
    ends,
    file_name,
    highest,
    label,
    legend,
    named_rows,
    percent_axis,
    said,
    sliced_intervals,
    told,
)
from misfired.report.measured import Measured, judged_pairs
from misfired.report.notes import WORDS
from misfired.stats.columns import TOTAL
from misfired.text import named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Outcomes of a pair: what each is called, and its colour.
OUTCOMES = {
    "misfire": ("misfire", VERMILION),
    "reverse": ("reverse", PURPLE),
    "both_right": ("both right", BLUE),
    "both_wrong": ("both wrong", MUTED),
    "unscored": ("not scored", FAINT),
}
_ROWS = by_rows()
#: Names of slices and columns of ours; a category of such a name stands in quotes.
_OURS = (TOTAL, "run", "category")
#: Columns of the tables beside the charts.
_RATES = {
    "slice": "category",
    "value": "MAR (%)",
    "low": "from",
    "high": "to",
    "n_base": "pairs with the contrast right",
    "n_effective": "worth independent pairs",
}
_CHANGED = {
    "slice": "category",
    "before": "MAR without (%)",
    "after": "MAR with (%)",
    "change": "change (points)",
    "low": "from",
    "high": "to",
}
_SHARES = {"slice": "category", "misfire": "misfires (%)", "reverse": "reverse (%)", "n_pairs": "pairs"}  # fmt: skip


def forest(run: Measured, priming: str | None = None) -> Chart:
    """Return MAR by category with intervals, the total above; categories from high to low."""
    priming = run.priming if priming is None else priming
    numbers = _sliced(run.summary.filter(priming=priming, measure="mar"))
    known = numbers.filter(~pl.col("total"), pl.col("value").is_not_null())
    words = f"MAR of {label(run.name, 60)} by category, priming {priming}, with {level(run)} intervals. "
    words += _total(numbers)
    if known["value"].n_unique() > 1:
        ends_of = (known.row(at, named=True) for at in (0, -1))
        both = " and ".join(f"{label(row['slice'])} {said(row['value'])}" for row in ends_of)
        words += f" Highest and lowest: {both}."
    if n := numbers["withheld"].count():
        words += f" {n} without a value: {WORDS['little_support']}."
    shown = numbers.rename(_RATES).drop("total", "withheld", "reason")
    name, title = _titled(run, priming, "mar-by-category", "MAR by category")
    return Chart(name, title, words, numbers, _forest, _ROWS(len(numbers)), shown)


def _titled(run: Measured, priming: str, name: str, title: str) -> tuple[str, str]:
    """Return name and title of a chart, with the priming where it is not the leading one."""
    if priming == run.priming:
        return name, title
    return f"{name}-{file_name(priming)}", f"{title}, priming {label(priming)}"


def slices() -> pl.Expr:
    """Return the names of slices: that of a category in quotes where it is one of ours."""
    words = pl.col("slice").map_elements(lambda name: named(name, *_OURS), return_dtype=pl.String)
    return pl.when("total").then(pl.lit(TOTAL)).otherwise(words).alias("slice")


def _sliced(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of one measure: the total, then categories from high to low; withheld values null."""
    kept = rows.select(
        slices(),
        told("value", "low", "high"),
        "n_base",
        "n_effective",
        "withheld",
        "reason",
        "total",
    )
    by = ["total", "value", "slice"]
    return kept.sort(by, descending=[True, True, False], nulls_last=True, maintain_order=True)


def _total(numbers: pl.DataFrame) -> str:
    row = numbers.row(0, named=True)
    if row["value"] is None:
        return f"All together: none, {WORDS.get(row['withheld'] or row['reason'], 'no value')}."
    return f"All together: {said(row['value'])} %{ends(row)}."


def _forest(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    places = sliced_intervals(axes, numbers)
    percent_axis(axes.xaxis, "MAR (%)", most=highest(numbers, "high", "value"))
    beside(axes, places, [f"{n or 0:,}" for n in numbers["n_base"]], "pairs")


def level(run: Measured) -> str:
    """Return the level of a run's intervals, such as `95 %`."""
    how = run.manifest.settings.statistics
    return f"{100 * (0.95 if how is None else how.confidence_level):g} %"


def dumbbells(run: Measured, priming: str) -> Chart:
    """Return MAR by category without and with a priming, joined, with the paired change."""
    sides = {
        name: _sliced(run.summary.filter(priming=key, measure=measure))
        for name, key, measure in (
            ("before", "none", "mar"), ("after", priming, "mar"), ("change", f"{priming} - none", "mar_change"),
        )
    }  # fmt: skip
    numbers = sides["change"].select("slice", "total", change="value", low="low", high="high")
    for name in ("before", "after"):
        part = sides[name].select("slice", pl.col("value").alias(name))
        numbers = numbers.join(part, on="slice", how="left", maintain_order="left")
    numbers = numbers.select("slice", "total", "before", "after", "change", "low", "high")
    row = numbers.row(0, named=True)
    words = f"MAR of {label(run.name, 60)} by category without and with the priming {priming}. "
    words += "The change has no value for all together." if row["change"] is None else (
        f"All together it goes from {said(row['before'])} to {said(row['after'])} %: "
        f"{said(row['change'], '+')} points{ends(row)}, on the pairs scored under both."
    )  # fmt: skip
    name, title = f"change-by-{file_name(priming)}", f"Change of MAR by {label(priming)}"
    shown = numbers.drop("total").rename(_CHANGED)
    return Chart(name, title, words, numbers, _dumbbells, _ROWS(len(numbers) + 1), shown)


def _dumbbells(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    places = named_rows(axes, numbers["slice"].to_list(), first_apart=True)
    before, after = columns(numbers, "before", "after")
    axes.hlines(places, before, after, color=MUTED, linewidth=1.2)
    dots: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5}
    axes.plot(before, places, color=BLUE, markerfacecolor="none", label="without", **dots)
    axes.plot(after, places, color=VERMILION, label="with the priming", **dots)
    percent_axis(axes.xaxis, "MAR (%)", most=highest(numbers, "before", "after"))
    beside(axes, places, [said(value, "+") for value in numbers["change"]], "points")
    legend(figure)


def counts(run: Measured, priming: str | None = None) -> Chart:
    """Return the four outcomes of the pairs as a two-by-two table."""
    priming = run.priming if priming is None else priming
    found = judged_pairs(run).filter(priming=priming)["verdict"].value_counts()
    number: Mapping[str, int] = dict(found.iter_rows())
    scored = sum(n for name, n in number.items() if name != "unscored")
    pairs = pl.Series([number.get(name, 0) for name in OUTCOMES], dtype=pl.Int64)
    numbers = pl.DataFrame({"outcome": list(OUTCOMES), "pairs": pairs}).with_columns(
        percent=pl.when((pl.col("outcome") != "unscored") & (scored > 0)).then(
            100 * pl.col("pairs") / scored
        )
    )
    words = (
        f"Pairs of {label(run.name, 60)} by outcome, priming {priming}: {number.get('both_right', 0):,} with both "
        f"prompts right, {number.get('misfire', 0):,} misfires (contrast right, stereotyped wrong), "
        f"{number.get('reverse', 0):,} the reverse, {number.get('both_wrong', 0):,} with both wrong, "
        f"{number.get('unscored', 0):,} not scored."
    )
    name, title = _titled(run, priming, "counts", "Pairs by outcome")
    shown = numbers.with_columns(_in_words("outcome"))
    return Chart(name, title, words, numbers, _counts, by_width(0.58, 0.45), shown)


def _in_words(column: str) -> pl.Expr:
    return pl.col(column).replace({name: words for name, (words, _) in OUTCOMES.items()})


def _counts(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    rows = {row["outcome"]: row for row in numbers.iter_rows(named=True)}
    grid = {(0, 1): "both_right", (1, 1): "misfire", (0, 0): "reverse", (1, 0): "both_wrong"}
    for (x, y), name in grid.items():
        _, colour = OUTCOMES[name]
        share = (rows[name]["percent"] or 0) / 100
        axes.add_patch(_box(x, y, colour, 0.12 + 0.6 * share, strong=name == "misfire"))
        percent = "" if rows[name]["percent"] is None else f"{rows[name]['percent']:.1f} %"
        axes.text(
            x, y + 0.1, f"{rows[name]['pairs']:,}", ha="center", va="center", fontsize="xx-large"
        )
        axes.text(x, y - 0.26, f"{OUTCOMES[name][0]}\n{percent}", ha="center", va="center")
    axes.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5))
    axes.set_xticks([0, 1], ["right", "wrong"])
    axes.set_yticks([1, 0], ["right", "wrong"])
    axes.set(xlabel="stereotyped prompt", ylabel="contrast prompt")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _box(x: int, y: int, colour: str, alpha: float, *, strong: bool) -> Any:
    from matplotlib.colors import to_rgba  # noqa: PLC0415  half a second, which few commands need
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    fill = to_rgba(colour, alpha)
    edge = colour if strong else "none"
    return Rectangle(
        (x - 0.48, y - 0.48), 0.96, 0.96, facecolor=fill, edgecolor=edge, linewidth=1.5
    )


def asymmetry(run: Measured, priming: str | None = None) -> Chart | str:
    """Return misfires against the reverse by category, in percent of the scored pairs.

    Where no pair is scored, return that in words.
    """
    priming = run.priming if priming is None else priming
    judged = judged_pairs(run).filter(pl.col("priming") == priming, pl.col("verdict") != "unscored")
    if judged.is_empty():
        return f"Misfires against the reverse are not drawn: {WORDS['no_scored_pair']}."
    share = [
        (100 * (pl.col("verdict") == name).mean()).alias(name) for name in ("misfire", "reverse")
    ]
    parts = [
        judged.with_columns(total=pl.lit(total), slice=name)
        for total, name in ((True, pl.lit(TOTAL)), (False, pl.col("category")))
    ]
    found = pl.concat(parts).group_by("slice", "total").agg(*share, pl.len().alias("n_pairs"))
    found = found.sort("total", "misfire", "slice", descending=[True, True, False])
    numbers = found.with_columns(slices())
    words = f"Misfires and the reverse of {label(run.name, 60)} by category, in percent of the scored pairs, priming {priming}. "
    row = numbers.row(0, named=True)
    words += (
        f"All together: {said(row['misfire'])} % misfire, {said(row['reverse'])} % the reverse."
    )
    name, title = _titled(run, priming, "asymmetry", "Misfires against the reverse")
    shown = numbers.drop("total").rename(_SHARES)
    return Chart(name, title, words, numbers, _asymmetry, _ROWS(len(numbers) + 1), shown)


def _asymmetry(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    places = named_rows(axes, numbers["slice"].to_list(), first_apart=True)
    for name, sign in (("reverse", -1), ("misfire", 1)):
        words, colour = OUTCOMES[name]
        axes.barh(places, sign * numbers[name].to_numpy(), height=0.62, color=colour, label=words)
    right, left = (max(highest(numbers, name), 1) * 1.08 for name in ("misfire", "reverse"))
    axes.set_xlim(-max(left, right / 4), max(right, left / 4))
    axes.axvline(0, color=MUTED, linewidth=0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel("pairs (%)")
    beside(axes, places, [f"{n:,}" for n in numbers["n_pairs"]], "pairs")
    legend(figure)


def margins(run: Measured, priming: str | None = None) -> Chart | str:
    """Return the margins of the right answer, contrast against stereotyped, a point a pair.

    Where no prompt has a margin, return why in words.
    """
    priming = run.priming if priming is None else priming
    judged = judged_pairs(run).filter(priming=priming)
    both = pl.col("margin_stereotyped").is_not_null() & pl.col("margin_contrast").is_not_null()
    numbers = (
        judged.filter(both)
        .select("id", "verdict", "margin_stereotyped", "margin_contrast")
        .sort("id")
    )
    if numbers.is_empty():
        return "No margins are drawn: no pair has a margin of yes over no on both sides."
    lower = int((numbers["margin_stereotyped"] < numbers["margin_contrast"]).sum())
    words = (
        f"Margins of the right answer of {label(run.name, 60)}, priming {priming}, for {len(numbers):,} pairs: how far it leads, "
        f"in logits, on the contrast prompt (across) and the stereotyped prompt (up). Above 0 it wins. The stereotyped "
        f"margin is the lower one in {100 * lower / len(numbers):.1f} % of pairs (below the diagonal)."
    )  # fmt: skip
    if left := len(judged) - len(numbers):
        words += f" {left:,} pairs have no margin on one side at least, and are left out."
    name, title = _titled(run, priming, "margins", "Margins of both prompts")
    return Chart(name, title, words, numbers, _margins, by_width(0.85), _quantiles(numbers))


def _quantiles(numbers: pl.DataFrame) -> pl.DataFrame:
    """Return the spread of the margins by outcome; each pair's own are in the list of pairs."""
    at = {"lowest": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "highest": 1.0}
    parts = [
        numbers.group_by("verdict").agg(
            pl.lit(side).alias("prompt"), pl.len().alias("pairs"),
            *(pl.col(f"margin_{side}").quantile(q, "linear").alias(name) for name, q in at.items()),
        )
        for side in ("stereotyped", "contrast")
    ]  # fmt: skip
    order = pl.Enum(list(OUTCOMES))
    return (
        pl.concat(parts)
        .sort(pl.col("verdict").cast(order), "prompt", maintain_order=True)
        .with_columns(_in_words("verdict"))
        .rename({"verdict": "outcome"})
    )


def _margins(figure: Figure, numbers: pl.DataFrame) -> None:
    axes = figure.subplots()
    values = numbers.select("margin_contrast", "margin_stereotyped").to_numpy()
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    room = 0.05 * (high - low or 1.0)
    span = (low - room, high + room)
    axes.axhline(0, color=MUTED, linewidth=0.6)
    axes.axvline(0, color=MUTED, linewidth=0.6)
    axes.plot(span, span, linestyle=(0, (4, 3)), color=FAINT, linewidth=0.9)
    for name in reversed(OUTCOMES):
        part = numbers.filter(verdict=name)
        words, colour = OUTCOMES[name]
        if len(part):
            points = columns(part, "margin_contrast", "margin_stereotyped")
            entry = f"{words} ({len(part):,})"
            axes.plot(*points, ".", color=colour, markersize=3, label=entry, linestyle="none")
    axes.set(xlim=span, ylim=span)
    axes.set(xlabel="contrast margin (logits)", ylabel="stereotyped margin (logits)")
    axes.set_aspect("equal")
    legend(figure, markerscale=2.2, handletextpad=0.2)
