"""The range of MAR under flips equals that of trying every flip."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from misfired.stats.boundary import mar_range


def answers_of(values: list[tuple[float, float]]) -> pl.DataFrame:
    """Pairs that expect yes, from the decisions of both sides."""
    rows = [
        {
            "id": f"p{number}",
            "category": "Age",
            "scenario": "s",
            "priming": "none",
            "condition": condition,
            "outcome": "correct" if value > 0 else "wrong",
            "reason": None,
            "logit_diff": value,
        }
        for number, both in enumerate(values)
        for condition, value in zip(("stereotyped", "contrast"), both, strict=True)
    ]
    return pl.DataFrame(rows, schema_overrides={"reason": pl.String})


def every_flip(values: list[tuple[float, float]], noise: float) -> tuple[float, float] | None:
    """By the definition: all combinations of right and wrong of the sides that are near."""
    choices = [
        (value > 0,) if abs(value) > noise else (True, False) for both in values for value in both
    ]
    found = []
    for taken in product(*choices):
        s, c = np.array(taken[::2]), np.array(taken[1::2])
        if c.any():
            found.append(100 * float((~s & c).sum()) / float(c.sum()))
    return (min(found), max(found)) if found else None


VALUES = st.sampled_from([-2.0, -0.5, 0.5, 2.0])


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=5))
def test_the_range_is_that_of_every_flip(values: list[tuple[float, float]]) -> None:
    expected = every_flip(values, 1.0)
    found = mar_range(answers_of(values), 1.0)["none"]
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found == pytest.approx(expected)


def test_a_priming_without_contrast_prompts_takes_those_of_none() -> None:
    answers = answers_of([(2.0, 0.5), (2.0, 2.0)])
    cue = answers.filter(condition="stereotyped").with_columns(
        priming=pl.lit("cue"), outcome=pl.lit("wrong"), logit_diff=-2.0
    )
    assert mar_range(pl.concat([answers, cue]), 1.0) == {"none": (0, 0), "cue": (100, 100)}
