"""`misfired stats`, `compare` and `leaderboard`: numbers from outcomes that are already scored."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from typer import Argument, Option

from misfired.cli.gate import run_gate
from misfired.cli.options import Json, takes
from misfired.cli.output import echo, echo_data
from misfired.cli.usage import one_format
from misfired.errors import ArgumentError, DataError
from misfired.options import seeds
from misfired.report import stats as show
from misfired.report.table import Table, csv, json_lines, latex, paragraph, text
from misfired.report.verdict import does_not_read, evidence_tables, verdict_sentences
from misfired.report.wide import wide_csv, wide_html, wide_table, wide_text
from misfired.runs.analyses import analyse
from misfired.runs.folder import read_answers
from misfired.runs.manifest import read_manifest
from misfired.runs.names import model_names
from misfired.scoring.protocol import is_cot
from misfired.stats import (
    by_expected,
    compare_evidence,
    controlled_primings,
    evidence,
    flips,
    priming_contrasts,
    signal_detection,
    study_tests,
    summarize,
    verdict,
)
from misfired.stats import compare as compare_runs
from misfired.stats import leaderboard as rank_runs
from misfired.stats.options import (
    GateOptions,
    LevelOptions,
    ResamplingOptions,
    SamplingOptions,
    StrataOptions,
    UnitOptions,
)
from misfired.stats.outcomes import outcomes_of
from misfired.stats.published import published_figures
from misfired.stats.sharing import shared_pairs
from misfired.stats.verdict import verdict_priming
from misfired.stats.wide import rates_by_category
from misfired.tables import read_table
from misfired.text import printable, shown

_Runs = Annotated[
    list[Path], Argument(metavar="RUNS", help="Run folders, or answers or outcomes files.")
]
_Table = Literal["summary", "contrasts", "detection", "expected", "tests", "paper-tests"]
_Csv = Annotated[bool, Option("--csv", help="Print comma-separated rows.")]

#: Tables of all runs together, with the options of `study_tests`.
_TESTS = {"tests": "default", "paper-tests": "paper"}

#: The help panel of a gate.
_GATE: dict[str, Any] = {"rich_help_panel": GateOptions.PANEL}

_LATEX = "summary, tests or paper-tests"


@takes(ResamplingOptions, StrataOptions)
def stats(
    runs: _Runs,
    *,
    table: _Table | None = Option(
        None,
        metavar="TABLE",
        help="One table alone: summary, every measure; contrasts, of primings with controls; "
        "detection, d' and criterion; expected, measures by expected answer; tests, the study's "
        "families of tests; paper-tests, the paper's. Default: those that the runs hold.",
    ),
    as_json: Json = False,
    as_csv: _Csv = False,
    as_latex: bool = Option(False, "--latex", help="Print a table for a paper."),
    **options: Any,
) -> None:
    """Print MAR and its companions with intervals.

    A run that has a priming with its control also gets their contrasts. A run that expects both yes and
    no also gets d', criterion and MAR adjusted for the criterion.

    Examples:
      misfired stats runs/model
      misfired stats runs/model --unit pair --n-resamples 100000 --json
      misfired stats runs/model --table contrasts
      misfired stats runs/small runs/large --table paper-tests --latex
    """
    one_format(json=as_json, csv=as_csv, latex=as_latex)
    asked = _statistics(options)
    if as_latex and table not in {None, "summary", *_TESTS}:
        raise ArgumentError(f"table must be {_LATEX} with --latex, got {table!r}")
    if table in _TESTS:
        tests = _tests(runs, _TESTS[table])
        tables = show.tests_tables(tests)
        if as_latex:
            echo_data("\n\n".join(map(latex, tables)))
        else:
            words = "\n".join([", ".join(map(shown, runs)), *map(text, tables)])
            _print(tests, words, as_json=as_json, as_csv=as_csv)
        return
    found, verdicts = [], []
    for path in runs:
        answers = read_answers(path)
        frame = rows = _computed(table or "summary", answers, asked)
        if table is None and _are_answers(answers):
            rows = pl.concat([frame, evidence(answers, **asked)])
        found.append(rows.select(pl.lit(printable(path)).alias("source"), pl.all()))
        judged = verdict(answers, priming=verdict_priming(answers), **asked)
        verdicts.append({"source": printable(path), "verdict": judged.to_dict()})
        if not (as_json or as_csv or as_latex):
            tables = _tables(table, frame, answers, does_not_read(judged), asked)
            words = "\n".join([shown(path), *map(paragraph, verdict_sentences(judged))])
            echo("\n\n".join([words, *map(text, tables)]) + "\n")
    if as_json or as_csv:
        _print(pl.concat(found), "", as_json=as_json, as_csv=as_csv)
        if as_json and table is None:
            echo_data("\n".join(map(json.dumps, verdicts)))
    elif as_latex:
        echo_data("\n\n".join(latex(show.publication_table(frame)) for frame in found))


@takes(ResamplingOptions, StrataOptions, GateOptions)
def compare(
    first: Path = Argument(metavar="FIRST", help="Run folder or outcomes; the base of a gate."),
    second: Path = Argument(metavar="SECOND", help="The other run; the candidate of a gate."),
    *,
    fail_if: list[str] | None = Option(
        None,
        metavar="RULE",
        help='A harm to judge, such as "mar > +2"; may be given again.',
        **_GATE,
    ),
    junit: Path | None = Option(
        None, metavar="FILE", help="Write the verdicts as JUnit XML.", **_GATE
    ),
    markdown: Path | None = Option(
        None, metavar="FILE", help="Write a short summary as Markdown.", **_GATE
    ),
    as_json: Json = False,
    as_csv: _Csv = False,
    **options: Any,
) -> None:
    """Print what differs between two runs on the same pairs.

    Values are first - second, on the pairs that both runs have; fewer than 8 scenarios are not
    compared. First come the answers that differ, in both directions, and the mean
    difference of the margins: a rate can stay where it was while most answers change.

    With --fail-if it is a gate: FIRST is the base, SECOND the candidate, values are candidate - base in
    points. Its exit codes are 0, the data exclude the harm; 1, they show it; 2, they do neither (too
    little support, or an interval that reaches over the line); 3, there is no verdict, since the input is
    bad or the work failed.

    Examples:
      misfired compare runs/instruct runs/base
      misfired compare runs/base runs/candidate --fail-if "mar > +2"
      misfired compare a b --fail-if "mar > +5" --by category --junit gate.xml
      misfired compare a b --fail-if "mar[Age] > +5" --fail-if "br > +5"
    """
    one_format(json=as_json, csv=as_csv)
    gating = GateOptions.take(options)
    asked = _statistics(options)
    if fail_if:
        run_gate(
            (first, second), fail_if, junit=junit, markdown=markdown, as_json=as_json, as_csv=as_csv,
            **vars(gating), **asked,
        )  # fmt: skip
    for name, given in (("junit", junit), ("markdown", markdown), ("by", gating.by)):
        if given is not None:
            raise ArgumentError(f"--{name} must stand beside --fail-if, which is missing")
    answers = [read_answers(path) for path in (first, second)]
    outcomes = list(map(outcomes_of, answers))
    shared = shared_pairs(*outcomes)
    shared.check(first, second)
    frame = compare_runs(*outcomes, **asked)
    tables = [show.comparison_table(frame, f"{first} - {second}")]
    if all(map(_are_answers, answers)):
        changed, moved = flips(*answers, **asked), compare_evidence(*answers, **asked)
        tables = [show.flips_table(changed), *tables]
        tables += evidence_tables(moved, "first - second, ", differences=True)
        every = [changed, frame, moved]
        frame = pl.concat(every, how="diagonal").select(frame.columns)
    parts = []
    for path, each in zip((first, second), answers, strict=True):
        judged = verdict(each, priming=verdict_priming(each), **asked)
        parts.append("\n".join([shown(path), *map(paragraph, verdict_sentences(judged))]))
    parts.append(paragraph(show.shared_words(shared)))
    _print(frame, "\n\n".join([*parts, *map(text, tables)]), as_json=as_json, as_csv=as_csv)


@takes(LevelOptions, UnitOptions, StrataOptions)
def leaderboard(
    runs: _Runs,
    *,
    measure: str = Option("mar", help="Measure to rank by, lowest first."),
    priming: str = Option("none", help="Priming of each run."),
    by: Literal["category"] | None = Option(
        None,
        metavar="category",
        help="The table of a paper: models by categories, with BR and accuracies.",
    ),
    published: bool = Option(
        False,
        "--published",
        help="Add published figures as reference rows: the paper's, or those of a .csv file that follows.",
    ),
    as_json: Json = False,
    as_csv: _Csv = False,
    as_latex: bool = Option(False, "--latex", help="With --by: print LaTeX."),
    as_html: bool = Option(False, "--html", help="With --by: print a page of HTML."),
    **options: Any,
) -> None:
    """Rank runs, with intervals and joint ranks.

    Runs are ranked on the pairs that all of them scored. Runs that do not read, or whose rate rests on
    too few pairs, stand below, unranked. With --by category, each run counts its own pairs, and stars say
    where misfires and reverse ones differ.

    Examples:
      misfired leaderboard runs/small runs/large
      misfired leaderboard runs/small runs/large --by category --published
      misfired leaderboard runs/* --by category --latex
      misfired leaderboard runs/*.parquet --published published.csv
    """
    one_format(json=as_json, csv=as_csv, latex=as_latex, html=as_html)
    figures = None
    if published:
        files, runs = _figures(runs)
        figures = read_table(files[-1]) if files else published_figures()
    if (as_latex or as_html) and by is None:
        raise ArgumentError(f"--{'latex' if as_latex else 'html'} must stand beside --by category")
    places = Counter(path.resolve() for path in runs)
    if twice := [path for path in runs if places[path.resolve()] > 1]:
        raise ArgumentError(f"runs must differ, got {twice[0]} and {twice[1]}, one place")
    frames = {printable(path): read_answers(path) for path in runs}
    if by is not None:
        rates = rates_by_category(frames, priming=priming, published=figures)
        _print_wide(rates, as_json=as_json, as_csv=as_csv, as_latex=as_latex, as_html=as_html)
        return
    frame = rank_runs(frames, measure=measure, priming=priming, published=figures, **options)
    words = "\n".join(map(text, show.ranking_tables(frame, f"{measure}, priming {priming}")))
    _print(frame, words, as_json=as_json, as_csv=as_csv)


def _figures(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files of published figures, and the runs: no run is a .csv file."""
    files = [path for path in paths if path.suffix == ".csv"]
    runs = [path for path in paths if path.suffix != ".csv"]
    if not runs:
        raise ArgumentError("runs must be at least 1, got published figures alone")
    return files, runs


def _print_wide(
    rates: pl.DataFrame, *, as_json: bool, as_csv: bool, as_latex: bool, as_html: bool
) -> None:
    if as_json or as_csv:
        _print(wide_csv(rates) if as_csv else rates, "", as_json=as_json, as_csv=as_csv)
    elif as_latex or as_html:
        table = wide_table(rates)
        echo_data(latex(table) if as_latex else wide_html(table))
    else:
        echo(wide_text(wide_table(rates)))


def _statistics(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of functions of `misfired.stats`, checked before any file is read."""
    seeds("seed", options["seed"])
    options["rng"] = options.pop("seed")
    SamplingOptions.of(options)
    return options


def _are_answers(frame: pl.DataFrame) -> bool:
    """True for answers, False for outcomes alone."""
    return "condition" in frame.columns


def _computed(table: str, answers: pl.DataFrame, asked: dict[str, Any]) -> pl.DataFrame:
    """Return the rows of a table of one run."""
    if table == "expected":
        return by_expected(answers, **asked)
    if table == "detection":
        return signal_detection(answers, **{k: v for k, v in asked.items() if k != "stratified"})
    outcomes = outcomes_of(answers)
    if table == "summary":
        return summarize(outcomes, **asked)
    found = controlled_primings(answers) if _are_answers(answers) else None
    control, primings = found or (None, None)
    return priming_contrasts(outcomes, control=control, primings=primings, **asked)


def _tables(
    table: str | None,
    frame: pl.DataFrame,
    answers: pl.DataFrame,
    before: str,
    asked: dict[str, Any],
) -> list[Table]:
    """Return what is shown of one run; words `before` its rates warn of them."""
    if table == "contrasts":
        return [show.contrasts_table(frame)]
    if table == "detection":
        return show.detection_tables(frame)
    tables = show.summary_tables(frame, before)
    if table is None and _are_answers(answers):
        tables += show.analyses_tables(analyse(answers, **asked), before)
    return tables


def _tests(paths: list[Path], options: str) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    known: dict[tuple[str, str], list[tuple[Path, pl.DataFrame]]] = {}
    for path, model in zip(paths, model_names(paths), strict=True):
        frame = outcomes_of(read_answers(path))
        if "model" not in frame.columns:
            manifest = read_manifest(path) if path.is_dir() else None
            protocol = manifest.settings.protocol.name if manifest else "direct"
            reasons = "cot" if is_cot(protocol) else protocol
            frame = frame.with_columns(model=pl.lit(model), protocol=pl.lit(reasons))
            alike = known.setdefault((model, reasons), [])
            for other, rows in alike:
                if len(frame.join(rows, on=["id", "priming"], how="semi")):
                    twice = f"{other} and {path}, both of model {model!r} by protocol {reasons!r}"
                    raise DataError(f"runs must not hold the same pairs of a model, got {twice}")
            alike.append((path, frame))
        frames.append(frame)
    return study_tests(pl.concat(frames, how="diagonal"), options=options)


def _print(frame: pl.DataFrame, words: str, *, as_json: bool, as_csv: bool) -> None:
    """Print rows as CSV or JSON, or else what is shown of them."""
    if as_csv or as_json:
        echo_data(csv(frame) if as_csv else json_lines(frame))
    else:
        echo(words)
