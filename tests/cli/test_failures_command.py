import io
import json
import re
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from invented_run import hostile_pairs, invented_pairs, write_run
from misfired.cli import load
from misfired.errors import ArgumentError


def scored(side):
    return pl.col(side).is_in(["correct", "wrong"])


STATISTICS = {"statistics": {"n_resamples": 100, "unit": "scenario", "confidence_level": 0.95}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failures") / "run"
    return write_run(folder, invented_pairs(200), unscored=0.03, **STATISTICS)


def run(*words):
    return CliRunner().invoke(load("failures"), list(map(str, words)))


def rows_of(*words):
    return [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]


def judged(folder):
    """The misfires and margins of a run, straight from its answers."""
    answers = pl.read_parquet(folder / "answers.parquet")
    sides = []
    for side in ("stereotyped", "contrast"):
        own = answers.filter(condition=side)
        sides.append(
            own.select(
                "id",
                "priming",
                pl.col("outcome").alias(side),
                pl.col("logit_diff").alias(f"m_{side}"),
            )
        )
    one, other = sides
    own = other["priming"].unique().to_list()
    source = pl.when(pl.col("priming").is_in(own)).then("priming").otherwise(pl.lit("none"))
    right = other.rename({"priming": "_from"})
    return one.with_columns(_from=source).join(right, on=["id", "_from"])


def test_the_misfires_are_those_of_the_answers_worst_first(folder):
    rows = rows_of(folder)
    expected = judged(folder).filter(stereotyped="wrong", contrast="correct")
    assert len(rows) == len(expected) > 20
    assert {(row["id"], row["priming"]) for row in rows} == set(
        expected.select("id", "priming").rows()
    )
    margins = [row["margin_stereotyped"] for row in rows]
    assert margins == sorted(margins)
    assert margins == pytest.approx(expected["m_stereotyped"].sort().to_list())


@pytest.mark.parametrize(
    ("words", "condition"),
    [
        (
            ("--outcome", "reverse"),
            (pl.col("stereotyped") == "correct") & (pl.col("contrast") == "wrong"),
        ),
        (
            ("--outcome", "both_right"),
            (pl.col("stereotyped") == "correct") & (pl.col("contrast") == "correct"),
        ),
        (
            ("--outcome", "unscored"),
            ~(scored("stereotyped") & scored("contrast")),
        ),
        (("--outcome", "any"), pl.lit(True)),
        (
            ("--outcome", "any", "--priming", "cue", "--priming", "none"),
            pl.col("priming").is_in(["cue", "none"]),
        ),
        (
            ("--outcome", "any", "--lowest", "0.5", "--highest", "2"),
            pl.col("m_stereotyped").is_between(0.5, 2),
        ),
    ],
)
def test_every_filter_counts_as_the_answers_do(folder, words, condition):
    assert len(rows_of(folder, *words)) == len(judged(folder).filter(condition))


def test_the_reason_of_an_unscored_pair_stands_below_both_prompts(folder):
    shown = run(folder, "--outcome", "unscored", "--n", 1)
    assert re.fullmatch(
        r"  why: (stereotyped|contrast).*invented error", shown.stdout.splitlines()[-1]
    )


def test_search_and_category_are_filters_of_pairs(folder):
    pairs = invented_pairs(200)
    every = rows_of(folder, "--outcome", "any", "--priming", "none", "--category", "Town A")
    assert len(every) == len(pairs.filter(category="Town A"))
    found = rows_of(folder, "--outcome", "any", "--priming", "none", "--search", "NORVIK baker")
    text = pl.concat_str(
        "id", "stereotyped_group", "contrast_group", "stereotyped", "contrast"
    ).str.to_lowercase()
    assert (
        len(found)
        == len(pairs.filter(text.str.contains("norvik") & text.str.contains("baker")))
        > 0
    )


def test_prompts_are_as_they_were_asked_with_the_words_that_differ(folder):
    row = rows_of(folder, "--priming", "cue")[0]
    pair = invented_pairs(200).row(by_predicate=pl.col("id") == row["id"], named=True)
    assert row["stereotyped"] == f"{pair['cue']} {pair['stereotyped']}"
    assert row["contrast"] == pair["contrast"]
    assert (row["sentence_stereotyped"], row["sentence_contrast"]) == (pair["cue"], None)
    words = [each.split() for each in (pair["stereotyped"], pair["contrast"])]
    assert {tuple(each) for each in row["difference"]} == {
        (one, other) for one, other in zip(*words, strict=True) if one != other
    }
    shown = run(folder, "--priming", "none", "--n", 2)
    assert shown.exit_code == 0
    assert f"[{pair['stereotyped_group']}" in run(folder, "--search", row["id"]).stdout
    assert shown.stdout.count("expected yes, margin") == 4
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_csv_holds_all_rows(folder):
    found = pl.read_csv(io.StringIO(run(folder, "--csv", "--n", 1).stdout))
    assert found["id"].to_list() == [row["id"] for row in rows_of(folder)]


def test_orders(folder):
    gaps = [
        row["margin_stereotyped"] - row["margin_contrast"]
        for row in rows_of(folder, "--outcome", "any", "--sort", "gap")
        if None not in (row["margin_stereotyped"], row["margin_contrast"])
    ]
    assert gaps == sorted(gaps)
    ids = [
        row["id"]
        for row in rows_of(folder, "--sort", "pair", "--outcome", "any", "--priming", "none")
    ]
    assert ids == invented_pairs(200)["id"].to_list()


def test_a_folder_without_prompts_still_lists_what_failed(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "pairs.parquet").unlink()
    assert len(rows_of(bare)) == len(rows_of(folder))
    assert "(the run folder holds no prompts)" in run(bare).stdout


def test_hostile_texts_are_text(tmp_path):
    write_run(tmp_path / "run", hostile_pairs(), **STATISTICS)
    shown = run(tmp_path / "run", "--outcome", "any").stdout
    assert not set(shown) & set("\x1b\u202e\u2066\x07")


def test_what_is_not_there_is_named(folder):
    for words, message in (
        (("--category", "Nowhere"), "category must be one of"),
        (("--outcome", "fine"), "outcome must be one of"),
        (("--lowest", "2", "--highest", "1"), "lowest must be at most"),
        (("--n", "0"), "n must be at least 1"),
    ):
        failed = run(folder, *words)
        assert isinstance(failed.exception, ArgumentError)
        assert message in str(failed.exception)
