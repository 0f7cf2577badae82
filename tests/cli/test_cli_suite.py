"""`misfired suite`: what it prints, and one line for what is wrong."""

import json
import re

import polars as pl
import pytest

from helpers import make_suite
from misfired import write_suite
from misfired.suites.card import card_path


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "bakers.csv"
    write_suite(make_suite(), file, licence="CC0-1.0", source="Invented.")
    return file


def test_validate_says_what_was_checked(misfired, file):
    done = misfired("suite", "validate", file)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{file}: invented@1.0.0: 24 pairs, 0 twins, 6 scenarios, 2 categories",
        f"{card_path(file)}: agrees",
    ]
    card_path(file).unlink()
    assert misfired("suite", "validate", file).out.splitlines()[1] == "no card beside it"


def test_validate_as_json(misfired, file):
    assert json.loads(misfired("suite", "validate", file, "--json").out) == {
        "file": str(file),
        "suite": "invented@1.0.0",
        "pairs": 24,
        "twins": 0,
        "scenarios": 6,
        "categories": 2,
        "card": str(card_path(file)),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "pair_0"}, "row 2: id must be unique, not the id of an earlier row, got 'pair_0'"),
        (
            {"expected_contrast": "perhaps"},
            "row 1: expected_contrast must be one of yes, no, got 'perhaps'",
        ),
        (
            {"contrast": "x" * 10_000_000},
            "row 1: contrast must be at most 1000000 characters, got 'xxx",
        ),
    ],
)
def test_a_bad_suite_is_one_line_with_row_and_column(misfired, tmp_path, change, message):
    file = tmp_path / "bad.parquet"
    make_suite().with_columns(
        **{name: pl.lit(value) for name, value in change.items()}
    ).write_parquet(file)
    done = misfired("suite", "validate", file)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {file}, {message}")
    assert done.err.count("\n") == 1


def test_a_protocol_says_which_answers_there_are(misfired, tmp_path):
    file, protocol = tmp_path / "three.jsonl", tmp_path / "three.toml"
    suite = make_suite().with_columns(expected_contrast=pl.lit("both"))
    write_suite(suite, file, answers=("yes", "both"))
    assert misfired("suite", "validate", file).code == 2
    protocol.write_text(
        'name = "three"\nversion = "1"\ninstruction = "Say yes, no or both."\n'
        '[answers]\nyes = ["Yes"]\nno = ["No"]\nboth = ["Both"]\n'
    )
    assert misfired("suite", "validate", file, "--protocol", protocol).code == 0


@pytest.mark.model
def test_more_than_two_answers_end_to_end(misfired, small_model, tmp_path):
    file, protocol, out = (tmp_path / name for name in ("three.csv", "three.toml", "run"))
    expected = pl.Series([("first", "second", "neither")[n % 3] for n in range(24)])
    suite = make_suite().with_columns(expected_stereotyped=expected, expected_contrast=expected)
    write_suite(suite, file, answers=("first", "second", "neither"), licence="MIT", source="Here.")
    protocol.write_text(
        'name = "three"\nversion = "1"\ninstruction = "Say first, second or neither."\n'
        'reading = "whole_form"\n'
        '[answers]\nfirst = ["First"]\nsecond = ["Second"]\nneither = ["Neither"]\n'
    )
    command = ["run", small_model, "--suite", file, "--protocol", protocol, "-o", out]
    command += ["--priming", "none", "--template", "plain", "--n-resamples", 50]
    shown = misfired(*command)
    assert "Mean probability on a first or second or neither form: " in " ".join(shown.out.split())
    done = misfired(*command, "--json")
    assert done.code == 0
    answers = pl.read_parquet(out / "answers.parquet")
    assert set(answers["answer"]) <= {"first", "second", "neither"}
    right = answers["answer"] == answers["expected"]
    assert answers["outcome"].to_list() == ["correct" if one else "wrong" for one in right]
    by_measure = {
        row["measure"]: row
        for row in json.loads(done.out)["summary"]
        if (row["slice"], row["priming"]) == ("overall", "none")
    }
    share = 100 * right.filter(answers["condition"] == "contrast").mean()
    assert by_measure["accuracy_contrast"]["value"] == pytest.approx(share)
    assert by_measure["mar"]["n_pairs"] == 24
    refused = misfired("run", small_model, "--suite", file, "-o", tmp_path / "other")
    assert refused.err.startswith(f"error: {file}, row 1: expected_stereotyped must be one of")


def test_describe_fits_80_columns(misfired, file):
    done = misfired("suite", "describe", file)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    path_lines = [line for line in lines if line.startswith("file")]
    assert max(len(line) for line in lines if line not in path_lines) <= 80
    assert "licence             CC0-1.0" in lines
    words = [line.split() for line in lines]
    assert ["Age", "12", "0", "3"] in words
    assert ["all", "24", "0", "6"] in words
    assert ["yes/yes", "24"] in words


def test_describe_as_json(misfired, file):
    about = json.loads(misfired("suite", "describe", file, "--json").out)
    assert about["card"]["licence"] == "CC0-1.0"
    assert about["sha256"] == about["card"]["sha256"]
    assert about["categories"][0] == {"category": "Age", "pairs": 12, "twins": 0, "scenarios": 3}
    assert about["expected"] == {"yes/yes": 24}
    assert "placebo" not in about["primings"]
    assert {"none", "cue", "neutral_both", "fairness_system"} <= set(about["primings"])


@pytest.mark.parametrize("command", ["validate", "describe"])
def test_help_has_an_example(misfired, command):
    done = misfired("suite", command, "--help")
    assert f"Examples:\n   misfired suite {command}" in re.sub(" +\n", "\n", done.out)
    assert max(map(len, done.out.splitlines())) <= 80
