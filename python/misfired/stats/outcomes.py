"""From answers to outcomes: one row per pair and priming, right or wrong on each side."""

from __future__ import annotations

import polars as pl

OUTCOMES = ("correct", "wrong", "abstained", "unparseable", "error")

_KEYS = ["id", "category", "scenario"]


def build_outcomes(answers: pl.DataFrame, *, twins: bool = False) -> pl.DataFrame:
    """Return the outcomes of pairs from the answers to their prompts.

    A side is right (true) or wrong (false); an answer that is neither is null and its reason is
    kept. A priming without prompts of its own on a side takes that side's outcome from priming
    `none` of the same pair.

    Args:
        answers: Columns `id`, `category`, `scenario`, `priming`, `condition`, `outcome`, `reason`;
            `twin_of` where the suite has twins.
        twins: Take the twins (rows with `twin_of`) instead of the pairs. They are never mixed: a
            right answer to a twin denies what a right answer to its pair affirms.

    Returns:
        Columns `id`, `category`, `scenario`, `priming`, `stereotyped`, `contrast` (boolean or null),
        `reason`; in the order in which pairs and primings first occur.

    Example:
        >>> answers = pl.DataFrame({
        ...     "id": ["p", "p", "p"], "category": ["Age"] * 3, "scenario": ["s"] * 3,
        ...     "priming": ["none", "none", "cue"],
        ...     "condition": ["stereotyped", "contrast", "stereotyped"],
        ...     "outcome": ["correct", "correct", "wrong"], "reason": [None, None, None],
        ... }, schema_overrides={"reason": pl.String})
        >>> build_outcomes(answers).select("priming", "stereotyped", "contrast").rows()
        [('none', True, True), ('cue', False, True)]
    """
    if "twin_of" in answers.columns:
        is_twin = pl.col("twin_of").is_not_null()
        answers = answers.filter(is_twin if twins else ~is_twin)
    elif twins:
        answers = answers.clear()
    judged = answers.with_columns(
        pl.when(pl.col("outcome") == "correct")
        .then(True)
        .when(pl.col("outcome") == "wrong")
        .then(False)
        .alias("right"),
        pl.coalesce("reason", pl.col("outcome")).alias("reason"),
    )
    rows = judged.select(*_KEYS, "priming").unique(maintain_order=True)
    for condition in ("stereotyped", "contrast"):
        rows = _add_side(rows, judged.filter(pl.col("condition") == condition), condition)
    reasons = [
        pl.when(pl.col(side).is_null()).then(pl.lit(f"{side}: ") + pl.col(f"_{side}_reason"))
        for side in ("stereotyped", "contrast")
    ]
    return rows.with_columns(
        pl.concat_str(reasons, separator="; ", ignore_nulls=True)
        .replace({"": None})
        .alias("reason")
    ).select(*_KEYS, "priming", "stereotyped", "contrast", "reason")


def _add_side(rows: pl.DataFrame, side: pl.DataFrame, condition: str) -> pl.DataFrame:
    reason = f"_{condition}_reason"
    own = side.select(
        "id", _from="priming", **{condition: pl.col("right"), reason: pl.col("reason")}
    )
    has_own = pl.col("priming").is_in(own["_from"].unique().to_list())
    source = pl.when(has_own).then("priming").otherwise(pl.lit("none"))
    joined = rows.with_columns(_from=source).join(
        own, on=["id", "_from"], how="left", maintain_order="left"
    )
    return joined.with_columns(pl.col(reason).fill_null("not asked")).drop("_from")
