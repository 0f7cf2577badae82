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
    ServerError,
    TemplateError,
)
from misfired.many import run_many
from misfired.metrics import Counts, measures
from misfired.outcomes import build_outcomes
from misfired.pipeline import Run, Scores, run, score
from misfired.prompts import build_prompts
from misfired.runs import read_answers
from misfired.stats.summary import summarize
from misfired.suites import build_pairs, fetch_bbq, match_pairs, read_suite, write_suite

__all__ = [
    "ArgumentError",
    "Counts",
    "DataError",
    "FetchError",
    "MisfiredError",
    "ModelError",
    "Run",
    "RunFolderError",
    "Scores",
    "ScoringError",
    "ServerError",
    "TemplateError",
    "__version__",
    "build_outcomes",
    "build_pairs",
    "build_prompts",
    "fetch_bbq",
    "match_pairs",
    "measures",
    "read_answers",
    "read_suite",
    "run",
    "run_many",
    "score",
    "summarize",
    "write_suite",
]
