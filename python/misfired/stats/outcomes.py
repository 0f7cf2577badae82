"""From answers to outcomes: one row per pair and priming, right or wrong on each side."""

import polars as pl

from misfired.labels import checked

OUTCOMES = ("correct", "wrong", "abstained", "unparseable", "error")
CONDITIONS = ("stereotyped", "contrast")

_KEYS = ("id", "category", "scenario", "priming")


def outcomes_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return outcomes as they are, and those of answers."""
    return build_outcomes(frame) if "condition" in frame.columns else frame


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
    answers = checked(answers, (*_KEYS, "condition", "outcome", "reason"), "answers")
    if "twin_of" in answers.columns:
        is_twin = pl.col("twin_of").is_not_null()
        answers = answers.filter(is_twin if twins else ~is_twin)
    elif twins:
        answers = answers.clear()
    outcome = pl.col("outcome")
    judged = answers.with_columns(
        right=pl.when(outcome.is_in(("correct", "wrong"))).then(outcome == "correct"),
        reason=pl.coalesce("reason", "outcome"),
    )
    rows = judged.select(_KEYS).unique(maintain_order=True)
    reasons = []
    for side in CONDITIONS:
        own = judged.filter(condition=side).select(
            "id", _from="priming", **{side: "right", f"_{side}": "reason"}
        )
        has_own = pl.col("priming").is_in(own["_from"].unique().to_list())
        source = pl.when(has_own).then("priming").otherwise(pl.lit("none"))
        rows = rows.with_columns(_from=source).join(
            own, on=["id", "_from"], how="left", maintain_order="left"
        )
        reason = pl.lit(f"{side}: ") + pl.col(f"_{side}").fill_null("not asked")
        reasons.append(pl.when(pl.col(side).is_null()).then(reason))
    reason = pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace("", None)
    return rows.select(*_KEYS, *CONDITIONS, reason=reason)
