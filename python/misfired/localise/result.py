"""The result of a localisation. Nothing here needs llama.cpp."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.files import make_folder, replacing
from misfired.localise.probes import PROBES
from misfired.reading import read_json
from misfired.stats.means import Floats
from misfired.text import JSON_ESCAPES

#: Every table that a localisation may have.
TABLES = (
    *(
        "cases",
        "lens_curves",
        "recovery_curves",
        "head_map",
        "attention_map",
        "ablation",
        "figures",
    ),
    *(f"{name}_rows" for name in PROBES),
)
#: Every figure that may be drawn from them.
FIGURES = ("layers", "gap", "recovery", "heads", "attention")
_FILES = (
    "manifest.json",
    *(f"{name}.parquet" for name in TABLES),
    *(f"{name}.{ending}" for name in FIGURES for ending in ("svg", "png")),
)


def check_folder(folder: Path | str) -> Path:
    """Make a folder for a localisation, unless it is there.

    Raises:
        DataError: The folder holds something else, such as a run.
    """
    manifest = make_folder(folder) / "manifest.json"
    if manifest.exists():
        read_manifest(manifest)
    return manifest.parent


def read_manifest(file: Path) -> dict[str, Any]:
    """Read the manifest of a localisation.

    Raises:
        DataError: It is the manifest of something else.
    """
    content = read_json(file)
    if not isinstance(content, dict) or {"n_failures", "check", "model"} - content.keys():
        raise DataError(f"{file}: not the manifest of a localisation")
    found: dict[str, Any] = content
    return found


@dataclass(frozen=True)
class Localisation:
    """Rows, tables and manifest of a localisation.

    Attributes:
        cases: One row per pair studied: `id`, `category`, `scenario`, `kind` (`failure` or `control`),
            `margin_stereotyped`, `margin_contrast`, `unaligned` (why the persons' spans could not be
            aligned, or null).
        rows: For each probe its rows, one per pair and place; see its file in `localise/probes`.
        tables: Summaries with intervals: `lens_curves`, `recovery_curves`, `head_map`,
            `attention_map`, `ablation`, and `figures` (single numbers).
        manifest: Parameters, start-up check, counts, versions, times.
    """

    cases: pl.DataFrame
    rows: dict[str, pl.DataFrame]
    tables: dict[str, pl.DataFrame]
    manifest: dict[str, Any]

    def heads(
        self, column: str = "specificity", *, method: str = "zero", model: str = "instruct"
    ) -> Floats:
        """Return one column of the head map as an array, shape (layer, head).

        Raises:
            ArgumentError: There is no such method, model or column of numbers.
        """
        table = self.tables.get(
            "head_map", pl.DataFrame(schema={"method": pl.String, "model": pl.String})
        )
        numbers = table.select(pl.selectors.numeric() | pl.selectors.boolean()).columns
        part = table.filter(method=method, model=model)
        if part.is_empty() or column not in numbers:
            raise ArgumentError(f"the head map has no {column!r} for method {method!r}, {model!r}")
        values = part.sort("layer", "head")[column].to_numpy().astype(np.float64)
        return values.reshape(part["layer"].n_unique(), -1)

    def figure(self, measure: str, **keys: str) -> float | None:
        """Return one number of the table `figures`, such as `onset_of_suppression` of the lens.

        Raises:
            ArgumentError: No row, or more than one, fits.
        """
        table = self.tables.get("figures", pl.DataFrame())
        asked = {"measure": measure, **keys}
        rows = table.filter(**asked) if asked.keys() <= set(table.columns) else table.clear()
        if len(rows) != 1:
            raise ArgumentError(
                f"{measure!r} {keys} must fit one row of the figures, got {len(rows)}"
            )
        value: float | None = rows["value"][0]
        return value

    def write(self, folder: Path | str) -> None:
        """Write all tables as Parquet and the manifest as JSON; the manifest last.

        An earlier localisation in the folder is replaced: its tables and its figures are removed.

        Raises:
            DataError: The folder holds something else, such as a run.
        """
        folder = check_folder(folder)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        frames = {"cases": self.cases, **self.tables}
        frames |= {f"{name}_rows": frame for name, frame in self.rows.items()}
        for name, frame in frames.items():
            target = folder / f"{name}.parquet"
            with replacing(target) as temporary, temporary.open("wb") as file:
                frame.write_parquet(file)
        text = json.dumps(self.manifest, indent=2, ensure_ascii=False)
        (folder / "manifest.json").write_bytes(f"{text}\n".encode(errors=JSON_ESCAPES))
