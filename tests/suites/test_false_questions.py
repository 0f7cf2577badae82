"""False questions: those of a suite's twins, and those built where the text allows."""

from pathlib import Path

import polars as pl
import pytest

from misfired import build_pairs
from misfired.suites.false_questions import (
    NEGATED,
    NO_QUESTION,
    NO_SWAP,
    NOT_YES,
    OTHER_STORY,
    false_questions,
    swap_questions,
)
from misfired.suites.organism import build_organism_suite


def test_those_built_are_the_suites_own() -> None:
    suite = build_organism_suite(twins=True)
    own = false_questions(suite)
    built = false_questions(suite.filter(pl.col("twin_of").is_null()).drop("twin_of"))
    assert own["reason"].null_count() == 512
    assert own.equals(built)


def test_those_built_are_the_twins_of_the_strict_variant(test_data: Path) -> None:
    suite = build_pairs(test_data / "bbq", variant="strict")
    own = false_questions(suite)
    built = false_questions(suite.filter(pl.col("twin_of").is_null()).drop("twin_of"))
    assert own["reason"].null_count() == len(own)
    both = own.join(built.filter(pl.col("reason").is_null()), on="id", suffix="_built")
    assert (len(own), len(both)) == (2585, 2340)
    for side in ("stereotyped", "contrast"):
        assert (both[side] == both[f"{side}_built"]).all()


def test_a_pair_that_expects_no_has_none() -> None:
    found = false_questions(build_organism_suite())
    assert found["reason"].value_counts().filter(reason=NOT_YES)["count"].to_list() == [128]


@pytest.mark.parametrize(
    ("stereotyped", "contrast", "false"),
    [
        (
            "An old man met a boy. The old man fell. Did the old man fall?",
            "A boy met an old man. The boy fell. Did the boy fall?",
            "An old man met a boy. The old man fell. Did the boy fall?",
        ),
        (
            "No. 1 saw it. No. 2 did not. Is it true that No. 1 saw it?",
            "No. 2 saw it. No. 1 did not. Is it true that No. 2 saw it?",
            "No. 1 saw it. No. 2 did not. Is it true that No. 2 saw it?",
        ),
        (
            "The cat bit the dog. Was it the cat that bit the dog?",
            "The dog bit the cat. Was it the dog that bit the cat?",
            "The cat bit the dog. Was it the dog that bit the cat?",
        ),
        ("The cat saw tea. Did the cat drink?", "The dog saw tea. Did the dog drink?", NO_SWAP),
        # Milk and tea differ too.
        (
            "A cat met a dog. The cat drank tea. Did the cat drink tea?",
            "A dog met a cat. The dog drank milk. Did the dog drink milk?",
            NO_SWAP,
        ),
        # There is no white woman in the first story.
        (
            "A white man met a black woman. The black woman ran. Did the black woman run?",
            "A black man met a white woman. The white woman ran. Did the white woman run?",
            NO_SWAP,
        ),
        ("A cat met a dog. The cat ran.", "A dog met a cat. The dog ran.", NO_QUESTION),
        (
            "A cat met a dog. The cat ran. Right?",
            "A dog met a cat. The dog ran. Right?",
            NO_QUESTION,
        ),
        ("Did the cat see the dog?", "Did the dog see the cat?", NO_QUESTION),
        ("Same?", "Same?", NO_SWAP),
        (
            "A cat met a dog. The cat ran. Didn't the dog run?",
            "A dog met a cat. The dog ran. Didn't the cat run?",
            NEGATED,
        ),
    ],
)
def test_by_example(stereotyped: str, contrast: str, false: str) -> None:
    found = swap_questions(stereotyped, contrast)
    assert (found if isinstance(found, str) else found[0]) == false


def test_a_twin_of_other_stories_is_none() -> None:
    suite = build_organism_suite(twins=True).head(4)
    others = suite.with_columns(
        stereotyped=pl.when(pl.col("twin_of").is_null()).then("stereotyped").otherwise("contrast"),
        contrast=pl.when(pl.col("twin_of").is_null()).then("contrast").otherwise("stereotyped"),
    )
    assert false_questions(others)["reason"].to_list() == [OTHER_STORY] * 2
