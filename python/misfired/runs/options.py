"""The options of a run. Nothing here needs llama.cpp."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from misfired.errors import ArgumentError
from misfired.options import Options, at_least, more_than, option
from misfired.scoring.options import ScoringOptions
from misfired.stats.options import DrawOptions, UnitOptions


@dataclass(frozen=True, kw_only=True)
class LimitOptions(Options):
    """How many pairs are asked."""

    limit: int | None = option(
        None,
        help="Most pairs, in proportion from every scenario; a smaller limit is part of a larger.",
        check=at_least(1),
    )


@dataclass(frozen=True, kw_only=True)
class EndingOptions(Options):
    """When a run ends before all pairs are asked. Scenarios are then asked whole, in an order drawn by seed."""

    PANEL: ClassVar[str | None] = "Ending early"

    until: float | None = option(
        None,
        help="End once half the width of MAR's interval is at most this many points.",
        check=more_than(0, 100),
        metavar="POINTS",
    )
    until_decided: float | None = option(
        None,
        help="End once MAR differs from that of `against`, or differs by less than this many points.",
        check=more_than(0, 100),
        metavar="POINTS",
    )
    against: Path | str | None = option(
        None, help="Finished run of the same pairs, for `until_decided`.", metavar="RUN"
    )
    min_scenarios: int = option(
        40, help="Scenarios that are asked before a run may end early.", check=at_least(2)
    )

    def check_together(self) -> None:
        """Refuse two rules, and half a comparison."""
        super().check_together()
        if self.until is not None and self.until_decided is not None:
            got = f"{self.until_decided:g}"
            raise ArgumentError(f"until_decided must be None with until {self.until:g}, got {got}")
        if self.until_decided is not None and self.against is None:
            raise ArgumentError("until_decided must go with against, which is None")
        if self.against is not None and self.until_decided is None:
            raise ArgumentError("against must go with until_decided, which is None")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(LimitOptions, ScoringOptions):
    """How a model is asked, and how many pairs."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(DrawOptions, UnitOptions, ScoreOptions, EndingOptions):
    """How a model is asked, and how intervals are made."""

    @property
    def statistics(self) -> dict[str, Any]:
        """The options of the intervals, as the manifest keeps them."""
        return {name: getattr(self, name) for name in ("n_resamples", "unit", "confidence_level")}
