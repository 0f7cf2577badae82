"""Outcomes as a grid of codes, series by pair, as the core takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.labels import check_once, checked
from misfired.stats._arrays import Codes, Floats, Numbers, as_groups
from misfired.stats.columns import TOTAL
from misfired.stats.measures import UNSCORED
from misfired.stats.outcomes import CONDITIONS

_TEXT = ("id", "category", "scenario")


@dataclass(frozen=True, slots=True)
class Grid:
    """Outcomes of several series on the same pairs."""

    codes: Codes  # [n_series, n_pairs]; 0 = a, 1 = b, 2 = c, 3 = d, UNSCORED
    scenario: Numbers  # [n_pairs], numbered in the order of the names
    category: Numbers  # [n_pairs], numbered in the order of categories
    series: tuple[str, ...]  # the priming of each
    runs: tuple[str, ...]  # the run or protocol of each; "" where there is one alone
    categories: tuple[str, ...]  # sorted

    @property
    def groups(self) -> tuple[Numbers, Numbers]:
        """Scenario and category of each pair."""
        return self.scenario, self.category

    @property
    def weights(self) -> dict[str, Floats]:
        """The weights that pick out each series of one run alone, by priming."""
        return dict(zip(self.series, np.eye(len(self.series)), strict=True))

    @property
    def slices(self) -> list[tuple[str, bool, int]]:
        """Name, whether it is the total, and number of scenarios: of all pairs, then of each category."""
        n_scenarios = int(self.scenario.max(initial=0)) + 1
        places = np.unique(self.category.astype(np.int64) * n_scenarios + self.scenario)
        sizes = np.bincount(places // n_scenarios, minlength=len(self.categories)).tolist()
        parts = ((name, False, n) for name, n in zip(self.categories, sizes, strict=True))
        return [(TOTAL, True, len(np.unique(self.scenario))), *parts]

    def shared(self, kind: str) -> dict[str, tuple[Floats, Floats]]:
        """Return, for each priming of both "first" and "second", the weights of either series."""
        rows = dict(
            zip(zip(self.runs, self.series, strict=True), np.eye(len(self.series)), strict=True)
        )
        both = [name for run, name in rows if run == "first" and ("second", name) in rows]
        if not both:
            raise DataError(f"second: no priming in common with the first {kind}")
        return {name: (rows["first", name], rows["second", name]) for name in both}


def grid_of_outcomes(outcomes: pl.DataFrame, *, run: str | None = None) -> Grid:
    """Check an outcomes frame and lay it out by pair and by priming, and by the column `run` if given.

    Raises:
        DataError: A column is missing or mistyped, a row has no label, an (id, series) is there twice,
            or an id belongs to two categories or scenarios.
    """
    keys = ("priming",) if run is None else (run, "priming")
    text = (*_TEXT, *keys)
    outcomes = checked(outcomes, (*text, *CONDITIONS), "outcomes")
    if not len(outcomes):
        raise DataError("outcomes must have at least 1 row, got 0")
    names = sorted(outcomes.select(keys).unique().rows(), key=_none_first)
    stereotyped, contrast = ((~pl.col(side).cast(pl.Boolean)).cast(pl.UInt8) for side in CONDITIONS)
    frame = outcomes.select(*text, code=2 * stereotyped + contrast)
    pairs, codes = lay_out(frame, pl.DataFrame(names, list(keys), orient="row"), _TEXT, "outcomes")
    scenario, category = (as_groups(pairs[c], len(pairs), c) for c in ("scenario", "category"))
    categories = tuple(sorted(pairs["category"].unique().to_list()))
    series = tuple(priming for *_, priming in names)
    runs = tuple("".join(of) for *of, _ in names)
    return Grid(codes, scenario, category, series, runs, categories)


def grid_of_runs(runs: Mapping[str, pl.DataFrame]) -> Grid:
    """Return a grid whose series are the primings of each run."""
    if not runs:
        raise DataError("runs must be at least 1, got 0")
    frames = []
    for name, given in runs.items():
        frame = checked(given, (*_TEXT, "priming", *CONDITIONS), name)
        flags = pl.col(CONDITIONS).cast(pl.Boolean)
        frames.append(frame.select(*_TEXT, "priming", flags, _run=pl.lit(name)))
    return grid_of_outcomes(pl.concat(frames), run="_run")


def against_none(rows: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the changes "priming - none" of rows by priming, if "none" is among them.

    Raises:
        DataError: A priming has the name of such a change.
    """
    changed = [name for name in rows if name != "none"] if "none" in rows else []
    found = {f"{name} - none": rows[name] - rows["none"] for name in changed}
    if alike := set(found) & set(rows):
        name = min(alike)
        raise DataError(f"priming must not have the name of a change by another, got {name!r}")
    return found


def lay_out(
    frame: pl.DataFrame, series: pl.DataFrame, keys: Sequence[str], name: str
) -> tuple[pl.DataFrame, Codes]:
    """Return the keys of each id (`id` and others that it has once) and codes, [n_series, n_ids].

    `frame` has the keys, the columns of `series` (a row for each, in order), and `code`, null where
    unscored. Errors name the frame: a series has an id twice, or an id has two values of a key.
    """
    frame = frame.sort(*series.columns, "id")
    once = ["id", *series.columns]
    check_once(frame, once, name, told=once)
    lines = frame.join(series.with_row_index("line"), on=series.columns, nulls_equal=True)
    wide = lines.pivot("line", index=keys, values="code").sort("id")
    torn = wide.filter(pl.col("id").is_duplicated())["id"]
    if len(torn):
        raise DataError(f"{name}: id {torn[0]!r}: more than one {' or '.join(keys[1:])}")
    codes = wide[[str(line) for line in range(len(series))]].fill_null(UNSCORED)
    return wide, np.ascontiguousarray(codes.to_numpy().T, dtype=np.uint8)


def _none_first(names: tuple[str, ...]) -> tuple[list[str], bool, str]:
    """Return the key that sorts by run or protocol, if there are several, then "none" first."""
    *run, priming = names
    return run, priming != "none", priming
