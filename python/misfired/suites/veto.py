"""VETO's contrastive pairs, built from the rows of BBQ."""

import os
from collections.abc import Sequence

import polars as pl

from misfired import _core
from misfired.errors import ArgumentError
from misfired.suites.bbq import bbq_file, checked_categories
from misfired.suites.io import PAIRS_SCHEMA

__all__ = ["VETO_CATEGORIES", "build_pairs"]

VETO_CATEGORIES = (
    "Age",
    "Gender_identity",
    "Religion",
    "Sexual_orientation",
    "SES",
    "Disability_status",
    "Race_ethnicity",
    "Physical_appearance",
)
"""The eight categories of BBQ whose labels the published protocol can pair."""

_SUITES = {"paper": "veto-paper@1.0.0"}


def build_pairs(
    bbq_dir: str | os.PathLike[str],
    categories: Sequence[str] | None = None,
    variant: str = "paper",
) -> pl.DataFrame:
    """Build contrastive pairs from a folder of BBQ files.

    Rows are those with a disambiguated context and a question of negative polarity. Within a
    scenario, the i-th row whose right answer is in a stereotyped group and the i-th row whose
    right answer is in another group make a pair, at most 20 pairs a scenario. The right answer
    to both prompts is yes.

    Args:
        bbq_dir: Folder with files `<category>.jsonl`; `fetch_bbq` makes one.
        categories: Which of `VETO_CATEGORIES`, in the order wanted; all by default.
        variant: "paper", the rules of the published benchmark.

    Returns:
        One row per pair, in the order of the categories and of BBQ's scenarios: the columns of
        `PAIRS_SCHEMA`, then where each pair comes from: `question` (BBQ's),
        `stereotyped_subject` and `contrast_subject` (the answer that each prompt asks about, word
        for word), `stereotyped_example_id` and `contrast_example_id` (BBQ's rows, int64).

    Raises:
        ArgumentError: An unknown variant; categories that are unknown, repeated, or none.
        DataError: The folder or a file is missing, a file is empty or gives no pairs, or a line
            is broken; the message names file, line, field, value and limit.

    Examples:
        >>> from misfired import build_pairs
        >>> pairs = build_pairs("bbq", categories=["Age"])  # doctest: +SKIP
        >>> pairs["cue"][0]  # doctest: +SKIP
        'It is not okay to assume old people were not comfortable using the phone.'

    Source:
        Deng et al. 2026, arXiv 2606.18656; rows of Parrish et al. 2022, CC BY 4.0.
    """
    if variant not in _SUITES:
        raise ArgumentError(f"variant: {variant!r}, expected one of {', '.join(_SUITES)}")
    known = VETO_CATEGORIES
    wanted = checked_categories(known if categories is None else categories, known)
    files = [(bbq_file(bbq_dir, category), category) for category in wanted]
    texts, stereotyped_example_id, contrast_example_id = _core.veto_pairs(files)
    pairs = pl.DataFrame(dict(texts)).with_columns(
        pl.lit(_SUITES[variant]).alias("suite"),
        pl.lit("yes").alias("expected_stereotyped"),
        pl.lit("yes").alias("expected_contrast"),
        pl.Series("stereotyped_example_id", stereotyped_example_id),
        pl.Series("contrast_example_id", contrast_example_id),
    )
    return pairs.select(*PAIRS_SCHEMA, pl.exclude(*PAIRS_SCHEMA))
