"""Measure misfired alignment: conclusions that a model rejects because of whom they are about."""

from misfired._core import __version__
from misfired.errors import (
    ArgumentError,
    DataError,
    FetchError,
    MisfiredError,
    ModelError,
    RunFolderError,
    ScoringError,
    TemplateError,
)
from misfired.metrics import Counts, measures
from misfired.stats.summary import summarize
from misfired.suites import build_pairs, fetch_bbq, read_suite, write_suite

__all__ = [
    "ArgumentError",
    "Counts",
    "DataError",
    "FetchError",
    "MisfiredError",
    "ModelError",
    "RunFolderError",
    "ScoringError",
    "TemplateError",
    "__version__",
    "build_pairs",
    "fetch_bbq",
    "measures",
    "read_suite",
    "summarize",
    "write_suite",
]
