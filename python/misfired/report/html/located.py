"""A localisation in a report: its charts, rebuilt from its tables, and what they rest on."""

from dataclasses import dataclass
from pathlib import Path, PurePath

import polars as pl

from misfired.errors import DataError
from misfired.localise.result import read_manifest
from misfired.report.figures.chart import Chart
from misfired.report.figures.localise import DRAWINGS, localisation_charts
from misfired.report.localise import localisation_sentences
from misfired.tables import read_table


@dataclass(frozen=True)
class Located:
    """What a page says of one localisation."""

    heading: str
    words: list[str]
    charts: list[Chart]


def read_located(folder: Path) -> Located:
    """Read the folder of a localisation.

    Raises:
        DataError: It holds no manifest, or no table that has a chart.
    """
    manifest = read_manifest(folder / "manifest.json")
    charts = localisation_charts(read_localised(folder))
    return Located(
        f"Inside the model: {PurePath(str(manifest['model']['path'])).stem}",
        localisation_sentences(manifest),
        charts,
    )


def read_localised(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the tables of a localisation that have charts; `DataError` if there are none."""
    names = dict.fromkeys(name for name, _ in DRAWINGS)
    found = {name: folder / f"{name}.parquet" for name in names}
    tables = {name: read_table(path) for name, path in found.items() if path.is_file()}
    if not tables:
        raise DataError(
            f"{folder}: holds none of {', '.join(path.name for path in found.values())}"
        )
    return tables
