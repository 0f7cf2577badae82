from .bounds import Bounds, mar_bounds, proportion_interval, upper_bound
from .comparison import check_published, compare, compare_variants
from .detection import by_expected, signal_detection
from .evidence import (
    auc,
    br_choice,
    choice_accuracy,
    compare_evidence,
    evidence,
    evidence_loss,
    lower_share,
    mar_calibrated,
    mar_choice,
    margin_shift,
)
from .families import study_tests
from .flips import flips
from .gating import Gate, gate_runs
from .margins import Margins
from .people import people, people_against, zero_bounds
from .planning import Clustering, clustering, interval_width, minimum_detectable, power, sample_size
from .priming import controlled_primings, priming_contrasts
from .published import published_figures
from .ranks import leaderboard
from .raters import ratings_of_runs
from .ratings import Agreement, agreement
from .resampling import Bootstrap, Estimate, bootstrap
from .summary import summarize
from .support import Support, support_of
from .testing import TestResult, adjust, mcnemar, permutation_test
from .verdict import Verdict, verdict
from .wide import rates_by_category

__all__ = [
    "Agreement", "Bootstrap", "Bounds", "Clustering", "Estimate", "Gate", "Margins", "Support",
    "TestResult", "Verdict", "adjust", "agreement", "auc", "bootstrap", "br_choice",
    "by_expected", "check_published", "choice_accuracy", "clustering", "compare",
    "compare_evidence", "compare_variants", "controlled_primings", "evidence", "evidence_loss", "flips",
    "gate_runs", "interval_width", "leaderboard", "lower_share", "mar_bounds", "mar_calibrated",
    "mar_choice", "margin_shift", "mcnemar", "minimum_detectable", "people", "people_against", "permutation_test", "power",
    "priming_contrasts", "proportion_interval", "published_figures", "rates_by_category", "ratings_of_runs", "sample_size", "signal_detection",
    "study_tests", "summarize", "support_of", "upper_bound", "verdict", "zero_bounds",
]  # fmt: skip
