"""`misfired compare --fail-if`: the verdict on a candidate, for people and for build servers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer import Exit

from misfired.cli.output import echo, echo_data
from misfired.files import replacing
from misfired.report.gate import gate_junit, gate_markdown, gate_text
from misfired.report.table import csv
from misfired.runs.folder import read_answers
from misfired.stats.gating import gate_runs
from misfired.stats.outcomes import outcomes_of
from misfired.stats.sharing import shared_pairs


def run_gate(
    paths: tuple[Path, Path],
    fail_if: Sequence[str],
    *,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
    as_csv: bool,
    **options: Any,
) -> None:
    """Print the verdict, write the files that are asked for, and leave with its exit code."""
    base, candidate = map(read_answers, paths)
    found = gate_runs(base, candidate, fail_if, **options)
    names = str(paths[0]), str(paths[1])
    if junit is not None:
        _write(junit, gate_junit(found, names))
    if markdown is not None:
        _write(markdown, gate_markdown(found, names).encode())
    if as_json:
        echo_data(json.dumps(found.to_dict()))
    elif as_csv:
        echo_data(csv(found.rows))
    else:
        echo(gate_text(found, names, shared_pairs(*map(outcomes_of, (base, candidate)))))
    raise Exit(found.exit_code)


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
