"""Measure misfired alignment: conclusions that a model rejects because of whom they are about."""

from misfired._core import __version__
from misfired.errors import (
    ArgumentError,
    DataError,
    MisfiredError,
    ModelError,
    RunFolderError,
    ScoringError,
    TemplateError,
)
from misfired.metrics import Counts, measures
from misfired.stats.summary import summarize

__all__ = [
    "ArgumentError",
    "Counts",
    "DataError",
    "MisfiredError",
    "ModelError",
    "RunFolderError",
    "ScoringError",
    "TemplateError",
    "__version__",
    "measures",
    "summarize",
]
