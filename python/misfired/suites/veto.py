"""VETO's contrastive pairs, built from the rows of BBQ."""

from pathlib import Path

import polars as pl

from misfired._core import strict_pairs, veto_pairs

VETO_CATEGORIES = (
    *("Age", "Gender_identity", "Religion", "Sexual_orientation"),
    *("SES", "Disability_status", "Race_ethnicity", "Physical_appearance"),
)
"""BBQ's categories that the published protocol can pair."""


def build_paper(files: list[tuple[Path, str]]) -> pl.DataFrame:
    """Return the pairs of variant "paper" from BBQ's files; see `build_pairs`."""
    texts, stereotyped_rows, contrast_rows = veto_pairs(files)
    numbers = {"stereotyped_example_id": stereotyped_rows, "contrast_example_id": contrast_rows}
    yes = pl.lit("yes")
    return pl.DataFrame(dict(texts) | numbers).with_columns(
        expected_stereotyped=yes, expected_contrast=yes
    )


def build_strict(files: list[tuple[Path, str]]) -> pl.DataFrame:
    """Return the pairs of variant "strict" from BBQ's files; see `build_pairs`."""
    texts, numbers, exact_swap = strict_pairs(files)
    names = ("stereotyped_example_id", "contrast_example_id", "distance")
    columns = dict(texts) | dict(zip(names, numbers, strict=True)) | {"exact_swap": exact_swap}
    twin_of = pl.col("twin_of").replace("", None)
    expected = pl.when(twin_of.is_null()).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return pl.DataFrame(columns).with_columns(
        twin_of=twin_of, expected_stereotyped=expected, expected_contrast=expected
    )
