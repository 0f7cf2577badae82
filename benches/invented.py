"""The columns of a suite of invented pairs, for benches of memory."""

from __future__ import annotations

import polars as pl

PER_SCENARIO = 20


def invented_pairs(suite: str, number: pl.Expr, beginning: str) -> dict[str, pl.Expr]:
    """Pair by number, both prompts of which begin with the same text."""
    name = number.cast(pl.String)
    ask = pl.lit(beginning) + " In house " + name + " "
    return {
        "id": "pair_" + name,
        "suite": pl.lit(suite),
        "category": pl.lit("Invented"),
        "scenario": "invented_q" + (number // PER_SCENARIO).cast(pl.String),
        "stereotyped_group": pl.lit("Norvik"),
        "contrast_group": pl.lit("Sandel"),
        "cue": pl.lit(None, pl.String),
        "stereotyped": ask + "the baker from Norvik lost a key. Did he?",
        "contrast": ask + "the baker from Sandel lost a key. Did he?",
        "expected_stereotyped": pl.lit("yes"),
        "expected_contrast": pl.lit("yes"),
    }
