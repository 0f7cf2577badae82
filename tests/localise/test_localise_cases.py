"""Which pairs are drawn, and how the two persons are found in their prompts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from misfired.errors import DataError
from misfired.localise.cases import Prompt, align, choose_cases


def prompt(*ids: int, expected: str = "yes") -> Prompt:
    return Prompt(np.array(ids, np.int32), (91, 92), (93,), expected)


@pytest.fixture
def outcomes() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    n = 200
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "category": ["A" if i < 120 else "B" for i in range(n)],
            "scenario": [f"s{i // 4}" for i in range(n)],
            "stereotyped": rng.random(n) < 0.7,
            "contrast": rng.random(n) < 0.9,
        }
    )


def test_margin_follows_the_expected_answer() -> None:
    logits = np.array([1.0, 3.0, 2.5])
    assert prompt(1).margin(logits) == pytest.approx(0.5)
    assert prompt(1, expected="no").margin(logits) == pytest.approx(-0.5)


def test_failures_and_as_many_controls_of_each_category(outcomes: pl.DataFrame) -> None:
    chosen = choose_cases(outcomes, n_pairs=20, seed=1).join(outcomes, on="id")
    failures = chosen.filter(kind="failure")
    assert not failures["stereotyped"].any()
    assert failures["contrast"].all()
    controls = chosen.filter(kind="control")
    assert controls["stereotyped"].all()
    assert controls["contrast"].all()
    for category in "AB":
        assert len(failures.filter(category=category)) == len(controls.filter(category=category))
    assert len(failures) == 20


@pytest.mark.parametrize("n_pairs", [1, 2, 4, 7, 33])
@pytest.mark.parametrize("n_categories", [1, 3, 10])
def test_at_most_means_at_most(n_pairs: int, n_categories: int) -> None:
    outcomes = pl.DataFrame(
        [
            {
                "id": f"{n}", "category": f"c{n * n % n_categories}",
                "stereotyped": n % 2 == 0, "contrast": True,
            }
            for n in range(400)
        ]
    )  # fmt: skip
    for seed in range(5):
        chosen = choose_cases(outcomes, n_pairs=n_pairs, seed=seed).join(outcomes, on="id")
        failures = chosen.filter(kind="failure")
        assert len(failures) == n_pairs
        for (category,), group in outcomes.filter(~pl.col("stereotyped")).group_by("category"):
            share = n_pairs * len(group) / 200
            assert abs(len(failures.filter(category=category)) - share) < 1


def test_the_seed_decides_the_draw(outcomes: pl.DataFrame) -> None:
    draws = [choose_cases(outcomes, n_pairs=10, seed=seed)["id"].to_list() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_without_failures_there_is_nothing_to_study(outcomes: pl.DataFrame) -> None:
    right = outcomes.with_columns(pl.lit(value=True).alias("stereotyped"))
    with pytest.raises(DataError, match="no failures to study: of 200 pairs"):
        choose_cases(right)


def test_where_whole_categories_fail_controls_are_of_others(outcomes: pl.DataFrame) -> None:
    fails = outcomes.with_columns(contrast=True, stereotyped=pl.col("category") == "B")
    chosen = choose_cases(fails, n_pairs=7).join(outcomes, on="id")
    assert chosen.group_by("kind", "category").len().sort("kind").rows() == [
        ("control", "B", 7),
        ("failure", "A", 7),
    ]
    among = fails.filter(category="A")["id"]
    assert set(choose_cases(fails, among=among)["kind"]) == {"failure"}


def test_unscored_pairs_are_neither(outcomes: pl.DataFrame) -> None:
    unscored = outcomes.with_columns(
        pl.when(pl.col("id") == "p3")
        .then(None)
        .otherwise(pl.col("stereotyped"))
        .alias("stereotyped")
    )
    assert "p3" not in choose_cases(unscored)["id"]


def test_alignment_of_names_with_several_tokens() -> None:
    # "7 8 and 4 5 ... is it 7 8 ?" against the two swapped.
    left = prompt(1, 7, 8, 2, 4, 5, 30, 31, 32, 33, 7, 8, 0)
    right = prompt(1, 4, 5, 2, 7, 8, 30, 31, 32, 33, 4, 5, 0)
    (stereotyped, contrast), reason = align(left, right)
    assert reason is None
    assert stereotyped.span == contrast.span == range(10, 12)
    assert stereotyped.asked == contrast.asked == (1, 2, 10, 11)
    assert stereotyped.other == contrast.other == (4, 5)


def test_names_of_different_length_cannot_be_aligned() -> None:
    (stereotyped, _), reason = align(prompt(1, 2, 3, 7, 8, 0), prompt(1, 2, 3, 4, 0))
    assert reason == "the person has 2 tokens in one prompt, 1 in the other"
    assert stereotyped.span is None


def test_equal_prompts_cannot_be_aligned() -> None:
    assert align(prompt(1, 2), prompt(1, 2))[1] == "the prompts do not differ"
