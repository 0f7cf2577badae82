"""The options of a run. Nothing here needs llama.cpp."""

from dataclasses import dataclass
from typing import Any

from misfired.scoring.options import ScoringOptions
from misfired.stats.options import DrawOptions, UnitOptions


@dataclass(frozen=True, kw_only=True)
class RunOptions(DrawOptions, UnitOptions, ScoringOptions):
    """How a model is asked, and how intervals are made."""

    @property
    def statistics(self) -> dict[str, Any]:
        """The options of the intervals, as the manifest keeps them."""
        return {name: getattr(self, name) for name in ("n_resamples", "unit", "confidence_level")}
