from .bounds import Bounds, mar_bounds, proportion_interval, upper_bound
from .comparison import check_published, compare, compare_variants, leaderboard
from .detection import by_expected, signal_detection
from .families import study_tests
from .planning import Clustering, clustering, interval_width, minimum_detectable, power, sample_size
from .priming import controlled_primings, priming_contrasts
from .ratings import Agreement, agreement
from .resampling import Bootstrap, Estimate, bootstrap
from .summary import summarize
from .testing import TestResult, adjust, mcnemar, permutation_test

__all__ = [
    "Agreement", "Bootstrap", "Bounds", "Clustering", "Estimate", "TestResult", "adjust",
    "agreement", "bootstrap", "by_expected", "check_published", "clustering", "compare",
    "compare_variants", "controlled_primings", "interval_width", "leaderboard", "mar_bounds",
    "mcnemar", "minimum_detectable", "permutation_test", "power", "priming_contrasts",
    "proportion_interval", "sample_size", "signal_detection", "study_tests", "summarize",
    "upper_bound",
]  # fmt: skip
