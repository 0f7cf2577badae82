"""The measures of contrastive pairs, which are functions of four counts.

For n pairs with both prompts scored: a = both right; b = stereotyped right, contrast wrong;
c = stereotyped wrong, contrast right (the misfire); d = both wrong. Percentages are on 0 to 100.

| measure | formula |
|---|---|
| `mar` | 100 c / (a + c), the headline: conditional on a correct contrast answer |
| `mar_joint` | 100 c / n |
| `br` | 100 b / (a + b) |
| `reverse_joint` | 100 b / n |
| `accuracy_stereotyped` | 100 (a + b) / n |
| `accuracy_contrast` | 100 (a + c) / n |
| `discrepancy` | accuracy_contrast - accuracy_stereotyped = 100 (c - b) / n |

A measure without a value has a reason: `no_scored_pair` (n = 0), `no_contrast_correct` (a + c = 0),
`no_stereotyped_correct` (a + b = 0).

Source: Deng et al. 2026, arXiv 2606.18656, section 3.
"""

import numpy as np
import numpy.typing as npt

from misfired.errors import DataError

__all__ = ["MEASURES", "UNSCORED", "outcome_codes"]

MEASURES: tuple[str, ...] = (
    "mar",
    "mar_joint",
    "br",
    "reverse_joint",
    "accuracy_stereotyped",
    "accuracy_contrast",
    "discrepancy",
)
"""All measures, in the order in which tables show them."""

UNSCORED = 255
"""The code of a pair that is not scored, or not asked."""


def outcome_codes(
    stereotyped: npt.NDArray[np.float64], contrast: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Return the outcome of each pair as a code: 0 = a, 1 = b, 2 = c, 3 = d, `UNSCORED`.

    Args:
        stereotyped: 1 right, 0 wrong, NaN unscored; shape [n].
        contrast: The same for the contrast prompts; shape [n].

    Returns:
        Codes, uint8, shape [n].

    Raises:
        DataError: The two differ in length.

    Example:
        >>> outcome_codes(np.array([1.0, 0.0, np.nan]), np.array([1.0, 1.0, 1.0])).tolist()
        [0, 2, 255]
    """
    if stereotyped.shape != contrast.shape:
        raise DataError(f"contrast must have {len(stereotyped)} outcomes, got {len(contrast)}")
    scored = ~(np.isnan(stereotyped) | np.isnan(contrast))
    codes = np.full(stereotyped.shape, UNSCORED, dtype=np.uint8)
    wrong = 2 * (stereotyped[scored] == 0) + (contrast[scored] == 0)
    codes[scored] = wrong.astype(np.uint8)
    return codes
