"""Synthetic models: what each answers to pairs and their twins, with margins."""

import numpy as np
import polars as pl

ANSWERERS = (
    "always_yes", "always_no", "mention", "random", "reader_plus", "reader_minus", "misfire",
)  # fmt: skip


def answers_of(
    answerer: str, seed: int, *, n_scenarios: int = 60, size: int = 6, twins: bool = True
) -> pl.DataFrame:
    """Return the answers of a synthetic model to `n_scenarios` scenarios of `size` pairs each.

    Margins are evidence of 3 logits for the right answer, with noise of SD 1 by prompt, and 0.7 by story
    and by scenario; a model that does not read has the noise alone.
    """
    rng = np.random.default_rng(seed)
    n = n_scenarios * size
    shape = (n, 2, 2)  # pair, condition, expected yes or no
    story = np.repeat(rng.normal(0, 0.7, (n_scenarios, 1, 1)), size, axis=0)
    noise = rng.normal(0, 1, shape) + story + rng.normal(0, 0.7, (n, 1, 1))
    right = np.array([3.0, -3.0])
    first = np.where(rng.random((n, 1, 1)) < 0.5, right, -right)
    planted = (rng.random((n, 1, 1)) < 0.2) & np.array([[[True, False], [False, False]]])
    margins = {
        "always_yes": 6.0 + noise / 3,
        "always_no": -6.0 + noise / 3,
        # Both prompts of a pair ask about who is mentioned first, or both about the other; the twin's
        # ask the reverse.
        "mention": noise + first,
        "random": noise,
        "reader_plus": noise + right + 5,
        "reader_minus": noise + right - 5,
        "misfire": np.where(planted, -right, right) + noise,
    }[answerer]
    rows = []
    for i in range(n):
        for e, expected in enumerate(("yes", "no")[: 2 if twins else 1]):
            for c, condition in enumerate(("stereotyped", "contrast")):
                margin = float(margins[i, c, e])
                answer = "yes" if margin > 0 else "no"
                id_ = f"p{i}" + ("_no" if expected == "no" else "")
                twin_of = f"p{i}" if expected == "no" else None
                outcome = "correct" if answer == expected else "wrong"
                key = (id_, "Age", f"q{i // size}", twin_of, "none", condition)
                rows.append((*key, expected, answer, outcome, None, margin))
    names = (
        "id", "category", "scenario", "twin_of", "priming", "condition", "expected", "answer",
        "outcome", "reason", "logit_diff",
    )  # fmt: skip
    return pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"reason": pl.String})
