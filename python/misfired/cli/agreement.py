"""`misfired agreement`: do raters agree beyond chance?"""

import dataclasses
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from misfired.cli.output import print_json, print_table
from misfired.errors import DataError
from misfired.stats import agreement as agree


def agreement(
    ratings: Annotated[
        Path,
        typer.Argument(
            help="A .csv, .jsonl or .parquet table: a row for each item, a column for each rater.",
            show_default=False,
        ),
    ],
    *,
    raters: Annotated[
        str | None,
        typer.Option(help="Columns, by commas.", show_default="all but the clusters' column"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Column of the groups that are resampled together, such as scenario."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="krippendorff, fleiss, or cohen (two raters).")
    ] = "krippendorff",
    n_resamples: Annotated[int, typer.Option(help="Number of resamples.")] = 10_000,
    confidence_level: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Same seed, same bits.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print how far raters agree beyond chance, with an interval.

    An empty cell is a missing rating.

    For example:

      misfired agreement ratings.csv --raters ann,bob,parser --cluster scenario

      misfired agreement ratings.csv --raters ann,parser --method cohen --json
    """
    table = _read(ratings)
    names = [name.strip() for name in raters.split(",")] if raters else None
    names = names or [name for name in table.columns if name != cluster]
    for name in (*names, *([cluster] if cluster else [])):
        if name not in table.columns:
            known = ", ".join(table.columns)
            raise DataError(f"{ratings}: no column {name!r}, only {known}")
    found = agree(
        table.select(names).rows(),
        method=method,
        cluster=table[cluster] if cluster else None,
        n_resamples=n_resamples,
        confidence_level=confidence_level,
        rng=seed,
    )
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    numbers = ["-" if x is None else f"{x:.3f}" for x in (found.value, found.low, found.high)]
    header = ("method", "value", "low", "high", "items", "raters", "reason")
    counts = (found.n_items, found.n_raters, found.reason or "")
    print_table(header, [(found.method, *numbers, *counts)])


def _read(path: Path) -> pl.DataFrame:
    try:
        match path.suffix:
            case ".csv":
                return pl.read_csv(path)
            case ".jsonl":
                return pl.read_ndjson(path)
            case ".parquet":
                return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from error
    raise DataError(f"{path}: expected a .csv, .jsonl or .parquet file")
