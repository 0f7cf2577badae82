"""`misfired stats`, `compare` and `leaderboard`: numbers from outcomes that are already scored."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

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
from misfired.stats.outcomes import build_outcomes


class Unit(str, Enum):
    """The unit of resampling."""

    scenario = "scenario"
    pair = "pair"


class Method(str, Enum):
    """How intervals are made."""

    percentile = "percentile"
    basic = "basic"
    bca = "bca"
    studentised = "studentised"
    normal = "normal"
    t = "t"
    logit = "logit"
    wilson = "wilson"
    clopper_pearson = "clopper_pearson"


Outcomes = Annotated[
    list[Path],
    typer.Argument(help="Run folders, or answers or outcomes files.", show_default=False),
]
UnitOption = Annotated[Unit, typer.Option(help="What is resampled.")]
MethodOption = Annotated[
    Method | None, typer.Option(help="How intervals are made.", show_default="best by coverage")
]
Stratified = Annotated[
    bool, typer.Option("--stratified", help="Keep the scenarios per category fixed.")
]
NResamples = Annotated[int, typer.Option(help="Number of resamples.")]
Level = Annotated[float, typer.Option(help="Between 0 and 1.")]
Seed = Annotated[int, typer.Option(help="Same seed, same bits.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per row.")]
Csv = Annotated[bool, typer.Option("--csv", help="Comma-separated rows.")]


class What(str, Enum):
    """A table of `misfired stats`."""

    summary = "summary"
    contrasts = "contrasts"
    detection = "detection"
    expected = "expected"
    tests = "tests"
    paper_tests = "paper-tests"


def stats(
    outcomes: Outcomes,
    *,
    table: Annotated[
        What | None,
        typer.Option(
            help="One table alone: every measure; contrasts of primings with controls; d' and"
            " criterion; measures by expected answer; the study's families of tests, or the same as in"
            " the paper.",
            show_default="those that the runs hold",
        ),
    ] = None,
    unit: UnitOption = Unit.scenario,
    method: MethodOption = None,
    stratified: Stratified = False,
    n_resamples: NResamples = 10_000,
    confidence_level: Level = 0.95,
    seed: Seed = 0,
    as_json: Json = False,
    as_csv: Csv = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="A table for a paper.")] = False,
) -> None:
    """Print MAR and its companions with intervals.

    Where a run has a priming with its control, also their contrasts; where it expects both yes and no,
    also d', criterion and MAR adjusted for the criterion.

    For example:

      misfired stats runs/model --unit pair --n-resamples 100000 --json

      misfired stats runs/model --table contrasts

      misfired stats runs/small runs/small-cot runs/large --table paper-tests --csv
    """
    asked: dict[str, Any] = {
        "unit": unit.value,
        "stratified": stratified,
        "method": method.value if method else None,
        "n_resamples": n_resamples,
        "confidence_level": confidence_level,
        "rng": seed,
    }
    if as_latex and table not in {None, What.summary}:
        raise ArgumentError(f"--latex: table {table.value}, expected summary")
    if as_json or as_csv:
        _write(_rows(outcomes, table or What.summary, asked), as_csv=as_csv)
    elif as_latex:
        summaries = [summarize(read_outcomes(path), **asked) for path in outcomes]
        typer.echo("\n\n".join(latex(publication_table(one)) for one in summaries))
    else:
        for name, tables in _shown(outcomes, table, asked):
            typer.echo("\n".join([name, *map(text, tables)]))


def compare(
    first: Annotated[Path, typer.Argument(help="Outcomes of one run.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Outcomes of the other.", show_default=False)],
    *,
    unit: UnitOption = Unit.scenario,
    method: MethodOption = None,
    stratified: Stratified = False,
    n_resamples: NResamples = 10_000,
    confidence_level: Level = 0.95,
    seed: Seed = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Print what differs between two runs on the same pairs.

    Values are first - second.

    For example, misfired compare instruct/outcomes.parquet base/outcomes.parquet
    """
    frame = compare_runs(
        read_outcomes(first),
        read_outcomes(second),
        unit=unit.value,
        stratified=stratified,
        method=method.value if method else None,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        rng=seed,
    )
    if as_json or as_csv:
        _write(frame, as_csv=as_csv)
        return
    typer.echo(text(comparison_table(frame, f"{first} - {second}")))


