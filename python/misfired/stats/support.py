"""What a rate rests on: the pairs behind it, how many they are worth, and over how many scenarios.

The limits follow the standards of the National Center for Health Statistics for proportions (Parker et
al. 2017, Vital Health Stat 2(175)): at least 30 effective observations, an interval narrower than 30
points, at least 8 degrees of freedom, and a look at every rate of 0 or 100.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from misfired.errors import check_one_of
from misfired.stats._arrays import Codes, Floats, Labels, as_groups, floats_of
from misfired.types import checks_types

FEWEST_EFFECTIVE = 30
"""Below it a rate is withheld, with the reason `little_support`."""

FEWEST_SCENARIOS = 8
"""Below it a rate has the flag `few_scenarios`."""

WIDEST = 30.0
"""An interval wider than this, in points, has the flag `wide`."""

#: The outcomes in the numerator and in the denominator of each rate that is conditional.
CELLS = {
    "mar": ((2,), (0, 2)),
    "br": ((1,), (0, 1)),
    "mar_joint": ((2,), (0, 1, 2, 3)),
    "reverse_joint": ((1,), (0, 1, 2, 3)),
    "accuracy_stereotyped": ((0, 1), (0, 1, 2, 3)),
    "accuracy_contrast": ((0, 2), (0, 1, 2, 3)),
}

SUPPORTED = tuple(CELLS)
"""The rates that have a support."""

CONDITIONAL = ("mar", "br")
"""Those that rest on a part of the pairs; a table withholds them where it is small."""


@dataclass(frozen=True, slots=True)
class Support:
    """The base of a rate.

    Attributes:
        n_pairs: Pairs in the denominator; a + c of MAR.
        n_effective: Independent pairs that they are worth: n_pairs over the design effect, which is at
            least 1 (Korn and Graubard 1998). At 0 and 100 nothing varies, and it is n_pairs.
        n_scenarios: Scenarios of the run.
        n_informative: Scenarios with a pair in the denominator.
    """

    n_pairs: int
    n_effective: float
    n_scenarios: int
    n_informative: int

    @property
    def withheld(self) -> str | None:
        """`little_support` if a table should not print the rate."""
        return "little_support" if self.n_effective < FEWEST_EFFECTIVE else None

    def shared_by(self, n_copies: int) -> "Support":
        """Return the support of pairs of which there are several copies each."""
        n = self.n_pairs / n_copies
        return Support(round(n), min(self.n_effective, n), self.n_scenarios, self.n_informative)

    def flags(self, value: float | None, low: float | None, high: float | None) -> tuple[str, ...]:
        """Return the flags of the rate: `wide`, `few_scenarios`, `at_limit`."""
        known = {
            "wide": low is not None and high is not None and high - low > WIDEST,
            "few_scenarios": self.n_informative < FEWEST_SCENARIOS,
            "at_limit": value in {0.0, 100.0},
        }
        return tuple(name for name, holds in known.items() if holds and value is not None)


def in_rate(codes: Codes, measure: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which outcome codes are in the numerator of a rate, and which in its denominator."""
    hits, base = (np.isin(codes, cells) for cells in CELLS[measure])
    return hits, base


def rate_of(counts: Floats, measure: str) -> float | None:
    """Return a rate in percent of counts (a, b, c, d); None where its denominator is 0.

    Example:
        >>> rate_of(np.array([6.0, 1, 2, 1]), "mar")
        25.0
    """
    hits, base = (float(counts[list(cells)].sum()) for cells in CELLS[measure])
    return 100 * hits / base if base else None


@checks_types
def support_of(codes: Codes, scenario: Labels, measure: str = "mar") -> Support:
    """Return what a rate of outcome codes rests on.

    Args:
        codes: `misfired.stats.measures.outcome_codes` of the pairs, uint8 [n_pairs].
        scenario: Scenario of each pair.
        measure: A rate: any measure but `discrepancy`.

    Example:
        >>> codes = np.array([0, 2, 0, 3, 255], np.uint8)
        >>> support_of(codes, np.array([0, 0, 1, 1, 2], np.uint32))
        Support(n_pairs=3, n_effective=3.0, n_scenarios=3, n_informative=2)
    """
    check_one_of("measure", measure, CELLS)
    codes = floats_of(codes, "codes").astype(np.uint8)
    scenario = as_groups(scenario, len(codes), "scenario")
    hits, base = in_rate(codes, measure)
    n, n_scenarios = int(base.sum()), len(np.unique(scenario))
    places, members = np.unique(scenario[base], return_inverse=True)
    effective = float(n)
    share = hits.sum() / n if n else 0.0
    if 0 < share < 1 and len(places) > 1:
        pulls = np.bincount(members, hits[base] - share) / n
        variance = len(places) / (len(places) - 1) * (pulls**2).sum()
        effective = min(share * (1 - share) / variance, n) if variance > 0 else n
    elif 0 < share < 1:
        effective = 1.0  # One scenario says nothing of how alike its pairs are.
    return Support(n, float(effective), n_scenarios, len(places))
