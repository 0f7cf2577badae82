"""Does the model read its stories? Asked here where the run cannot say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from misfired.errors import DataError
from misfired.localise.cases import Case
from misfired.localise.held import chunks
from misfired.localise.options import LocaliseOptions
from misfired.localise.probe import Probe
from misfired.stats.evidence import estimate
from misfired.stats.margins import Margins
from misfired.stats.resampling import Estimate
from misfired.stats.verdict import Verdict

#: Stories of each condition that are asked.
N_STORIES = 60


def told_by_run(verdict: Verdict) -> dict[str, Any]:
    """Return whether a run reads, and how that is known, for the manifest.

    Returns:
        `reads` (null where unknown), `reason` (why it is), `measure`, `value`, `low`, `high`, and
        `known_from`: the run, or the false questions asked here.
    """
    return _told(verdict.reads, verdict.reads_reason, verdict.reading, "run")


def choose_asked(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return at most `N_STORIES` pairs at even distances, right or wrong: columns `id` and `kind`."""
    n = min(N_STORIES, len(outcomes))
    spread = outcomes[[place * len(outcomes) // n for place in range(n)]]
    return spread.select("id", kind=pl.lit("reading"))


def asked_here(probe: Probe, cases: Sequence[Case], options: LocaliseOptions) -> dict[str, Any]:
    """Ask a true and a false question about each story of these cases.

    Returns:
        What `told_by_run` returns.
    """
    held = [chunk.margins.reshape(-1, 2, 2) for chunk in chunks(probe, cases)]
    true, false = np.moveaxis(np.concatenate(held), 1, 0)
    # The margin of yes; a twin goes by the person asked about, which is the other story's.
    margins = Margins.of(
        true[:, 0], true[:, 1], stereotyped_no=-false[:, 1], contrast_no=-false[:, 0],
        scenario=[case.scenario for case in cases],
    )  # fmt: skip
    found = estimate(margins, "choice_accuracy_k", **options.statistics)
    reads = None if found.low is None else found.low > 50
    return _told(reads, found.reason, found, "localise")


def check_reading(told: dict[str, Any], where: object) -> None:
    """Refuse a model that does not read: what differs between its prompts may be a leaning.

    Raises:
        DataError: `told` says that it does not read.
    """
    if told["reads"] is False:
        raise DataError(
            f"{where}: run must read its stories, got {in_words(told)}: its layers and heads may show a "
            "leaning; --anyway looks into them regardless"
        )


def in_words(told: dict[str, Any]) -> str:
    """Return how well a model reads, as a measure with its interval and its chance level.

    Example:
        >>> in_words({"measure": "choice_accuracy_k", "value": 51.2, "low": 44.0, "high": 58.3})
        'choice_accuracy_k 51.2 [44, 58.3] where 50 is chance'
    """
    chance = "0.5" if told["measure"].startswith("auc") else "50"
    low, high = f"{told['low']:.3g}", f"{told['high']:.3g}"
    return f"{told['measure']} {told['value']:.3g} [{low}, {high}] where {chance} is chance"


def _told(reads: bool | None, reason: str | None, found: Estimate, source: str) -> dict[str, Any]:
    numbers = {name: getattr(found, name) for name in ("measure", "value", "low", "high")}
    return {"reads": reads, "reason": reason, **numbers, "known_from": source}
