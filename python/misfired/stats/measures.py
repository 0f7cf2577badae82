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

MEASURES = (
    "mar", "mar_joint", "br", "reverse_joint", "accuracy_stereotyped", "accuracy_contrast",
    "discrepancy",
)  # fmt: skip
"""All measures, in the order in which tables show them."""

UNSCORED = 255
"""The code of a pair that is not scored, or not asked."""


def outcome_codes(
    stereotyped: npt.NDArray[np.float64], contrast: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Return 0 = a, 1 = b, 2 = c, 3 = d or `UNSCORED` for answers: 1 right, 0 wrong, NaN unscored.

    Example:
        >>> outcome_codes(np.array([1.0, 0.0, np.nan]), np.array([1.0, 1.0, 1.0])).tolist()
        [0, 2, 255]
    """
    if stereotyped.shape != contrast.shape:
        raise DataError(f"contrast must have {len(stereotyped)} outcomes, got {len(contrast)}")
    codes = np.nan_to_num(2 * (1 - stereotyped) + (1 - contrast), nan=UNSCORED)
    return codes.astype(np.uint8)
