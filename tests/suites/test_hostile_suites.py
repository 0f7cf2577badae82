"""Hostile arguments to what makes and checks suites: each is refused in one line that names it."""

import polars as pl
import pytest

from helpers import make_suite
from misfired import ArgumentError, DataError, Priming, build_pairs, build_prompts
from misfired.prompts.primings import read_primings
from misfired.suites import (
    check_pairs,
    fetch_bbq,
    match_pairs,
    read_card,
    read_suite,
    validate_suite,
    write_suite,
)
from misfired.suites.card import Card, card_path
from misfired.suites.organism import build_organism_suite

SUITE = make_suite(4)
TEXTS = pl.DataFrame({"q": [1], "text": ["a b"], "size": [0.5], "distance": [2]})


PandasFrame = type("DataFrame", (), {"__module__": "pandas.core.frame"})


def match(right=TEXTS, **changes):
    return match_pairs(TEXTS, right, **{"by": "q", "text": "text"} | changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: validate_suite(SUITE.rows()), "frame must be a polars DataFrame, got a list"),
        (lambda: validate_suite(SUITE.lazy()), "frame must be a polars DataFrame, got a LazyFrame"),
        (
            lambda: validate_suite(PandasFrame()),
            "frame must be a polars DataFrame, got a pandas DataFrame",
        ),
        (lambda: validate_suite(SUITE, answers="yes"), "answers must be two or more unlike texts"),
        (lambda: validate_suite(SUITE, answers=[1, 2]), "answers must be two or more unlike texts"),
        (lambda: read_suite(3), "path must be text or a path, got 3"),
        (lambda: write_suite(SUITE, None), "path must be text or a path, got None"),
        (lambda: check_pairs(None), "pairs must be a polars DataFrame, got None"),
        (lambda: check_pairs(SUITE, correlations=0.1), "correlations must be a sequence, got 0.1"),
        (lambda: check_pairs(SUITE, correlations="1"), "correlations must be a sequence, got '1'"),
        (lambda: check_pairs(SUITE, count_tokens=3), "count_tokens must be a function or None"),
        (lambda: match(right=[]), "right must be a polars DataFrame, got a list"),
        (lambda: match(by=None), "by must be text or a sequence, got None"),
        (lambda: match(by="distance"), "by must not name a column of the result, got 'distance'"),
        (lambda: match(max_pairs="3"), "max_pairs must be a whole number or None, got '3'"),
        (lambda: build_pairs(3), "bbq_dir must be text or a path or None, got 3"),
        (lambda: build_pairs("b", categories=3), "categories must be a sequence or None, got 3"),
        (lambda: fetch_bbq("b", base_url=3), "base_url must be text, got 3"),
        (lambda: fetch_bbq("b", progress=3), "progress must be a function or None, got 3"),
        (lambda: build_organism_suite(twins="no"), "twins must be true or false, got 'no'"),
        (lambda: read_card(3), "path must be text or a path, got 3"),
        (lambda: Card("a", "1", "l", "s", 5), "sha256 must be text, got 5"),
        (lambda: Priming(3), "name must be text, got 3"),
        (lambda: Priming("a", text=3), "text must be text or None, got 3"),
        (lambda: Priming("a", sides=None), "sides must be a sequence, got None"),
        (lambda: read_primings(None), "path must be text or a path, got None"),
        (lambda: build_prompts([]), "pairs must be a polars DataFrame, got a list"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(call, message):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_pairs(SUITE.clear()), "pairs: must have at least 1 row, got 0"),
        (lambda: check_pairs(pl.DataFrame({"a": [1]})), "pairs: column id is missing"),
        (
            lambda: check_pairs(SUITE.with_columns(twin_of=pl.lit("elsewhere"))),
            "pairs, row 1: twin_of must be the id of a pair that is no twin, got 'elsewhere'",
        ),
        (
            lambda: match(TEXTS.with_columns(q=pl.lit("1"))),
            "right: column q must be Int64 as in left, got String",
        ),
        (
            lambda: match(TEXTS.with_columns(size=float("nan")), by="size"),
            "right, row 1: size must have a value, got nan",
        ),
    ],
)
def test_a_frame_of_another_kind_is_refused(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


def test_a_column_named_twice_groups_once():
    assert match(by=["q", "q"]).equals(match())


@pytest.mark.parametrize("changes", [{"licence": " "}, {"suite": "other@1"}])
def test_a_card_that_is_refused_leaves_no_suite_behind(tmp_path, changes):
    file = tmp_path / "new.parquet"
    named = pl.when(pl.col("id") == SUITE["id"][0]).then(
        pl.lit(changes.get("suite", "invented@1.0.0"))
    )
    frame = SUITE.with_columns(suite=named.otherwise("suite"))
    with pytest.raises((ArgumentError, DataError)):
        write_suite(frame, file, licence=changes.get("licence", "CC0-1.0"), source="Invented.")
    assert not file.exists()
    assert not card_path(file).exists()
