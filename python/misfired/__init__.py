"""Measure misfired alignment: conclusions that a model rejects because of whom they are about.

Names are loaded when they are first used, so that `import misfired` and `import misfired.stats` load
neither llama.cpp nor anything that talks to servers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from misfired._core import __version__
from misfired.errors import (
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

if TYPE_CHECKING:
    from misfired.prompts.primings import Priming
    from misfired.prompts.prompt_set import build_prompts
    from misfired.runs.folder import read_answers
    from misfired.runs.many import run_many
    from misfired.runs.pipeline import Run, Scores, run, score
    from misfired.scoring.intervention import Intervention
    from misfired.scoring.protocol import Protocol
    from misfired.stats.outcomes import build_outcomes
    from misfired.stats.summary import summarize
    from misfired.suites import build_pairs, fetch_bbq, match_pairs, read_suite, write_suite

_NAMES = {
    "prompts.primings": "Priming",
    "prompts.prompt_set": "build_prompts",
    "runs.folder": "read_answers",
    "runs.many": "run_many",
    "runs.pipeline": "Run Scores run score",
    "scoring.intervention": "Intervention",
    "scoring.protocol": "Protocol",
    "stats.outcomes": "build_outcomes",
    "stats.summary": "summarize",
    "suites": "build_pairs fetch_bbq match_pairs read_suite write_suite",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "ArgumentError", "CacheError", "DataError", "FetchError", "Intervention", "MisfiredError",
    "ModelError", "Priming", "Protocol", "Run", "RunFolderError", "Scores", "ScoringError",
    "ServerError", "TemplateError", "__version__", "build_outcomes", "build_pairs", "build_prompts",
    "fetch_bbq", "match_pairs", "read_answers", "read_suite", "run", "run_many", "score", "summarize",
    "write_suite",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'misfired' has no attribute {name!r}")
    return getattr(import_module(f"misfired.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
