"""`misfired bbq`: get the rows that VETO's pairs are made of."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Argument, Option

from misfired.cli.options import Json, group, takes
from misfired.cli.output import echo, echo_data
from misfired.report.table import json_text
from misfired.suites import fetch_bbq
from misfired.suites.bbq import BBQ_URL
from misfired.text import shown

app = group()


@app.callback()
def keep_group() -> None:
    """Keep `fetch` a command of its own, which typer would fold into the group."""


@app.command()
@takes()
def fetch(
    folder: Path = Argument(metavar="FOLDER", help="Where the files go."),
    *,
    category: list[str] | None = Option(
        None, metavar="NAME", help="Only this category; may be repeated. Default: all 11."
    ),
    base_url: str = Option(BBQ_URL, help="Folder of the files on a mirror."),
    as_json: Json = False,
) -> None:
    """Download BBQ at a pinned commit and check every file.

    An interrupted download resumes when the command runs again. BBQ is by Parrish et al. 2022
    (github.com/nyu-mll/BBQ), under CC BY 4.0.

    Examples:
      misfired bbq fetch BBQ
      misfired bbq fetch BBQ --category Age --category SES
    """
    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # Where no bar can move, rich would print an empty line.
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {}

        def progress(name: str, n_bytes: int, n_total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(shown(name))
            bars.update(tasks[name], completed=n_bytes, total=n_total)

        files = fetch_bbq(folder, base_url=base_url, categories=category, progress=progress)
    if as_json:
        echo_data(json_text({"files": list(map(str, files))}))
    else:
        echo("\n".join(f"{file}  checked" for file in files))
