"""`misfired agreement`: do raters agree beyond chance?"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from typer import Argument, Option

from misfired.cli.options import Json, split_words, takes
from misfired.cli.output import echo, echo_data
from misfired.errors import DataError
from misfired.report.table import json_text, text_table
from misfired.stats import agreement as agree
from misfired.stats.options import ResamplingOptions
from misfired.tables import EVERY, read_table


@takes(ResamplingOptions, exclude=["unit", "method"])
def agreement(
    ratings: Path = Argument(
        metavar="FILE",
        help="A .csv, .jsonl or .parquet table: a row for each item, a column for each rater.",
    ),
    *,
    raters: str | None = Option(
        None, metavar="A,B", help="Columns. Default: all except the column of --cluster."
    ),
    cluster: str | None = Option(
        None, help="Column of the groups that are resampled together, such as scenario."
    ),
    method: str = Option("krippendorff", help="krippendorff, fleiss, or cohen (two raters)."),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Say how far raters agree beyond chance.

    Ratings are compared as text; an empty cell, or NaN, is a missing one.

    Examples:
      misfired agreement ratings.csv --raters ann,bob,parser --cluster scenario
      misfired agreement ratings.csv --raters ann,parser --method cohen --json
    """
    table = read_table(ratings, labels=EVERY)
    names = split_words(raters or "") or [name for name in table.columns if name != cluster]
    if unknown := [name for name in (*names, cluster) if name and name not in table.columns]:
        raise DataError(f"{ratings}: no column {unknown[0]!r}, only {', '.join(table.columns)}")
    found = agree(
        table.select(names).rows(),
        method=method,
        cluster=table[cluster] if cluster else None,
        rng=options.pop("seed"),
        **options,
    )
    if as_json:
        echo_data(json_text(asdict(found)))
        return
    numbers = ["-" if x is None else f"{x:.3f}" for x in (found.value, found.low, found.high)]
    header = ("method", "value", "low", "high", "items", "raters", "reason")
    counts = (found.n_items, found.n_raters, found.reason or "")
    echo(text_table(header, [(found.method, *numbers, *counts)]))
