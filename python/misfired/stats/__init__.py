"""Intervals, tests and planning for paired outcomes, from a run or from plain arrays.

An argument outside its limits raises `ArgumentError`. Outcomes that differ in length, lack a column
or hold a value that is no outcome raise `DataError`.
Names are loaded when they are first used, so that options can be read without polars.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from misfired.stats.bounds import Bounds, mar_bounds, proportion_interval, upper_bound
    from misfired.stats.comparison import check_published, compare, compare_variants, leaderboard
    from misfired.stats.detection import by_expected, signal_detection
    from misfired.stats.families import study_tests
    from misfired.stats.planning import (
        Clustering,
        clustering,
        interval_width,
        minimum_detectable,
        power,
        sample_size,
    )
    from misfired.stats.priming import controlled_primings, priming_contrasts
    from misfired.stats.ratings import Agreement, agreement
    from misfired.stats.resampling import Bootstrap, Estimate, bootstrap
    from misfired.stats.summary import summarize
    from misfired.stats.testing import TestResult, adjust, mcnemar, permutation_test

_NAMES = {
    "bounds": "Bounds mar_bounds proportion_interval upper_bound",
    "comparison": "check_published compare compare_variants leaderboard",
    "detection": "by_expected signal_detection",
    "families": "study_tests",
    "planning": "Clustering clustering interval_width minimum_detectable power sample_size",
    "priming": "controlled_primings priming_contrasts",
    "ratings": "Agreement agreement",
    "resampling": "Bootstrap Estimate bootstrap",
    "summary": "summarize",
    "testing": "TestResult adjust mcnemar permutation_test",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Agreement", "Bootstrap", "Bounds", "Clustering", "Estimate", "TestResult", "adjust",
    "agreement", "bootstrap", "by_expected", "check_published", "clustering", "compare",
    "compare_variants", "controlled_primings", "interval_width", "leaderboard", "mar_bounds",
    "mcnemar", "minimum_detectable", "permutation_test", "power", "priming_contrasts",
    "proportion_interval", "sample_size", "signal_detection", "study_tests", "summarize",
    "upper_bound",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'misfired.stats' has no attribute {name!r}")
    return getattr(import_module(f"misfired.stats.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
