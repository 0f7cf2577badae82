"""`misfired report`: runs as a page to open in a browser."""

from pathlib import Path

from typer import Argument, Option

from misfired.cli.options import takes
from misfired.cli.output import echo
from misfired.text import shown


@takes()
def report(
    runs: list[Path] = Argument(metavar="RUNS", help="Folders of finished runs."),
    *,
    localise: list[Path] = Option(
        [], metavar="DIR", help="Folder of a localisation. May be repeated."
    ),
    out: Path = Option(Path("report.html"), "-o", "--out", help="File to write."),
    text: bool = Option(
        True,
        "--text/--no-text",
        help="Show prompts and names of groups; without them a page can be shared.",
    ),
) -> None:
    """Write a page about runs, to open in a browser.

    One HTML file that needs no network: the result with its interval and what it rests on, charts with
    their numbers, every pair in a list to filter, and how all of it was made. Several runs stand side by
    side. The same runs give the same bytes.

    Examples:
      misfired report runs/model -o report.html
      misfired report runs/instruct runs/base --localise found
      misfired report runs/model --no-text -o public.html
    """
    from misfired.report.html import write_report
    from misfired.report.html.located import read_located
    from misfired.report.measured import read_measured

    located = [read_located(folder) for folder in localise]
    write_report(read_measured(runs), out, localised=located, with_text=text)
    echo(f"{shown(out)} ({out.stat().st_size / 1e6:.1f} MB)")
