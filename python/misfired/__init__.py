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

__all__ = [
    "ArgumentError",
    "DataError",
    "MisfiredError",
    "ModelError",
    "RunFolderError",
    "ScoringError",
    "TemplateError",
    "__version__",
]