def leaderboard(
    outcomes: Outcomes,
    *,
    measure: Annotated[str, typer.Option(help="What to rank by; lowest first.")] = "mar",
    priming: Annotated[str, typer.Option(help="Which priming of each run.")] = "none",
    published: Annotated[
        Path | None, typer.Option(help="Published figures as reference rows (.csv).")
    ] = None,
    unit: UnitOption = Unit.scenario,
    stratified: Stratified = False,
    n_resamples: NResamples = 10_000,
    confidence_level: Level = 0.95,
    seed: Seed = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Rank runs, with intervals and ranks that hold jointly.

    For example, misfired leaderboard runs/*.parquet --published published.csv
    """
    frame = rank_runs(
        {str(path): read_outcomes(path) for path in outcomes},
        measure=measure,
        priming=priming,
        published=None if published is None else _read_csv(published),
        unit=unit.value,
        stratified=stratified,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        rng=seed,
    )
    if as_json or as_csv:
        _write(frame, as_csv=as_csv)
        return
    typer.echo(text(ranking_table(frame, f"{measure}, priming {priming}")))


def read_outcomes(path: Path) -> pl.DataFrame:
    """Outcomes of a run folder, of an answers file, or of an outcomes file.

    Raises:
        DataError: If it is missing, not complete, or cannot be read.
    """
    return _outcomes(read_answers(path))


def _outcomes(answers: pl.DataFrame) -> pl.DataFrame:
    return build_outcomes(answers) if "condition" in answers.columns else answers


def _read_csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error


def _rows(paths: list[Path], table: What, asked: dict[str, Any]) -> pl.DataFrame:
    """The rows of a table for all sources."""
    if table in {What.tests, What.paper_tests}:
        return _tests(paths, table)
    named = []
    for path in paths:
        frame = _one_table(read_answers(path), table, asked)
        named.append(frame.select(pl.lit(str(path)).alias("source"), pl.all()))
    return pl.concat(named)


def _shown(
    paths: list[Path], table: What | None, asked: dict[str, Any]
) -> Iterator[tuple[str, list[Table]]]:
    """Each source's name and tables."""
    if table in {What.tests, What.paper_tests}:
        yield ", ".join(map(str, paths)), [tests_table(_tests(paths, table))]
        return
    for path in paths:
        answers = read_answers(path)
        tables: list[Table] = []
        if table in {None, What.summary}:
            tables += summary_tables(_one_table(answers, What.summary, asked))
        if table is None:
            if "condition" in answers.columns:
                tables += analyses_tables(analyse(answers, **asked))
        elif table == What.contrasts:
            tables.append(contrasts_table(_one_table(answers, table, asked)))
        elif table == What.detection:
            tables += detection_tables(_one_table(answers, table, asked))
        elif table == What.expected:
            found = _one_table(answers, table, asked)
            for (half,), part in found.group_by("expected", maintain_order=True):
                tables += summary_tables(part, f"expected {half}, ")
        yield str(path), tables


def _one_table(answers: pl.DataFrame, table: What, asked: dict[str, Any]) -> pl.DataFrame:
    if table == What.detection:
        return signal_detection(answers, **{k: v for k, v in asked.items() if k != "stratified"})
    if table == What.expected:
        return by_expected(answers, **asked)
    if table == What.contrasts:
        found = controlled_primings(answers) if "condition" in answers.columns else None
        control, primings = found or (None, None)
        return priming_contrasts(_outcomes(answers), control=control, primings=primings, **asked)
    return summarize(_outcomes(answers), **asked)


def _tests(paths: list[Path], table: What) -> pl.DataFrame:
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
    options = "paper" if table == What.paper_tests else "default"
    return study_tests(pl.concat(frames, how="diagonal"), options=options)


def _write(frame: pl.DataFrame, *, as_csv: bool) -> None:
    typer.echo(csv(frame) if as_csv else json_lines(frame))
