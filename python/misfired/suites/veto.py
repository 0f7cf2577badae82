"""VETO's contrastive pairs, built from the rows of BBQ."""

from pathlib import Path

import polars as pl

from misfired._core import strict_pairs, veto_pairs

__all__ = ["VETO_CATEGORIES", "build_paper", "build_strict"]

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
"""BBQ's categories that the published protocol can pair."""


def build_paper(files: list[tuple[Path, str]]) -> pl.DataFrame:
    """Return the pairs of variant "paper" from BBQ's files; see `build_pairs`."""
    texts, stereotyped_example_id, contrast_example_id = veto_pairs(files)
    return pl.DataFrame(dict(texts)).with_columns(
        pl.lit("yes").alias("expected_stereotyped"),
        pl.lit("yes").alias("expected_contrast"),
        pl.Series("stereotyped_example_id", stereotyped_example_id),
        pl.Series("contrast_example_id", contrast_example_id),
    )


def build_strict(files: list[tuple[Path, str]]) -> pl.DataFrame:
    """Return the pairs of variant "strict" from BBQ's files; see `build_pairs`."""
    texts, numbers, exact_swap = strict_pairs(files)
    names = ("stereotyped_example_id", "contrast_example_id", "distance")
    expected = pl.when(pl.col("twin_of") == "").then(pl.lit("yes")).otherwise(pl.lit("no"))
    pairs = pl.DataFrame(dict(texts)).with_columns(
        expected.alias("expected_stereotyped"), expected.alias("expected_contrast")
    )
    columns = [pl.Series(name, values) for name, values in zip(names, numbers, strict=True)]
    return pairs.with_columns(
        pl.col("twin_of").replace("", None), *columns, pl.Series("exact_swap", exact_swap)
    )
