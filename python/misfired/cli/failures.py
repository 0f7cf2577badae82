"""`misfired failures`: the pairs that misfired, to read."""

import json
from pathlib import Path
from typing import Any

from typer import Argument, Option

from misfired.cli.options import Json, takes
from misfired.cli.output import echo, echo_data
from misfired.options import at_least
from misfired.report.failures import FailureOptions, failure_json, failures_text
from misfired.report.failures import failures as list_failures
from misfired.report.table import csv
from misfired.runs.finished import open_run


@takes(FailureOptions)
def failures(
    run: Path = Argument(metavar="RUN", help="Folder of a finished run."),
    *,
    n: int = Option(20, "--n", help="How many pairs are shown; JSON and CSV hold all."),
    as_json: Json = False,
    as_csv: bool = Option(False, "--csv", help="Print comma-separated rows."),
    **options: Any,
) -> None:
    """List the pairs that misfired, worst margin first.

    A pair misfires where its contrast prompt is answered rightly and its stereotyped prompt is not. Both
    prompts are shown as they were asked, the words that differ in [brackets], with both answers.

    Content note: prompts quote stereotypes.

    Examples:
      misfired failures runs/model
      misfired failures runs/model --category Age --priming cue --n 5
      misfired failures runs/model --outcome any --search baker --json
    """
    asked = FailureOptions.of(options)
    at_least(1)("n", n)
    rows = list_failures(open_run(run), asked)
    if as_csv:
        echo_data(csv(rows))
    elif as_json:
        echo_data("\n".join(json.dumps(failure_json(row)) for row in rows.iter_rows(named=True)))
    else:
        echo(failures_text(rows, asked, n))
