"""Outcomes as a grid of codes, series by pair, as the core takes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.errors import DataError
from misfired.stats.measures import UNSCORED, outcome_codes

_TEXT = ("id", "category", "scenario", "priming")
_FLAGS = ("stereotyped", "contrast")
_Weights = npt.NDArray[np.float64]


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
    def groups(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Scenario and category of each pair."""
        return self.scenario, self.category

    @property
    def slices(self) -> list[tuple[str, int]]:
        """`overall` and the categories, each with the number of its scenarios."""
        members = np.unique(np.stack([self.category, self.scenario]), axis=1)
        sizes = np.bincount(members[0], minlength=len(self.categories)).tolist()
        names = ("overall", *self.categories)
        return list(zip(names, [len(np.unique(self.scenario)), *sizes], strict=True))

    def shared(self, kind: str) -> dict[str, tuple[_Weights, _Weights]]:
        """Return, for each priming of both "first" and "second", the weights of either series.

        Raises:
            DataError: There is no such priming; the message names the kind.
        """
        rows = dict(zip(self.series, np.eye(len(self.series)), strict=True))
        names = [name.removeprefix("first|") for name in rows if name.startswith("first|")]
        found = {
            name: (rows[f"first|{name}"], rows[f"second|{name}"])
            for name in names
            if f"second|{name}" in rows
        }
        if not found:
            raise DataError(f"second: no priming in common with the first {kind}")
        return found


def grid_of_outcomes(outcomes: pl.DataFrame, *, series: str = "priming") -> Grid:
    """Check an outcomes frame and lay it out by pair and series.

    Args:
        outcomes: One row per pair and series, in any order.
        series: The column that tells the series apart.

    Raises:
        DataError: A column is missing or mistyped, a key is null, an (id, series) is there twice,
            or an id belongs to two categories or scenarios.
    """
    text = tuple(dict.fromkeys((*_TEXT[:3], series)))
    check_columns(outcomes, (*text, *_FLAGS), "outcomes")
    _check_types(outcomes, text)
    frame = outcomes.select(*text, *_FLAGS).sort(series, "id")
    check_twice(frame, ("id", series), "outcomes")
    pairs = _pairs(frame)
    names = sorted(frame[series].unique().to_list(), key=_none_first)
    codes = np.full((len(names), len(pairs)), UNSCORED, dtype=np.uint8)
    rows = frame.join(pairs.select("id").with_row_index("pair"), on="id", how="left")
    line = rows[series].replace_strict({name: i for i, name in enumerate(names)}).to_numpy()
    codes[line, rows["pair"].to_numpy()] = outcome_codes(*(_numbers(rows[c]) for c in _FLAGS))
    categories, category = _numbered(pairs["category"])
    return Grid(codes, _numbered(pairs["scenario"])[1], category, tuple(names), categories)


def grid_of_runs(runs: Mapping[str, pl.DataFrame]) -> Grid:
    """Return a grid whose series are runs and primings, named "run|priming".

    Raises:
        DataError: As `grid_of_outcomes`, or there is no run.
    """
    if not runs:
        raise DataError("runs must be at least 1, got 0")
    frames = []
    for name, frame in runs.items():
        check_columns(frame, _TEXT + _FLAGS, name)
        label = pl.concat_str(pl.lit(f"{name}|"), "priming")
        flags = pl.col(_FLAGS).cast(pl.Boolean)
        frames.append(frame.select(*_TEXT, *_FLAGS).with_columns(flags, series=label))
    return grid_of_outcomes(pl.concat(frames), series="series")


def check_columns(frame: pl.DataFrame, columns: Iterable[str], name: str) -> None:
    """Refuse a frame that lacks a column.

    Raises:
        DataError: The message names the frame and the column.
    """
    for column in columns:
        if column not in frame.columns:
            raise DataError(f"{name}: column {column!r} is missing")


def check_twice(frame: pl.DataFrame, keys: Sequence[str], name: str) -> None:
    """Refuse a frame that has two rows of the same keys.

    Raises:
        DataError: The message names the frame and the keys.
    """
    twice = frame.filter(pl.struct(keys).is_duplicated())
    if len(twice):
        key = ", ".join(f"{k} {v!r}" for k, v in twice.select(keys).row(0, named=True).items())
        raise DataError(f"{name}: {key}: more than one row")


def _check_types(outcomes: pl.DataFrame, text: tuple[str, ...]) -> None:
    for column in (*text, *_FLAGS):
        kind = outcomes.schema[column]
        # A column of nothing but nulls has no type of its own.
        fits = kind in {pl.Boolean, pl.Null} if column in _FLAGS else kind == pl.String
        if not fits and len(outcomes):
            wanted = "Boolean" if column in _FLAGS else "String"
            raise DataError(f"outcomes: column {column!r} must be {wanted}, got {kind}")
    if not len(outcomes):
        raise DataError("outcomes must have at least 1 row, got 0")
    for column in text:
        if outcomes[column].null_count():
            row = outcomes[column].is_null().arg_true()[0]
            raise DataError(f"outcomes: row {row}, column {column!r} must be a name, got null")


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    pairs = frame.select("id", "category", "scenario").unique().sort("id")
    torn = pairs.filter(pl.col("id").is_duplicated())
    if len(torn):
        name = torn["id"][0]
        raise DataError(f"outcomes: id {name!r}: more than one category or scenario")
    return pairs


def _none_first(name: str) -> tuple[str, bool, str]:
    """Return the key that sorts by run or protocol (before the last bar), then "none" first."""
    head, _, priming = name.rpartition("|")
    return head, priming != "none", priming


def _numbers(flags: pl.Series) -> npt.NDArray[np.float64]:
    return flags.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _numbered(names: pl.Series) -> tuple[tuple[str, ...], npt.NDArray[np.uint32]]:
    values, codes = np.unique(names.to_numpy().astype(str), return_inverse=True)
    return tuple(cast("list[str]", values.tolist())), codes.astype(np.uint32)
