"""`misfired bbq`: get the rows that VETO's pairs are made of."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from misfired.cli.output import print_json
from misfired.suites import fetch_bbq
from misfired.suites.bbq import BBQ_URL

app = typer.Typer(
    help="BBQ, the benchmark whose rows VETO's pairs are made of.", no_args_is_help=True
)


@app.callback()
def group() -> None:
    """Keep `fetch` a command of its own, which typer would fold into the group."""


@app.command(epilog="Example: misfired bbq fetch bbq --category Age --category SES")
def fetch(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    *,
    category: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="One category; repeat for more. Default: all 11."),
    ] = None,
    base_url: Annotated[str, typer.Option(help="Folder of the files on a mirror.")] = BBQ_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Download BBQ at a pinned commit, every file checked.

    A download that was cut goes on where it stopped when the command runs again. BBQ is by
    Parrish et al. 2022 (github.com/nyu-mll/BBQ), under CC BY 4.0.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def progress(name: str, n_bytes: int, n_total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=n_bytes, total=n_total)

        files = fetch_bbq(folder, base_url=base_url, categories=category, progress=progress)
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        for file in files:
            typer.echo(f"{file}  checked")
