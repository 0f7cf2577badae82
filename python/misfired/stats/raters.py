"""Ratings from runs: what each run says to each prompt, for `misfired.stats.agreement`."""

from collections.abc import Mapping

import polars as pl

from misfired.errors import DataError
from misfired.labels import check_once, checked
from misfired.types import check_type, checks_types

_KEYS = ("id", "scenario", "priming", "condition")


@checks_types
def ratings_of_runs(runs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return one row for each prompt and one column for each run.

    A rating is the answer, or `abstained`: who says that it cannot be told has rated. It is null where a
    run did not ask the prompt, or has no readable answer.

    Args:
        runs: Answers by name of the run.

    Returns:
        `id`, `scenario`, `priming`, `condition`, then a column for each run; prompts in the order in
        which they first occur.

    Raises:
        DataError: A run has a name of these columns, or no answers.

    Example:
        >>> answers = pl.DataFrame({
        ...     "id": "p", "scenario": "s", "priming": "none", "condition": ["stereotyped", "contrast"],
        ...     "answer": ["yes", None], "outcome": ["correct", "abstained"]})
        >>> ratings_of_runs({"ann": answers, "bob": answers.head(1)}).select("ann", "bob").rows()
        [('yes', 'yes'), ('abstained', None)]
    """
    frames = []
    for name, given in runs.items():
        if name in _KEYS:
            raise DataError(f"{name}: the name of a run must not be one of {', '.join(_KEYS)}")
        check_type("runs", name, str)
        answers = checked(given, (*_KEYS, "answer", "outcome"), name)
        if answers.is_empty():
            raise DataError(f"{name}: must have at least 1 answer, got 0")
        check_once(answers, _KEYS, name, told=["id"])
        abstained = pl.when(outcome="abstained").then(pl.lit("abstained"))
        rating = pl.coalesce("answer", abstained)
        frames.append(answers.select(*_KEYS, rating.alias("rating"), _run=pl.lit(name)))
    if not frames:
        raise DataError("runs must have at least 1 run, got 0")
    wide = pl.concat(frames).pivot("_run", index=_KEYS, values="rating", maintain_order=True)
    return wide.select(*_KEYS, *runs)
