"""`misfired agreement`: do raters agree beyond chance?"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
from typer import Argument, Option

from misfired.cli.options import Json, split_words, takes
from misfired.cli.output import echo, echo_data
from misfired.errors import DataError
from misfired.report.table import json_text, text_table
from misfired.runs.folder import read_answers
from misfired.stats import agreement as agree
from misfired.stats import ratings_of_runs
from misfired.stats.options import ResamplingOptions
from misfired.tables import EVERY, read_table


@takes(ResamplingOptions, exclude=["unit", "method"])
def agreement(
    ratings: list[Path] = Argument(
        metavar="FILES",
        help="A .csv, .jsonl or .parquet table: a row for each item, a column for each rater. Or run "
        "folders, each a rater.",
    ),
    *,
    raters: str | None = Option(
        None, metavar="A,B", help="Columns, or names of runs. Default: all but that of --cluster."
    ),
    cluster: str | None = Option(
        None,
        help="Column of the groups that are resampled together, such as scenario. Of runs: scenario.",
    ),
    method: str = Option("krippendorff", help="krippendorff, fleiss, or cohen (two raters)."),
    as_json: Json = False,
    **options: Any,
) -> None:
    """Say how far raters agree beyond chance.

    Ratings are compared as text; an empty cell, or NaN, is a missing one. A run, of a model or a person,
    rates each prompt with its answer; one that abstained has rated, too.

    Examples:
      misfired agreement ratings.csv --raters ann,bob,parser --cluster scenario
      misfired agreement ratings.csv --raters ann,parser --method cohen --json
      misfired agreement runs/human/annotator-*
    """
    table, cluster, known = _read(ratings, cluster)
    names = split_words(raters or "") or [name for name in known if name != cluster]
    if unknown := [name for name in (*names, cluster) if name and name not in table.columns]:
        raise DataError(
            f"{', '.join(map(str, ratings))}: no column {unknown[0]!r}, only {', '.join(table.columns)}"
        )
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


def _read(paths: list[Path], cluster: str | None) -> tuple[pl.DataFrame, str | None, list[str]]:
    """Return a table of ratings, the column of its clusters, and the columns that may be raters."""
    if len(paths) == 1 and not paths[0].is_dir():
        table = read_table(paths[0], labels=EVERY)
        return table, cluster, table.columns
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = list(map(str, paths))
    if len(set(names)) < len(names):
        raise DataError("FILES must be runs, each given once, got one twice")
    runs = {name: read_answers(path) for name, path in zip(names, paths, strict=True)}
    return ratings_of_runs(runs), cluster or "scenario", names
