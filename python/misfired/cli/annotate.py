"""`misfired annotate`: a study with people, from the draw to the answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from typer import Argument, Option

from misfired.annotate.options import ServeOptions, StudyOptions
from misfired.cli.options import Json, SuiteFile, group, split_words, takes
from misfired.cli.output import echo, echo_data, echo_error
from misfired.errors import DataError
from misfired.report.table import csv, json_lines, json_text, paragraph, text
from misfired.stats.options import LevelOptions
from misfired.stats.support import SUPPORTED
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
        echo_data(json_text({"study": str(output), **study.about}))
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

    serve_study(study, tell=echo, warn=echo_error, **options)


@app.command()
@takes(LevelOptions)
def collect(
    study: _Study,
    *,
    output: Path = Option(
        ..., "--output", "-o", help="Folder of the run folders; made if missing."
    ),
    majority: bool = Option(
        False, "--majority", help="Also write the run folder of the majority, one row for a table."
    ),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Write a run folder for each annotator, and print who answered and their rates.

    Other commands read the folders as those of any run. `timings.parquet` holds every answer with its
    times, `people.parquet` who failed attention items. It may be repeated at any time.

    Examples:
      misfired annotate collect study -o runs/human
    """
    from misfired.annotate.collect import collect_study
    from misfired.report.people import annotators_table

    LevelOptions.of(options)
    found = collect_study(study, output, with_majority=majority)
    if as_json:
        echo_data(json_lines(found.people))
    else:
        echo(text(annotators_table(found.people)))
    if not found.folders:
        raise DataError(f"{study}: nobody has answered yet, or all are left out")
    if not as_json:
        echo("\n" + _results([output], None, ["mar"], options)[1])


@app.command()
@takes(LevelOptions)
def results(
    runs: list[Path] = Argument(
        metavar="RUNS", help="Folder that `collect` wrote, or run folders of people."
    ),
    *,
    against: Path | None = Option(
        None, metavar="RUN", help="Run of a model, compared on the pairs that people were asked."
    ),
    measure: str = Option("mar", metavar="A,B", help=f"Rates: {', '.join(SUPPORTED)}."),
    as_json: Json = False,
    as_csv: bool = Option(False, "--csv", help="Print comma-separated rows."),
    **options: Any,
) -> None:
    """Print the rates of people, with intervals that draw people and scenarios anew.

    Pooled answers are not independent pairs: answers of one person are alike, and so are those about one
    scenario. Each row says whom it is about.

    Examples:
      misfired annotate results runs/human
      misfired annotate results runs/human --against runs/model --measure mar
      misfired annotate results runs/human --json
    """
    frame, shown = _results(runs, against, split_words(measure), options)
    if as_json or as_csv:
        echo_data(csv(frame) if as_csv else json_lines(frame))
    else:
        echo(shown)


def _results(
    paths: Sequence[Path], against: Path | None, measures: Sequence[str], options: dict[str, Any]
) -> tuple[pl.DataFrame, str]:
    """Return the rates of people as rows and as text."""
    from misfired.annotate.results import PRIMING, read_people
    from misfired.report.people import SCOPES_NOTE, agreement_words, people_table
    from misfired.runs.folder import read_answers
    from misfired.stats import agreement, people, people_against
    from misfired.stats.outcomes import build_outcomes

    outcomes, ratings = read_people(paths)
    frame = people(outcomes, measures=measures, **options)
    shown = [text(people_table(frame, measure)) for measure in measures]
    if against is not None:
        model = build_outcomes(read_answers(against)).filter(priming=PRIMING)
        minus = people_against(outcomes, model, measures=measures, **options)
        shown += [text(people_table(minus, each, against=str(against))) for each in measures]
        named = [
            part.with_columns(against=pl.lit(run))
            for part, run in ((frame, None), (minus, str(against)))
        ]
        frame = pl.concat(named, how="vertical_relaxed")
    shown.append(paragraph(SCOPES_NOTE))
    names = ratings.columns[4:]
    if len(names) > 1:
        every = agreement(ratings.select(names).rows(), cluster=ratings["scenario"], **options)
        whole = ratings.drop_nulls(names)
        core = None
        if len(whole):
            core = agreement(
                whole.select(names).rows(), method="fleiss", cluster=whole["scenario"], **options
            )
        shown.append(paragraph(agreement_words(every, core)))
    return frame, "\n\n".join(shown)
