"""Suite cards: read field by field, and held against the suite beside them."""

import polars as pl
import pytest

from helpers import make_suite
from misfired import ArgumentError, DataError, read_suite, write_suite
from misfired.suites.card import Card, card_path, read_card, suite_counts

LICENCE = {"licence": "CC0-1.0", "source": 'Invented for this test, "as is".'}


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "bakers.parquet"
    write_suite(make_suite(), file, **LICENCE)
    return file


def test_a_written_card_agrees_and_says_what_it_was_told(file):
    card = read_card(card_path(file))
    assert (card.name, card.version) == ("invented", "1.0.0")
    assert (card.licence, card.source) == tuple(LICENCE.values())
    assert card.counts == {"pairs": 24, "twins": 0, "scenarios": 6, "categories": 2}
    assert card.answers == ("yes", "no")
    assert len(card.sha256) == 64
    assert read_suite(file).equals(make_suite())


def test_twins_are_counted_apart():
    suite = make_suite(4)
    twins = suite.with_columns(id=pl.col("id") + "_no", twin_of=pl.col("id"))
    both = pl.concat([suite.with_columns(twin_of=pl.lit(None, pl.String)), twins])
    assert suite_counts(both) == {"pairs": 4, "twins": 4, "scenarios": 2, "categories": 2}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name = "invented"',
            'name = "other"',
            "bakers.parquet, row 1: suite must be 'other@1.0.0' as in .*, got 'invented@1.0.0'",
        ),
        ('version = "1.0.0"', 'version = "2"', "suite must be 'invented@2' as in bakers.card.toml"),
        ("pairs = 24", "pairs = 25", "counts.pairs must be 24 as in bakers.parquet, got 25"),
        (
            "twins = 0",
            "rows = 24",
            "unknown key 'counts.rows', must be one of pairs, twins, scenarios",
        ),
        ('sha256 = "', 'sha256 = "0', "sha256 must be '[0-9a-f]{64}' as of bakers.parquet, got '0"),
        (
            '"yes", "no"',
            '"yes", "maybe"',
            "bakers.parquet, row 1: expected_stereotyped must be one of",
        ),
        (
            "licence",
            "license",
            "unknown key 'license', must be one of name, version, licence, source",
        ),
        ('name = "invented"', "name = 3", "name must be a text, got 3"),
        ('name = "invented"', 'name = " "', "name must not be empty, got ' '"),
        ('name = "invented"\n', "", "key 'name' is missing"),
        (
            'answers = ["yes", "no"]',
            'answers = ["yes"]',
            "answers must be two or more unlike texts, got \\['yes'\\]",
        ),
        ("pairs = 24", 'pairs = "24"', "counts.pairs must be a whole number, got '24'"),
        ("[counts]", "[counts", "bakers.card.toml: not TOML: "),
    ],
)
def test_a_card_that_disagrees_is_named_with_field_and_value(file, old, new, message):
    card = card_path(file)
    text = card.read_text()
    assert old in text
    if "maybe" in new:
        suite = make_suite().with_columns(expected_stereotyped=pl.lit("no"))
        write_suite(suite, file, **LICENCE)
        text = card.read_text()
    card.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        read_suite(file)


def test_a_card_whose_suite_was_changed_is_noticed(file):
    write_suite(make_suite().with_columns(cue=pl.lit("Be fair.")), file)
    with pytest.raises(
        DataError, match=r"sha256 must be '[0-9a-f]{64}' as of .*, got '[0-9a-f]{64}'"
    ):
        read_suite(file)


def test_answers_beyond_yes_and_no(tmp_path):
    suite = make_suite(4).with_columns(expected_contrast=pl.lit("both"))
    file = tmp_path / "three.jsonl"
    with pytest.raises(
        DataError, match="row 1: expected_contrast must be one of yes, no, got 'both'"
    ):
        write_suite(suite, file)
    write_suite(suite, file, answers=("yes", "no", "both"), **LICENCE)
    assert read_suite(file).equals(suite)
    card_path(file).unlink()
    with pytest.raises(
        DataError, match="row 1: expected_contrast must be one of yes, no, got 'both'"
    ):
        read_suite(file)
    assert read_suite(file, answers=["yes", "both"]).equals(suite)


def test_a_card_needs_licence_and_source_and_one_suite(tmp_path):
    with pytest.raises(ArgumentError, match="licence and source must be given together"):
        write_suite(make_suite(4), tmp_path / "a.jsonl", licence="MIT")
    suite = make_suite(4)
    two = pl.concat([suite, suite.with_columns(id=pl.col("id") + "b", suite=pl.lit("other@1"))])
    with pytest.raises(DataError, match=r"must be of one suite, got invented@1.0.0, other@1"):
        write_suite(two, tmp_path / "b.jsonl", **LICENCE)


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no.card.toml: No such file"):
        read_card(tmp_path / "no.card.toml")
    assert Card("a", "1", "MIT", "here", "0").answers == ("yes", "no")
