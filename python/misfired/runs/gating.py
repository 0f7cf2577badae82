"""A gate on two runs, by path or as frames, for tests and scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from misfired.options import takes_options
from misfired.runs.folder import read_answers
from misfired.stats.gating import Gate, gate_runs
from misfired.stats.options import GateOptions, SamplingOptions


@takes_options(GateOptions, SamplingOptions)
def gate(
    base: Path | str | pl.DataFrame,
    candidate: Path | str | pl.DataFrame,
    fail_if: str | Sequence[str],
    **options: Any,
) -> Gate:
    """Judge whether a candidate is worse than its base, as `misfired compare --fail-if` does.

    Args:
        base: A run folder, an answers file, or answers or outcomes as a frame.
        candidate: The same for the model that is to be judged.
        fail_if: A rule such as `"mar > +2"`, or several.
        options: Fields of `GateOptions` and `SamplingOptions`.

    Returns:
        The gate; as text it says what it found, so that a test can end in
        `assert found.passed, found`.

    Raises:
        ArgumentError: A rule has another form, or names a category that the runs do not share.
        DataError: A file is missing or damaged, a run is not complete, or the runs share no pair.

    Example:
        >>> run = pl.DataFrame({
        ...     "id": [f"p{i}" for i in range(400)], "scenario": [f"q{i % 80}" for i in range(400)],
        ...     "category": "age", "priming": "none", "contrast": True,
        ...     "stereotyped": [i % 19 > 0 for i in range(400)]})
        >>> print(gate(run, run, "mar > +2"))
        pass: mar > +2 (overall): +0.0 [-0.9, +0.9]
    """
    first, second = (
        each if isinstance(each, pl.DataFrame) else read_answers(each) for each in (base, candidate)
    )
    return gate_runs(first, second, fail_if, **options)
