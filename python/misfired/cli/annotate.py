"""`misfired annotate`: a study with people, from the draw to the answers."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, echo

from misfired.annotate.options import ServeOptions, StudyOptions
from misfired.cli.options import Json, SuiteFile, group, takes
from misfired.report.table import json_text
from misfired.suites import read_suite
from misfired.suites.card import YES_NO, card_path, read_card

app = group()

_Study = Annotated[Path, Argument(metavar="STUDY", help="Folder of a study.")]


@app.command()
@takes(StudyOptions)
def make(
    suite: SuiteFile,
    *,
    output: Path = Option(..., "--output", "-o", help="Folder of the study; made if missing."),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Draw a study: pairs, false questions, attention items, an order and a link for each person.

    Both sides of a pair go to the same person, some questions apart. Prints how narrow the interval can
    get before anyone is asked, and writes texts to fill in.

    Examples:
      misfired annotate make pairs.parquet -o study --annotators 5
      misfired annotate make pairs.parquet -o study --n-pairs 60 --ratings 3
    """
    from misfired.annotate.study import make_study
    from misfired.report.people import study_report

    pairs = read_suite(suite)
    answers = read_card(card_path(suite)).answers if card_path(suite).exists() else YES_NO
    study = make_study(pairs, output, answers=tuple(answers), **options)
    if as_json:
        echo(json_text({"study": str(output), **study.about}))
        return
    echo(study_report(study.about, output))


@app.command()
@takes(ServeOptions)
def serve(study: _Study, **options: Any) -> None:
    """Serve a study to its annotators, on this machine alone unless told otherwise.

    Prints one link for each person. Every answer is on the disk before the next question is shown. Stop
    it with Ctrl-C at any time: the same command continues.

    Examples:
      misfired annotate serve study
      misfired annotate serve study --host 0.0.0.0 --url https://study.example.org
    """
    from misfired.annotate.serve import serve_study

    serve_study(study, tell=_say, **options)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a reader of a pipe gets the links at once
