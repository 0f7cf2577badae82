"""`misfired plot`: the figures of a paper."""

from collections.abc import Iterator
from pathlib import Path

from typer import Argument, Option

from misfired.cli.options import split_words, takes
from misfired.cli.output import echo, echo_error
from misfired.errors import ArgumentError, check_one_of
from misfired.files import make_folder
from misfired.runs.names import tell_apart
from misfired.text import LONGEST_MESSAGE, shown


@takes()
def plot(
    runs: list[Path] = Argument(None, metavar="[RUNS]", help="Folders of finished runs."),
    *,
    out: Path = Option(..., "-o", "--out", help="Folder to write to. Created if missing."),
    base: list[Path] = Option(
        [],
        metavar="RUN",
        help="Run of the base model of each run, in their order. May be repeated.",
    ),
    localise: list[Path] = Option(
        [], metavar="DIR", help="Folder of a localisation. May be repeated."
    ),
    formats: str = Option("svg,pdf,png", "--format", metavar="A,B", help="Some of svg, pdf, png."),
    human: float | None = Option(
        None,
        min=0,
        max=100,
        help="MAR of people in percent, drawn as a line beside several runs. Default: the paper's, for its pairs.",
    ),
    width: str = Option(
        "one", help="Columns of a paper that a figure takes: one (3.35 in) or two (6.9 in)."
    ),
) -> None:
    """Draw the figures of a paper from runs.

    Of each run: MAR by category, its change by each priming, pairs by outcome, misfires against the
    reverse, and the margins. Of several: MAR by run and category, runs by MAR, MAR against accuracy, base
    against instruct, MAR by demonstrations, direct against reasoning. Of localisations: evidence, gap,
    patches, heads, attention, and models over relative depth. Fonts are embedded.

    Examples:
      misfired plot runs/model -o figures
      misfired plot runs/a runs/b --base runs/a-base --base runs/b-base -o figures
      misfired plot --localise found/a --localise found/b -o figures --width two
    """
    from misfired.report.figures.chart import FORMATS, WIDTHS
    from misfired.report.figures.localise import depth, localisation_charts
    from misfired.report.figures.select import every_chart
    from misfired.report.html.located import read_localised
    from misfired.report.measured import read_measured

    endings = split_words(formats)
    for ending in endings or [formats]:
        check_one_of("format", ending, FORMATS)
    check_one_of("width", width, [name for name in WIDTHS if name != "page"])
    if not runs and not localise:
        raise ArgumentError(
            "runs must be named, or folders of localisations with --localise, got none"
        )
    if base and len(base) != len(runs or ()):
        raise ArgumentError(
            f"base must be given once for each run, {len(runs or ())} times, got {len(base)}"
        )
    found = every_chart(read_measured(runs or []), bases=read_measured(base), human=human)
    tables = {folder: read_localised(folder) for folder in localise}
    names = tell_apart({folder: _names(folder) for folder in tables}, "folders")
    named = names if len(tables) > 1 else dict.fromkeys(tables, "")
    charts = [
        (out / named[folder], chart)
        for folder, each in tables.items()
        for chart in localisation_charts(each)
    ]
    lenses = {
        names[folder]: each["lens_curves"]
        for folder, each in tables.items()
        if "lens_curves" in each
    }
    if len(lenses) > 1:
        charts.append((out, depth(lenses)))
    for folder, chart in [*((out, chart) for chart in found.charts), *charts]:
        make_folder(folder)
        for path in chart.write(folder, endings, width=width):
            echo(shown(path, None))
    for words in found.left_out:
        echo_error(f"left out: {shown(words, LONGEST_MESSAGE)}")


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of a folder of a localisation."""
    path = folder.resolve()
    yield from (path.name, "-".join(path.parts[-2:]), "-".join(path.parts[1:]))
