"""`misfired stats`: measures with intervals from outcomes that are already scored."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from misfired.outcomes import build_outcomes
from misfired.runs import read_answers
from misfired.stats import summarize
from misfired.stats.tables import latex_table, summary_tables


class Unit(str, Enum):
    """The unit of resampling."""

    scenario = "scenario"
    pair = "pair"


def stats(
    outcomes: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or answers or outcomes files.", show_default=False),
    ],
    *,
    unit: Annotated[Unit, typer.Option(help="What is resampled.")] = Unit.scenario,
    stratified: Annotated[
        bool, typer.Option("--stratified", help="Keep the scenarios per category fixed.")
    ] = False,
    n_resamples: Annotated[int, typer.Option(help="Number of resamples.")] = 10_000,
    confidence_level: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Same seed, same bits.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated rows.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="A table for a paper.")] = False,
) -> None:
    """Print MAR and its companions with intervals, overall and per category.

    For example, misfired stats outcomes.parquet --unit pair --n-resamples 100000 --json
    """
    console = Console()
    for path in outcomes:
        summary = summarize(
            read_outcomes(path),
            unit=unit.value,
            stratified=stratified,
            n_resamples=n_resamples,
            confidence_level=confidence_level,
            rng=seed,
        )
        if as_json:
            for row in summary.insert_column(0, pl.lit(str(path)).alias("source")).to_dicts():
                typer.echo(json.dumps(row))
        elif as_csv:
            typer.echo(
                summary.insert_column(0, pl.lit(str(path)).alias("source")).write_csv(), nl=False
            )
        elif as_latex:
            typer.echo(latex_table(summary))
        else:
            console.print(str(path), *summary_tables(summary), sep="\n", highlight=False)


def read_outcomes(path: Path) -> pl.DataFrame:
    """Outcomes of a run folder, of an answers file, or of an outcomes file.

    Raises:
        DataError: If it is missing, not complete, or cannot be read.
    """
    frame = read_answers(path)
    return build_outcomes(frame) if "condition" in frame.columns else frame
