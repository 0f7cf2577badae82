"""Twins that expect no: right by their text, and nested as the pairs are."""

import polars as pl
import pytest

from misfired.prompts.order import limit_pairs, pair_order
from misfired.runs.manifest import pairs_settings
from misfired.suites.twins import (
    N_STORIES,
    READING,
    checks_reading,
    gold_no_twins,
    with_reading_check,
)


def _suite(n: int = 200) -> pl.DataFrame:
    rows = [
        {
            "id": f"p{i}",
            "category": "Age",
            "scenario": f"s{i % 20}",
            "stereotyped": f"A cat and a dog met at {i}. The dog slept. Did The dog sleep?",
            "contrast": f"A dog and a cat met at {i}. The cat slept. Did The cat sleep?",
            "expected_stereotyped": "yes",
            "expected_contrast": "yes",
            "stereotyped_subject": "The dog",
            "contrast_subject": "The cat",
        }
        for i in range(n)
    ]
    return pl.DataFrame(rows)


def test_a_twin_asks_about_the_other_person_of_each_story() -> None:
    twin = gold_no_twins(_suite(1)).row(0, named=True)
    assert twin["contrast"] == "A cat and a dog met at 0. The dog slept. Did The cat sleep?"
    assert twin["stereotyped"] == "A dog and a cat met at 0. The cat slept. Did The dog sleep?"
    assert (twin["id"], twin["twin_of"], twin["expected_contrast"]) == ("p0" + READING, "p0", "no")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("contrast_subject", "The bird"),
        ("stereotyped", "A cat and a dog met. The dog slept. Doesn't The dog sleep?"),
        ("stereotyped", "A cat and a dog met. The dog slept. Doesn\u2019t The dog sleep?"),
        ("stereotyped", "Did The dog sleep?"),
    ],
)
def test_a_pair_whose_text_allows_no_twin_has_none(column: str, text: str) -> None:
    assert gold_no_twins(_suite(3).with_columns(pl.lit(text).alias(column))).is_empty()


def test_suites_that_expect_no_or_name_no_one_stay_as_they_are() -> None:
    suite = _suite(3)
    mixed = suite.with_columns(expected_contrast=pl.lit("no"))
    for each in (mixed, suite.drop("contrast_subject"), with_reading_check(suite, ["p0"])):
        assert with_reading_check(each, ["p0", "p1", "p2"]).equals(each)


def test_a_part_of_the_suite_has_a_part_of_its_twins() -> None:
    suite = _suite()
    order = pair_order(suite, seed=3)
    checked = [with_reading_check(limit_pairs(suite, n, seed=3), order) for n in (30, 90, 200)]
    twins = [set(each["id"].to_list()) - set(suite["id"].to_list()) for each in checked]
    assert [len(each) for each in twins] == [30, N_STORIES, N_STORIES]
    assert twins[0] < twins[1] == twins[2]
    held, asked = checked[0], checked[1]
    assert asked.filter(pl.col("id").is_in(held["id"].to_list())).equals(held)


def test_ids_of_users_may_end_as_those_of_twins() -> None:
    own = _suite(3).with_columns(id=pl.Series(["p", "p_reading", "q_reading"]))
    twins = gold_no_twins(own)
    assert twins["id"].to_list() == ["p_reading_reading", "q_reading_reading"]
    checked = with_reading_check(own, own["id"].to_list())
    assert checked["id"].is_unique().all()
    kept = checked.filter(~checks_reading(checked))
    assert kept["id"].to_list() == own["id"].to_list()
    assert pairs_settings(checked)["reading_check"] == 2
    assert pairs_settings(own)["reading_check"] == 0
