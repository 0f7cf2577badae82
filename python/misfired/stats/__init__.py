"""Intervals, tests and planning for paired outcomes, from a run or from plain arrays."""

from misfired.stats.agreement import Agreement, agreement
from misfired.stats.bounds import Bounds, mar_bounds, upper_bound
from misfired.stats.comparison import compare, leaderboard
from misfired.stats.detection import by_expected, signal_detection
from misfired.stats.families import study_tests
from misfired.stats.identity import check_published
from misfired.stats.planning import (
    Clustering,
    clustering,
    interval_width,
    minimum_detectable,
    power,
    sample_size,
)
from misfired.stats.priming import controlled_primings, priming_contrasts
from misfired.stats.proportion import proportion_interval
from misfired.stats.resampling import bootstrap
from misfired.stats.results import Bootstrap, Estimate, TestResult
from misfired.stats.summary import summarize
from misfired.stats.testing import adjust, mcnemar, permutation_test
from misfired.stats.variants import compare_variants

__all__ = [
    "Agreement",
    "Bootstrap",
    "Bounds",
    "Clustering",
    "Estimate",
    "TestResult",
    "adjust",
    "agreement",
    "bootstrap",
    "by_expected",
    "check_published",
    "clustering",
    "compare",
    "compare_variants",
    "controlled_primings",
    "interval_width",
    "leaderboard",
    "mar_bounds",
    "mcnemar",
    "minimum_detectable",
    "permutation_test",
    "power",
    "priming_contrasts",
    "proportion_interval",
    "sample_size",
    "signal_detection",
    "study_tests",
    "summarize",
    "upper_bound",
]
