"""The 2x2 counts of contrastive pairs, and the measures that are functions of them.

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

Source: Deng et al. 2026, arXiv 2606.18656, section 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.errors import ArgumentError, DataError

__all__ = ["MEASURES", "UNSCORED", "Counts", "Value", "measures", "outcome_codes"]

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


@dataclass(frozen=True, slots=True)
class Value:
    """A number, or the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each of the four outcomes of a pair occurred.

    Attributes:
        a: Both right.
        b: Stereotyped right, contrast wrong.
        c: Stereotyped wrong, contrast right: the misfire.
        d: Both wrong.
        n_unscored: Pairs with an unscored prompt; they are in none of the four.

    Raises:
        ArgumentError: If a count is negative.

    Example:
        >>> Counts(a=80, b=5, c=10, d=5).n
        100
    """

    a: int
    b: int
    c: int
    d: int
    n_unscored: int = 0

    def __post_init__(self) -> None:
        for name in ("a", "b", "c", "d", "n_unscored"):
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name}: {getattr(self, name)}, expected at least 0")

    @property
    def n(self) -> int:
        """Pairs with both prompts scored: a + b + c + d."""
        return self.a + self.b + self.c + self.d

    @classmethod
    def from_outcomes(
        cls, stereotyped: Sequence[bool | None], contrast: Sequence[bool | None]
    ) -> "Counts":
        """Count outcomes of pairs: whether each prompt was answered correctly, None if unscored.

        Raises:
            DataError: If the two differ in length.

        Example:
            >>> Counts.from_outcomes([True, False, None], [True, True, True])
            Counts(a=1, b=0, c=1, d=0, n_unscored=1)
        """
        codes = outcome_codes(_nullable(stereotyped), _nullable(contrast))
        a, b, c, d = (int(np.count_nonzero(codes == code)) for code in range(4))
        return cls(a, b, c, d, n_unscored=len(codes) - a - b - c - d)


def measures(counts: Counts) -> Mapping[str, Value]:
    """All measures of the counts.

    Args:
        counts: The 2x2 counts.

    Returns:
        For each name in `MEASURES` its value in percent, or the reason why there is none:
        `no_scored_pair` (n = 0), `no_contrast_correct` (a + c = 0), `no_stereotyped_correct`
        (a + b = 0).

    Example:
        >>> measures(Counts(a=80, b=5, c=20, d=5))["mar"]
        Value(value=20.0, reason=None)
        >>> measures(Counts(a=0, b=5, c=0, d=5))["mar"]
        Value(value=None, reason='no_contrast_correct')
    """
    row = np.array([[counts.a, counts.b, counts.c, counts.d]], dtype=np.float64)
    values, reasons = _core.measure_values(row, list(MEASURES))
    pairs = zip(MEASURES, values[0].tolist(), reasons, strict=True)
    return MappingProxyType(
        {name: Value(None if reason else value, reason) for name, value, reason in pairs}
    )


def outcome_codes(
    stereotyped: npt.NDArray[np.float64], contrast: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """The outcome of each pair as a code: 0 = a, 1 = b, 2 = c, 3 = d, `UNSCORED`.

    Args:
        stereotyped: 1 right, 0 wrong, NaN unscored; shape [n].
        contrast: The same for the contrast prompts; shape [n].

    Returns:
        Codes, uint8, shape [n].

    Raises:
        DataError: If the two differ in length.

    Example:
        >>> outcome_codes(np.array([1.0, 0.0, np.nan]), np.array([1.0, 1.0, 1.0])).tolist()
        [0, 2, 255]
    """
    if stereotyped.shape != contrast.shape:
        raise DataError(f"contrast: {len(contrast)} outcomes, expected {len(stereotyped)}")
    scored = ~(np.isnan(stereotyped) | np.isnan(contrast))
    codes = np.full(stereotyped.shape, UNSCORED, dtype=np.uint8)
    wrong = 2 * (stereotyped[scored] == 0) + (contrast[scored] == 0)
    codes[scored] = wrong.astype(np.uint8)
    return codes


def _nullable(outcomes: Sequence[bool | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if x is None else float(x) for x in outcomes], dtype=np.float64)
