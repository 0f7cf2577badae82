"""Outcomes as a grid of codes, series by pair: the form in which they go to the core."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError
from misfired.stats.measures import UNSCORED, outcome_codes

_TEXT = ("id", "category", "scenario", "priming")
_FLAGS = ("stereotyped", "contrast")


@dataclass(frozen=True, slots=True)
class Grid:
    """Outcomes of several series on the same pairs.

    Attributes:
        codes: uint8 [n_series, n_pairs]; 0 = a, 1 = b, 2 = c, 3 = d, `UNSCORED`.
        scenario: uint32 [n_pairs], numbered in the order of the names.
        category: uint32 [n_pairs], numbered in the order of `categories`.
        series: Names of the series.
        categories: Names of the categories, sorted.
    """

    codes: npt.NDArray[np.uint8]
    scenario: npt.NDArray[np.uint32]
    category: npt.NDArray[np.uint32]
    series: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def slices(self) -> tuple[str, ...]:
        """`overall`, then the categories."""
        return ("overall", *self.categories)

    def n_scenarios(self) -> npt.NDArray[np.int64]:
        """Scenarios with any pair in each slice."""
        members = np.unique(np.stack([self.category, self.scenario]), axis=1)
        per_category = np.bincount(members[0], minlength=len(self.categories))
        return np.concatenate([[len(np.unique(self.scenario))], per_category])


def grid_of_outcomes(outcomes: pl.DataFrame, *, series: str = "priming") -> Grid:
    """Check an outcomes frame and lay it out by pair and series.

    Args:
        outcomes: One row per pair and series, in any order.
        series: The column that tells the series apart.

    Raises:
        DataError: If a column is missing or mistyped, a key is null, an (id, series) is there
            twice, or an id belongs to two categories or scenarios.
    """
    text = tuple(dict.fromkeys((*_TEXT[:3], series)))
    _check_columns(outcomes, text)
    frame = outcomes.select(*text, *_FLAGS).sort(series, "id")
    _check_keys(frame, series)
    pairs = _pairs(frame)
    names = sorted(frame[series].unique().to_list(), key=_none_first)
    codes = np.full((len(names), len(pairs)), UNSCORED, dtype=np.uint8)
    rows = frame.join(pairs.select("id").with_row_index("pair"), on="id", how="left")
    line = rows[series].replace_strict({name: i for i, name in enumerate(names)}).to_numpy()
    codes[line, rows["pair"].to_numpy()] = outcome_codes(*(_numbers(rows[c]) for c in _FLAGS))
    categories, category = _numbered(pairs["category"])
    return Grid(codes, _numbered(pairs["scenario"])[1], category, tuple(names), categories)


def grid_of_runs(runs: Mapping[str, pl.DataFrame]) -> Grid:
    """A grid whose series are runs and primings, named "run|priming".

    Raises:
        DataError: As `grid_of_outcomes`, or there is no run.
    """
    if not runs:
        raise DataError("runs: none, expected at least 1")
    columns = ["id", "category", "scenario", "priming", "stereotyped", "contrast"]
    frames = []
    for name, frame in runs.items():
        for column in columns:
            if column not in frame.columns:
                raise DataError(f"{name}: column {column!r} is missing")
        label = pl.concat_str(pl.lit(f"{name}|"), "priming")
        flags = pl.col("stereotyped", "contrast").cast(pl.Boolean)
        frames.append(frame.select(columns).with_columns(flags, series=label))
    return grid_of_outcomes(pl.concat(frames), series="series")


def _check_columns(outcomes: pl.DataFrame, text: tuple[str, ...]) -> None:
    for column in (*text, *_FLAGS):
        if column not in outcomes.columns:
            raise DataError(f"outcomes: column {column!r} is missing")
        kind = outcomes.schema[column]
        # A column of nothing but nulls has no type of its own.
        fits = kind in {pl.Boolean, pl.Null} if column in _FLAGS else kind == pl.String
        if not fits and len(outcomes):
            wanted = "Boolean" if column in _FLAGS else "String"
            raise DataError(f"outcomes: column {column!r} is {kind}, expected {wanted}")
    if not len(outcomes):
        raise DataError("outcomes: no rows, expected at least 1")
    for column in text:
        if outcomes[column].null_count():
            row = outcomes[column].is_null().arg_true()[0]
            raise DataError(f"outcomes: row {row}, column {column!r}: null, expected a name")


def _check_keys(frame: pl.DataFrame, series: str) -> None:
    twice = frame.filter(pl.struct(series, "id").is_duplicated())
    if len(twice):
        key = twice.row(0, named=True)
        raise DataError(f"outcomes: id {key['id']!r}, {series} {key[series]!r}: more than one row")


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    pairs = frame.select("id", "category", "scenario").unique().sort("id")
    torn = pairs.filter(pl.col("id").is_duplicated())
    if len(torn):
        name = torn["id"][0]
        raise DataError(f"outcomes: id {name!r}: more than one category or scenario")
    return pairs


def _none_first(name: str) -> tuple[str, bool, str]:
    """By what stands before the last bar (a run, a protocol), then "none" before other primings."""
    head, _, priming = name.rpartition("|")
    return head, priming != "none", priming


def _numbers(flags: pl.Series) -> npt.NDArray[np.float64]:
    return flags.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _numbered(names: pl.Series) -> tuple[tuple[str, ...], npt.NDArray[np.uint32]]:
    values, codes = np.unique(names.to_numpy().astype(str), return_inverse=True)
    return tuple(cast("list[str]", values.tolist())), codes.astype(np.uint32)
