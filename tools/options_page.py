"""Write docs/options.md, the page of all options, from the fields of the option classes.

Usage: python tools/options_page.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from misfired.annotate.options import ServeOptions, StudyOptions
from misfired.cli.plan import DesignOptions
from misfired.cli.run import PairsOptions
from misfired.localise.options import LocaliseOptions
from misfired.options import Entry, Options, entries
from misfired.report.failures import FailureOptions
from misfired.runs.options import EndingOptions, ScoreOptions
from misfired.stats.options import GateOptions, ResamplingOptions, StrataOptions

PAGE = Path(__file__).parents[1] / "docs" / "options.md"

#: Title, what takes the options, and their classes, in the order of the flow.
STAGES: tuple[tuple[str, str, tuple[type[Options], ...]], ...] = (
    ("Pairs", "`misfired run` and `misfired score`: which pairs are measured.", (PairsOptions,)),
    (
        "Scoring",
        "`misfired run` and `misfired score`, `misfired.run(...)` and `misfired.score(...)`: how a model "
        "is asked and how it computes. On the command line `--priming` is by default `none`, and `cue` "
        "where the suite has one. `score` never ends early.",
        (ScoreOptions, EndingOptions),
    ),
    (
        "Statistics",
        "`misfired run`, `stats`, `compare`, `leaderboard` and `agreement`, and `misfired.run(...)`: how "
        "intervals are made. Functions of `misfired.stats` call the seed `rng`. A run chooses the method for "
        "each measure and is never stratified; `agreement` has methods of its own.",
        (ResamplingOptions, StrataOptions),
    ),
    ("Failures", "`misfired failures RUN`: which pairs are listed.", (FailureOptions,)),
    (
        "Gate",
        "`misfired compare --fail-if RULE` and `misfired.gate(...)`: what is asked of two runs.",
        (GateOptions,),
    ),
    ("Localisation", "`misfired localise`: where evidence is overruled.", (LocaliseOptions,)),
    (
        "People",
        "`misfired annotate make` and `misfired annotate serve`: studies with people.",
        (StudyOptions, ServeOptions),
    ),
    ("Planning", "`misfired plan`: the design of a study.", (DesignOptions,)),
)

HEAD = """\
# Options

Every option, made from the fields of the option classes by `tools/options_page.py`. The name is the
keyword in Python, the flag is the word of the command line.
"""


def page() -> str:
    """Return the page as Markdown: a table for each stage and panel."""
    parts = [HEAD]
    for title, about, classes in STAGES:
        parts.append(f"## {title}\n\n{about}\n")
        found = sorted(entries(*classes).values(), key=lambda each: each.panel or "")
        for panel, rows in groupby(found, key=lambda each: each.panel):
            heading = f"### {panel}\n\n" if panel not in {None, title} else ""
            parts.append(heading + _table(list(rows)))
    return "\n".join(parts)


def _table(rows: list[Entry]) -> str:
    lines = ["| Option | Flag | Default | Meaning |", "|---|---|---|---|"]
    for each in rows:
        cells = (f"`{each.name}`", f"`{each.flag}`", _shown(each.default), each.metadata["help"])
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, Mapping):
        return f"`{json.dumps(default)}`"
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    return f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
