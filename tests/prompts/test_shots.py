"""Demonstrations are balanced, the same for the same seed, and never measured."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from misfired.errors import ArgumentError
from misfired.prompts.shots import draw_shots


def suite(*, twins: bool, n_categories: int = 3, n_scenarios: int = 6) -> pl.DataFrame:
    """Each scenario has two pairs, and with `twins` the same again with the other answer."""
    rows = [
        {
            "id": f"c{category}_s{scenario}_p{pair}{'_no' * is_twin}",
            "category": f"c{category}",
            "scenario": f"c{category}_s{scenario}",
            "stereotyped": f"Is {category}.{scenario}.{pair}.{is_twin} so?",
            "contrast": f"Is it {category}.{scenario}.{pair}.{is_twin}?",
            "expected_stereotyped": "no" if is_twin else "yes",
            "expected_contrast": "no" if is_twin else "yes",
            "twin_of": f"c{category}_s{scenario}_p{pair}" if is_twin else None,
        }
        for category in range(n_categories)
        for scenario in range(n_scenarios)
        for pair in range(2)
        for is_twin in ((False, True) if twins else (False,))
    ]
    return pl.DataFrame(rows, schema_overrides={"twin_of": pl.String})


def spread(values: list[str], of: set[str]) -> int:
    counts = Counter(values)
    return max(counts[value] for value in of) - min(counts[value] for value in of)


@given(st.integers(1, 17), st.integers(0, 1000), st.booleans())
def test_categories_conditions_and_answers_are_balanced(n_shots, seed, twins) -> None:
    pairs = suite(twins=twins)
    shots, _ = draw_shots(pairs, n_shots, seed=seed)
    assert len(shots) == n_shots
    assert spread([shot.category for shot in shots], {"c0", "c1", "c2"}) <= 1
    assert spread([shot.condition for shot in shots], {"stereotyped", "contrast"}) <= 1
    if twins:
        assert spread([shot.answer for shot in shots], {"yes", "no"}) <= 1
    assert len({shot.scenario for shot in shots}) == n_shots
    texts = dict(zip(pairs["id"], pairs.iter_rows(named=True), strict=True))
    for shot in shots:
        assert shot.text == texts[shot.id][shot.condition]
        assert shot.answer == texts[shot.id][f"expected_{shot.condition}"]


@given(st.integers(0, 1000))
def test_four_demonstrations_hold_every_condition_with_every_answer(seed) -> None:
    shots, _ = draw_shots(suite(twins=True), 4, seed=seed)
    assert len({(shot.condition, shot.answer) for shot in shots}) == 4


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(seed, random) -> None:
    pairs = suite(twins=True)
    rows = list(range(len(pairs)))
    random.shuffle(rows)
    assert draw_shots(pairs, 5, seed=seed)[0] == draw_shots(pairs[rows], 5, seed=seed)[0]


def test_seeds_differ_in_choice_and_order() -> None:
    draws = {draw_shots(suite(twins=True), 6, seed=seed)[0] for seed in range(20)}
    assert len(draws) == 20
    assert len({tuple(shot.answer for shot in shots) for shots in draws}) > 5


@pytest.mark.parametrize("hold_out", ["scenario", "pair"])
def test_what_was_demonstrated_is_not_measured(hold_out) -> None:
    pairs = suite(twins=True)
    shots, measured = draw_shots(pairs, 4, hold_out=hold_out)
    gone = pairs.join(measured, on="id", how="anti")
    taken = {shot.scenario for shot in shots}
    if hold_out == "scenario":
        assert set(gone["scenario"]) == taken
        assert not set(measured["scenario"]) & taken
    else:
        assert len(gone) == 8, "four pairs and their twins"
        assert {shot.id.removesuffix("_no") for shot in shots} == {
            name.removesuffix("_no") for name in gone["id"]
        }
    assert measured.columns == pairs.columns
    assert measured.equals(pairs.join(gone, on="id", how="anti"))


def test_no_demonstrations_change_nothing() -> None:
    pairs = suite(twins=False)
    shots, measured = draw_shots(pairs, 0)
    assert shots == ()
    assert measured is pairs


def test_what_cannot_be_drawn_is_refused_with_numbers() -> None:
    pairs = suite(twins=True, n_categories=2, n_scenarios=2)
    with pytest.raises(
        ArgumentError, match="n_shots must be at most 4, one of each scenario, got 5"
    ):
        draw_shots(pairs, 5)
    with pytest.raises(ArgumentError, match="hold out all 16 pairs"):
        draw_shots(pairs, 4)
    assert len(draw_shots(pairs, 4, hold_out="pair")[1]) == 8
    with pytest.raises(ArgumentError, match="n_shots must be at least 0, got -1"):
        draw_shots(pairs, -1)
    with pytest.raises(
        ArgumentError, match="hold_out must be one of scenario, pair, got 'category'"
    ):
        draw_shots(pairs, 1, hold_out="category")
