"""The pairs that two runs share: a comparison rests on no others."""

from dataclasses import dataclass

import polars as pl

from misfired.errors import DataError
from misfired.labels import checked
from misfired.stats.support import FEWEST_SCENARIOS


@dataclass(frozen=True, slots=True)
class Shared:
    """How much two runs have in common.

    Attributes:
        n_pairs: Pairs of both runs, scored or not.
        n_scenarios: Their scenarios.
        n_first: Pairs of the first run.
        n_second: Pairs of the second.
    """

    n_pairs: int
    n_scenarios: int
    n_first: int
    n_second: int

    def check(self, first: object, second: object) -> None:
        """Refuse to compare runs that share fewer than `FEWEST_SCENARIOS` scenarios.

        Raises:
            DataError: They do; `first` and `second` name the runs.
        """
        if self.n_scenarios < FEWEST_SCENARIOS:
            raise DataError(
                f"{first} and {second} must share at least {FEWEST_SCENARIOS} scenarios, got "
                f"{self.n_scenarios} ({self.n_pairs:,} of {self.n_first:,} and {self.n_second:,} pairs)"
            )


def shared_pairs(first: pl.DataFrame, second: pl.DataFrame) -> Shared:
    """Return what two frames of outcomes, or of answers, have in common.

    Args:
        first: Columns `id` and `scenario`.
        second: The same.

    Example:
        >>> one = pl.DataFrame({"id": ["a", "b", "c"], "scenario": ["s", "s", "t"]})
        >>> shared_pairs(one, one.tail(2))
        Shared(n_pairs=2, n_scenarios=2, n_first=3, n_second=2)
    """
    own, other = (
        checked(frame, ("id", "scenario"), name).select("id", "scenario").unique("id")
        for name, frame in (("first", first), ("second", second))
    )
    both = own.join(other, on="id", how="semi")
    return Shared(len(both), both["scenario"].n_unique(), len(own), len(other))
