from ._core import __version__
from .errors import (
    ArgumentError,
    CacheError,
    DataError,
    FetchError,
    MisfiredError,
    ModelError,
    RunFolderError,
    ScoringError,
    ServerError,
    TemplateError,
)
from .prompts.primings import Priming
from .prompts.prompt_set import build_prompts
from .runs.folder import read_answers
from .runs.gating import gate
from .runs.many import run_many
from .runs.pipeline import Run, Scores, run, score
from .scoring.intervention import Intervention
from .scoring.protocol import Protocol
from .stats.outcomes import build_outcomes
from .stats.summary import summarize
from .suites import build_pairs, fetch_bbq, match_pairs, read_suite, write_suite

__all__ = [
    "ArgumentError", "CacheError", "DataError", "FetchError", "Intervention", "MisfiredError",
    "ModelError", "Priming", "Protocol", "Run", "RunFolderError", "Scores", "ScoringError",
    "ServerError", "TemplateError", "__version__", "build_outcomes", "build_pairs",
    "build_prompts", "fetch_bbq", "gate", "match_pairs", "read_answers", "read_suite", "run",
    "run_many", "score", "summarize", "write_suite",
]  # fmt: skip
