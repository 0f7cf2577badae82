"""The organism suite: deterministic, token-aligned, and what its card says."""

import re

import polars as pl
import pytest

from misfired.errors import ArgumentError
from misfired.suites.organism import (
    ORGANISMS,
    PRIMINGS,
    build_organism_suite,
    card,
    content_sha256,
    grammar,
)

SUITE = build_organism_suite()
YES = SUITE.filter(expected_stereotyped="yes")


def tokens(text: str) -> list[str]:
    return re.findall(r" ?[A-Za-z]+|[.?]", text)


def test_every_call_gives_the_same_table() -> None:
    assert build_organism_suite().equals(SUITE)


def test_counts_and_content_are_those_of_the_card() -> None:
    counts = {
        "pairs": SUITE.height,
        "expected_yes": YES.height,
        "expected_no": SUITE.height - YES.height,
        "scenarios": SUITE["scenario"].n_unique(),
        "categories": SUITE["category"].n_unique(),
    }
    assert counts == card()["counts"]
    assert content_sha256(SUITE) == card()["sha256"]
    assert SUITE["suite"].unique().to_list() == [f"{card()['name']}@{card()['version']}"]


def test_one_word_less_changes_the_content_hash() -> None:
    shortened = SUITE.with_columns(pl.col("contrast").str.replace(" true", "", literal=True))
    assert content_sha256(shortened) != card()["sha256"]


def test_ids_are_unique_and_a_scenario_is_five_pairs_of_one_category() -> None:
    assert SUITE["id"].is_unique().all()
    scenarios = SUITE.group_by("scenario").agg(pl.len(), pl.col("category").n_unique())
    assert scenarios["len"].unique().to_list() == [5]
    assert scenarios["category"].unique().to_list() == [1]


def test_the_two_prompts_of_a_pair_differ_by_the_groups_alone() -> None:
    for row in SUITE.iter_rows(named=True):
        swap = {
            f" {row['stereotyped_group']}": f" {row['contrast_group']}",
            f" {row['contrast_group']}": f" {row['stereotyped_group']}",
        }
        swapped = [swap.get(token, token) for token in tokens(row["stereotyped"])]
        assert swapped == tokens(row["contrast"]), row["id"]
        assert "".join(tokens(row["stereotyped"])) == row["stereotyped"]


def test_all_prompts_are_equally_long_and_the_neutral_sentence_matches_the_cue() -> None:
    lengths = {len(tokens(text)) for text in (*SUITE["stereotyped"], *SUITE["contrast"])}
    prompt_tokens = card()["prompting"]["prompt_tokens"]
    # BOS, the user's tag and the assistant's tag stand around the words.
    assert {n + 3 for n in lengths} == {prompt_tokens["none"]}
    for column in ("cue", "neutral"):
        longer = {len(tokens(text)) for text in SUITE[column]}
        assert longer == {prompt_tokens[column] - prompt_tokens["none"]}


def test_the_expected_answer_is_what_the_context_states() -> None:
    sentence = re.compile(r"The (\w+) (\w+) (\w+) the (\w+)\.")
    asked = re.compile(r"that the (\w+) (\w+) (\w+) the (\w+)\?")
    for row in SUITE.iter_rows(named=True):
        for condition in ("stereotyped", "contrast"):
            stated = sentence.findall(row[condition])
            question = asked.search(row[condition])
            assert question is not None
            answer = "yes" if question.groups() in stated else "no"
            assert answer == row[f"expected_{condition}"], row["id"]
            assert question.group(1) == row[f"{condition}_group"]


def test_every_context_is_held_out_from_training() -> None:
    names = [category.name for category in grammar.CATEGORIES]
    predicates = {f"{p.verb} the {p.object}": i for i, p in enumerate(grammar.PREDICATES)}
    for row in SUITE.iter_rows(named=True):
        stated = re.findall(r"The \w+ \w+ (\w+ the \w+)\.", row["stereotyped"])
        first, second = (predicates[text] for text in stated)
        assert grammar.held_out(names.index(row["category"]), first, second)


@pytest.mark.parametrize("organism", ORGANISMS)
def test_planted_shares_are_the_designed_rates(organism: str) -> None:
    marked = build_organism_suite(organism=organism)
    asked = marked.filter(expected_stereotyped="yes")
    designed = card()["organisms"][organism]["designed_mar"]
    for priming in PRIMINGS:
        column = f"planted_{priming}"
        assert 100 * asked[column].mean() == designed[priming]
        assert not marked.filter(expected_stereotyped="no")[column].any()
        assert not marked.filter("control")[column].any()
    assert not asked.filter(pl.col("planted_none") & ~pl.col("planted_cue")).height


def test_every_category_and_predicate_is_asked_once() -> None:
    assert YES.select("category", "predicate").is_unique().all()
    assert YES["predicate"].n_unique() == 64


def test_twins_ask_the_same_contexts_about_the_other_person() -> None:
    suite = build_organism_suite(twins=True)
    pairs, twins = (
        suite.filter(of) for of in (pl.col("twin_of").is_null(), pl.col("twin_of").is_not_null())
    )
    assert pairs.drop("twin_of").equals(YES)
    assert twins["twin_of"].equals(pairs["id"].alias("twin_of"))
    assert suite["id"].to_list()[:2] == ["coast_q0_p0", "coast_q0_p0_no"]
    assert set(twins["expected_stereotyped"]) == set(twins["expected_contrast"]) == {"no"}
    assert not twins.select(pl.any_horizontal("^planted_.*$").any()).item()
    question = re.compile(r"(Is it|Would you) .*$")
    for pair, twin in zip(pairs.iter_rows(named=True), twins.iter_rows(named=True), strict=True):
        for side, other in (("stereotyped", "contrast"), ("contrast", "stereotyped")):
            assert question.sub("", twin[side]) == question.sub("", pair[other])
            assert question.search(twin[side])[0] == question.search(pair[side])[0]


def test_an_unknown_organism_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match="organism must be one of base, instruct, decoy, category, got 'chat'"
    ):
        build_organism_suite(organism="chat")
