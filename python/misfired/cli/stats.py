"""`misfired stats`, `compare` and `leaderboard`: numbers from outcomes that are already scored."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from misfired.errors import DataError
from misfired.outcomes import build_outcomes
from misfired.runs import read_answers
from misfired.stats import compare as compare_runs
from misfired.stats import leaderboard as rank_runs
from misfired.stats import summarize
from misfired.stats.tables import interval, latex_table, number, summary_tables


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


def stats(
    outcomes: Outcomes,
    *,
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
    """Print MAR and its companions with intervals, overall and per category.

    For example, misfired stats outcomes.parquet --unit pair --n-resamples 100000 --json
    """
    summaries = {
        str(path): summarize(
            read_outcomes(path),
            unit=unit.value,
            stratified=stratified,
            method=method.value if method else None,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            rng=seed,
        )
        for path in outcomes
    }
    if as_json or as_csv:
        named = (s.select(pl.lit(name).alias("source"), pl.all()) for name, s in summaries.items())
        _write(pl.concat(list(named)), as_csv=as_csv)
    elif as_latex:
        typer.echo("\n\n".join(latex_table(summary) for summary in summaries.values()))
    else:
        for name, summary in summaries.items():
            Console().print(name, *summary_tables(summary), sep="\n", highlight=False)


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
    """Print what differs between two runs on the same pairs: first - second.

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
    title = f"{first} - {second}"
    table = _table(title, ("slice", "priming"), ("n", "MAR", "interval", "joint", "p", "adj. p"))
    for row in frame.filter(pl.col("measure") == "mar").iter_rows(named=True):
        same = {key: row[key] for key in ("slice", "priming")}
        joint = frame.filter(measure="mar_joint", **same).row(0, named=True)
        cells = [number(row["value"], "+"), interval(row), number(joint["value"], "+")]
        p_values = (_p(joint["p_value"]), _p(joint["p_adjusted"]))
        table.add_row(row["slice"], row["priming"], str(row["n_pairs"]), *cells, *p_values)
    Console().print(table)


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
    Console().print(ranking_table(frame, f"{measure}, priming {priming}"))


def ranking_table(frame: pl.DataFrame, title: str) -> Table:
    """A leaderboard for the terminal."""
    table = _table(title, ("run",), ("value", "interval", "rank", "ranks"))
    for row in frame.iter_rows(named=True):
        ranks = "-" if row["rank"] is None else f"{row['rank_low']}-{row['rank_high']}"
        place = "-" if row["rank"] is None else str(row["rank"])
        name = row["run"] + (" (published)" if row["source"] == "published" else "")
        table.add_row(name, number(row["value"]), interval(row), place, ranks)
    return table


def read_outcomes(path: Path) -> pl.DataFrame:
    """Outcomes of a run folder, of an answers file, or of an outcomes file.

    Raises:
        DataError: If it is missing, not complete, or cannot be read.
    """
    frame = read_answers(path)
    return build_outcomes(frame) if "condition" in frame.columns else frame


def _read_csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for header in left:
        table.add_column(header, overflow="fold")
    for header in right:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _write(frame: pl.DataFrame, *, as_csv: bool) -> None:
    if as_csv:
        typer.echo(frame.write_csv(), nl=False)
        return
    for row in frame.iter_rows(named=True):
        typer.echo(json.dumps(row))
