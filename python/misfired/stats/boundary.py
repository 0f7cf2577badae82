"""What a measure could be if answers near the boundary had come out otherwise."""

import polars as pl

from misfired.labels import checked
from misfired.stats.outcomes import build_outcomes

#: Columns that decide an answer: the distance from 0 says how clear it is.
_DECISIONS = ("logit_diff", "margin", "least_gap")


def mar_range(answers: pl.DataFrame, noise: float) -> dict[str, tuple[float, float] | None]:
    """Return for each priming the lowest and the highest MAR if all answers within `noise` could flip.

    Each of them is taken as right or wrong, whichever makes MAR = 100 c / (a + c) lowest, then highest.
    None where no contrast answer could be right. It bounds what rounding can do, and says nothing of the
    draw of pairs.

    Args:
        answers: As `build_outcomes` takes them, with `logit_diff`, `margin` or `least_gap`.
        noise: Largest change of that column, in its unit.

    Example:
        >>> answers = pl.DataFrame({
        ...     "id": ["p", "p", "q", "q"], "category": ["Age"] * 4, "scenario": ["s"] * 4,
        ...     "priming": ["none"] * 4, "condition": ["stereotyped", "contrast"] * 2,
        ...     "outcome": ["correct"] * 4, "reason": [None] * 4,
        ...     "logit_diff": [0.05, 2.0, 3.0, 4.0],
        ... }, schema_overrides={"reason": pl.String})
        >>> mar_range(answers, 0.1), mar_range(answers, 0.01)
        ({'none': (0.0, 50.0)}, {'none': (0.0, 0.0)})
    """
    name = next((name for name in _DECISIONS if name in answers.columns), _DECISIONS[0])
    answers = checked(answers, [name], "answers")
    near = (
        pl.when(pl.col(name).cast(pl.Float64).abs() <= noise)
        .then(pl.lit("correct"))
        .otherwise(pl.lit("wrong"))
    )
    is_near = build_outcomes(answers.with_columns(outcome=near))
    pairs = build_outcomes(answers).with_columns(
        near_s=is_near["stereotyped"], near_c=is_near["contrast"]
    )
    pairs = pairs.drop_nulls(["stereotyped", "contrast"])
    s, c, near_s, near_c = (
        pl.col(each) for each in ("stereotyped", "contrast", "near_s", "near_c")
    )
    right = c | near_c  # may count: the contrast answer can be right
    out = ~c | near_c  # may be left out: it can be wrong
    fails, holds = right & (~s | near_s), right & (s | near_s)
    found: dict[str, tuple[float, float] | None] = {}
    for (priming,), part in pairs.group_by("priming", maintain_order=True):
        counted = {
            "n_low": holds | (fails & ~out),
            "c_low": fails & ~holds & ~out,
            "n_high": fails | (holds & ~out),
            "c_high": fails,
        }
        n_low, c_low, n_high, c_high = part.select(**counted).sum().row(0)
        if not (n_low or n_high):
            found[str(priming)] = None
            continue
        low = 100 * c_low / n_low if n_low else 100.0
        found[str(priming)] = low, (100 * c_high / n_high if n_high else 0.0)
    return found
