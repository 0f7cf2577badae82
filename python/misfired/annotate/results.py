"""Runs of people, read together: their outcomes and their ratings."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from misfired.annotate.collect import PEOPLE
from misfired.errors import DataError
from misfired.runs.finished import FinishedRun, open_run
from misfired.stats.outcomes import build_outcomes
from misfired.stats.raters import ratings_of_runs
from misfired.types import checks_types

PRIMING = "none"
"""People are asked without a cue."""


def people_folders(paths: Sequence[Path | str]) -> list[Path]:
    """Return the run folders of people; a folder that `collect_study` wrote stands for those in it.

    Raises:
        DataError: There is none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(each.parent for each in path.glob("annotator-*/manifest.json"))
        found += inside if (path / PEOPLE).exists() else [path]
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: no run of a person is here")
    return found


@checks_types
def read_people(paths: Sequence[Path | str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the outcomes of people, and what each said to each prompt.

    Args:
        paths: Run folders, or folders that `collect_study` wrote.

    Returns:
        Outcomes with `annotator`, as `misfired.stats.people` takes them, and ratings as
        `misfired.stats.raters.ratings_of_runs` returns them.

    Raises:
        DataError: A run is not that of a person, or two are of one person.
    """
    runs: dict[str, FinishedRun] = {}
    for path in people_folders(paths):
        run = open_run(path)
        told = run.manifest.settings.annotator
        if told is None:
            raise DataError(f"{path}: must be the run of a person, got one of a model")
        name = str(told["name"])
        if name in runs:
            raise DataError(
                f"{path}: must be of another person than {runs[name].path}, got {name!r}"
            )
        runs[name] = run
    frames = [
        build_outcomes(run.answers).filter(priming=PRIMING).with_columns(annotator=pl.lit(name))
        for name, run in runs.items()
    ]
    return pl.concat(frames), ratings_of_runs({name: run.answers for name, run in runs.items()})
