"""`misfired stats`, `compare` and `leaderboard`: numbers from outcomes that are already scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import typer

from misfired.cli.options import Json, takes
from misfired.errors import ArgumentError, DataError
from misfired.report.stats import (
    analyses_tables,
    comparison_table,
    contrasts_table,
    detection_tables,
    publication_table,
    ranking_table,
    summary_tables,
    tests_table,
)
from misfired.report.table import Table, csv, json_lines, latex, text
from misfired.runs.analyses import analyse
from misfired.runs.folder import read_answers
from misfired.runs.manifest import read_manifest
from misfired.stats import (
    by_expected,
    controlled_primings,
    priming_contrasts,
    signal_detection,
    study_tests,
    summarize,
)
from misfired.stats import compare as compare_runs
from misfired.stats import leaderboard as rank_runs
from misfired.stats.options import ResamplingOptions, SamplingOptions, StrataOptions
from misfired.stats.outcomes import build_outcomes

_Outcomes = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUNS", help="Run folders, or answers or outcomes files.", show_default=False
    ),
]
_Table = Literal["summary", "contrasts", "detection", "expected", "tests", "paper-tests"]
_Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated rows.")]


@takes(ResamplingOptions, StrataOptions)
def stats(
    outcomes: _Outcomes,
    *,
    table: Annotated[
        _Table | None,
        typer.Option(
            metavar="TABLE",
            help="One table alone: summary, every measure; contrasts, of primings with controls; "
            "detection, d' and criterion; expected, measures by expected answer; tests, the study's "
            "families of tests; paper-tests, the paper's. Default: those that the runs hold.",
        ),
    ] = None,
    as_json: Json = False,
    as_csv: _Csv = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a table for a paper.")] = False,
    **options: Any,
) -> None:
    """Print MAR and its companions with intervals.

    A run that has a priming with its control also gets their contrasts. A run that expects both yes and
    no also gets d', criterion and MAR adjusted for the criterion.

    Examples:
      misfired stats runs/model
      misfired stats runs/model --unit pair --n-resamples 100000 --json
      misfired stats runs/model --table contrasts
      misfired stats runs/small runs/large --table paper-tests --csv
    """
    asked = _statistics(options)
    if as_latex and table not in {None, "summary"}:
        raise ArgumentError(f"table must be summary with --latex, got {table!r}")
    if as_json or as_csv:
        _write(_rows(outcomes, table or "summary", asked), as_csv=as_csv)
    elif as_latex:
        summaries = [summarize(read_outcomes(path), **asked) for path in outcomes]
        typer.echo("\n\n".join(latex(publication_table(one)) for one in summaries))
    else:
        for name, tables in _shown(outcomes, table, asked):
            typer.echo("\n".join([name, *map(text, tables)]))


@takes(ResamplingOptions, StrataOptions)
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Run folder or outcomes.", show_default=False)
    ],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="The other run.", show_default=False)
    ],
    *,
    as_json: Json = False,
    as_csv: _Csv = False,
    **options: Any,
) -> None:
    """Print what differs between two runs on the same pairs.

    Values are first - second.

    Examples:
      misfired compare runs/instruct runs/base
    """
    asked = _statistics(options)
    frame = compare_runs(read_outcomes(first), read_outcomes(second), **asked)
    if as_json or as_csv:
        _write(frame, as_csv=as_csv)
        return
    typer.echo(text(comparison_table(frame, f"{first} - {second}")))


@takes(ResamplingOptions, StrataOptions, exclude=["method"])
def leaderboard(
    outcomes: _Outcomes,
    *,
    measure: Annotated[str, typer.Option(help="Measure to rank by, lowest first.")] = "mar",
    priming: Annotated[str, typer.Option(help="Priming of each run.")] = "none",
    published: Annotated[
        Path | None, typer.Option(help="Published figures as reference rows (.csv).")
    ] = None,
    as_json: Json = False,
    as_csv: _Csv = False,
    **options: Any,
) -> None:
    """Rank runs, with intervals and joint ranks.

    Examples:
      misfired leaderboard runs/small runs/large
      misfired leaderboard runs/*.parquet --published published.csv
    """
    frame = rank_runs(
        {str(path): read_outcomes(path) for path in outcomes},
        measure=measure,
        priming=priming,
        published=None if published is None else _read_csv(published),
        **_statistics(options),
    )
    if as_json or as_csv:
        _write(frame, as_csv=as_csv)
        return
    typer.echo(text(ranking_table(frame, f"{measure}, priming {priming}")))


def read_outcomes(path: Path) -> pl.DataFrame:
    """Return the outcomes of a run folder, of an answers file, or of an outcomes file.

    Raises:
        DataError: It is missing, not complete, or cannot be read.
    """
    return _outcomes(read_answers(path))


def _statistics(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of functions of `misfired.stats`, checked before any file is read."""
    seed = options.pop("seed")
    asked = {**options, "rng": seed}
    SamplingOptions.of(asked)
    return asked


def _outcomes(answers: pl.DataFrame) -> pl.DataFrame:
    return build_outcomes(answers) if "condition" in answers.columns else answers


def _read_csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error


def _rows(paths: list[Path], table: str, asked: dict[str, Any]) -> pl.DataFrame:
    """Return the rows of a table for all sources."""
    if table in _TESTS:
        return _tests(paths, table)
    named = []
    for path in paths:
        frame = _TABLES[table][0](read_answers(path), asked)
        named.append(frame.select(pl.lit(str(path)).alias("source"), pl.all()))
    return pl.concat(named)


def _shown(
    paths: list[Path], table: str | None, asked: dict[str, Any]
) -> Iterator[tuple[str, list[Table]]]:
    """Yield each source's name and tables."""
    if table in _TESTS:
        yield ", ".join(map(str, paths)), [tests_table(_tests(paths, table))]
        return
    compute, show = _TABLES[table or "summary"]
    for path in paths:
        answers = read_answers(path)
        tables = show(compute(answers, asked))
        if table is None and "condition" in answers.columns:
            tables += analyses_tables(analyse(answers, **asked))
        yield str(path), tables


def _contrasts(answers: pl.DataFrame, asked: dict[str, Any]) -> pl.DataFrame:
    found = controlled_primings(answers) if "condition" in answers.columns else None
    control, primings = found or (None, None)
    return priming_contrasts(_outcomes(answers), control=control, primings=primings, **asked)


def _detection(answers: pl.DataFrame, asked: dict[str, Any]) -> pl.DataFrame:
    return signal_detection(answers, **{k: v for k, v in asked.items() if k != "stratified"})


def _expected_tables(found: pl.DataFrame) -> list[Table]:
    halves = found.group_by("expected", maintain_order=True)
    return [one for (half,), part in halves for one in summary_tables(part, f"expected {half}, ")]


#: How the rows of a table of one source are computed, and how they are shown.
_TABLES: dict[
    str,
    tuple[
        Callable[[pl.DataFrame, dict[str, Any]], pl.DataFrame],
        Callable[[pl.DataFrame], list[Table]],
    ],
] = {
    "summary": (lambda answers, asked: summarize(_outcomes(answers), **asked), summary_tables),
    "contrasts": (_contrasts, lambda found: [contrasts_table(found)]),
    "detection": (_detection, detection_tables),
    "expected": (lambda answers, asked: by_expected(answers, **asked), _expected_tables),
}

#: Tables of all sources together, with the options of `study_tests`.
_TESTS = {"tests": "default", "paper-tests": "paper"}


def _tests(paths: list[Path], table: str) -> pl.DataFrame:
    frames = []
    for path in paths:
        frame = read_outcomes(path)
        if "model" not in frame.columns:
            manifest = read_manifest(path) if path.is_dir() else None
            model = Path(manifest.model.path).stem if manifest else path.stem
            protocol = manifest.settings.protocol.name if manifest else "direct"
            reasons = "cot" if protocol.startswith("cot") else protocol
            frame = frame.with_columns(model=pl.lit(model), protocol=pl.lit(reasons))
        frames.append(frame)
    return study_tests(pl.concat(frames, how="diagonal"), options=_TESTS[table])


def _write(frame: pl.DataFrame, *, as_csv: bool) -> None:
    typer.echo(csv(frame) if as_csv else json_lines(frame))
