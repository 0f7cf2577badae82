import json
import re

import polars as pl
import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import DataError
from misfired.stats import (
    by_expected,
    priming_contrasts,
    signal_detection,
    study_tests,
    summarize,
)
from misfired.stats.outcomes import build_outcomes
from stats.answerers import answers_of


@pytest.fixture
def outcomes(tmp_path):
    frame = pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(24)] * 2,
            "category": (["age"] * 12 + ["Physical_appearance"] * 12) * 2,
            "scenario": [f"q{i // 4}" for i in range(24)] * 2,
            "priming": ["none"] * 24 + ["cue"] * 24,
            "stereotyped": [i % 5 != 0 for i in range(24)] + [i % 3 != 0 for i in range(24)],
            "contrast": [i % 11 != 0 for i in range(24)] * 2,
        }
    )
    frame.write_parquet(tmp_path / "outcomes.parquet")
    frame.write_ndjson(tmp_path / "outcomes.jsonl")
    return tmp_path


def run(*arguments, command="stats"):
    return CliRunner().invoke(load(command), list(map(str, arguments)))


def test_the_table_shows_slices_and_changes(outcomes):
    result = run(outcomes / "outcomes.parquet")
    assert result.exit_code == 0
    assert "overall" in result.stdout
    assert "cue - none" in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80


@pytest.mark.parametrize("name", ["outcomes.parquet", "outcomes.jsonl"])
def test_json_rows_are_the_summary(outcomes, name):
    result = run(outcomes / name, "--json", "--unit", "pair", "--n-resamples", 50, "--seed", 3)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    frame = pl.read_parquet(outcomes / "outcomes.parquet")
    expected = summarize(frame, unit="pair", n_resamples=50, rng=3).to_dicts()
    *rows, last = [{k: v for k, v in row.items() if k != "source"} for row in rows]
    assert rows == expected
    assert last["verdict"]["reads_reason"] == "no_answers"


def test_csv_and_latex(outcomes):
    csv = run(outcomes / "outcomes.parquet", "--csv").stdout.splitlines()
    assert csv[0].startswith("source,slice,priming,measure,value,low,high")
    latex = run(outcomes / "outcomes.parquet", "--latex").stdout
    assert "Physical\\_appearance & cue & 12" in latex


def test_several_files_are_told_apart(outcomes):
    files = [outcomes / "outcomes.parquet", outcomes / "outcomes.jsonl"]
    rows = [json.loads(line) for line in run(*files, "--json").stdout.splitlines()]
    assert {row["source"] for row in rows} == {str(file) for file in files}


@pytest.fixture
def answers(tmp_path):
    """A run of 40 scenarios with both expected answers, a cue and its control on both sides."""
    rows = []
    for priming, every in (("none", 7), ("cue_both", 2), ("neutral_both", 7)):
        for pair in range(160):
            for expected in ("yes", "no"):
                for condition in ("stereotyped", "contrast"):
                    step = every if condition == "stereotyped" else 9
                    right = (pair + len(expected)) % step != 0
                    rows.append(
                        {
                            "id": f"p{pair}" + ("" if expected == "yes" else "_no"),
                            "twin_of": None if expected == "yes" else f"p{pair}",
                            "category": "age",
                            "scenario": f"q{pair // 4}",
                            "priming": priming,
                            "condition": condition,
                            "expected": expected,
                            "answer": expected if right else {"yes": "no", "no": "yes"}[expected],
                            "outcome": "correct" if right else "wrong",
                            "reason": None,
                        }
                    )
    frame = pl.DataFrame(rows, schema_overrides={"reason": pl.String, "twin_of": pl.String})
    frame.write_parquet(tmp_path / "answers.parquet")
    return tmp_path / "answers.parquet"


def test_a_design_with_a_control_and_both_answers_shows_what_it_allows(answers):
    lines = run(answers).stdout.splitlines()
    assert max(map(len, lines[1:])) <= 80
    text = "\n".join(lines)
    for title in ("contrasts of primings", "yes or no, priming: cue_both", "MAR by expected"):
        assert title in text
    row = next(line for line in lines if line.startswith("interaction"))
    # Of 160 stereotyped prompts 80 are wrong after the cue, 23 after its control; contrast the same.
    assert row.split()[1:5] == ["cue_both", "-", "discrepancy", "+35.6"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("contrasts", lambda f: priming_contrasts(build_outcomes(f), n_resamples=50)),
        ("detection", lambda f: signal_detection(f, n_resamples=50)),
        ("expected", lambda f: by_expected(f, n_resamples=50)),
        ("summary", lambda f: summarize(build_outcomes(f), n_resamples=50)),
        ("tests", lambda f: study(f, "default")),
        ("paper-tests", lambda f: study(f, "paper")),
    ],
)
def test_each_table_alone_is_what_its_function_returns(answers, table, expected):
    result = run(answers, "--table", table, "--n-resamples", 50, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    rows = [{k: v for k, v in row.items() if k != "source"} for row in rows]
    assert rows == expected(pl.read_parquet(answers)).to_dicts()
    shown = run(answers, "--table", table, "--n-resamples", 50)
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines()[1:])) <= 80


def study(answers, options):
    outcomes = build_outcomes(answers).with_columns(model=pl.lit("answers"))
    return study_tests(outcomes, options=options)


def test_latex_of_the_papers_tests_has_a_table_for_each_family_and_stars(answers):
    latex = run(answers, "--table", "paper-tests", "--latex").stdout
    assert latex.count("\\begin{tabular}") == latex.count("% asymmetry") == 2
    row = next(line for line in latex.splitlines() if line.startswith("answers & 160 & "))
    # Of 160 pairs 23 are wrong on the stereotyped side, 18 on the other, both at once twice.
    assert row.startswith("answers & 160 & 13.1 & [")
    failed = run(answers, "--table", "detection", "--latex")
    rule = "table must be summary, tests or paper-tests with --latex"
    assert str(failed.exception) == f"{rule}, got 'detection'"


def misfires(n_pairs: int, *, per_scenario: int, every: int) -> pl.DataFrame:
    """Outcomes of pairs whose contrast is right; every so many pairs misfire."""
    pairs = range(n_pairs)
    return pl.DataFrame({
        "id": [f"p{i}" for i in pairs], "scenario": [f"q{i // per_scenario}" for i in pairs],
        "category": "Age", "priming": "none", "contrast": True,
        "stereotyped": [i % every > 0 for i in pairs],
    })  # fmt: skip


def test_a_starred_p_value_is_below_its_bounds(outcomes):
    misfires(120, per_scenario=4, every=5).write_parquet(outcomes / "misfires.parquet")
    shown = run(outcomes / "misfires.parquet", "--table", "paper-tests").stdout
    tested = next(line for line in shown.splitlines() if line.startswith("misfires "))
    assert tested.split()[-2:] == ["6e-08", "6e-08***"]
    few = run(outcomes / "outcomes.parquet", "--table", "paper-tests").stdout
    assert "few_pairs" in few


def twelve_scenarios(folder):
    """The outcomes with two pairs a scenario, which then stand in the file."""
    file = folder / "outcomes.parquet"
    frame = pl.read_parquet(file)
    number = pl.col("id").str.strip_prefix("p").cast(pl.Int64) // 2
    frame = frame.with_columns(scenario=pl.format("q{}", number))
    frame.write_parquet(file)
    return frame


def test_compare_shows_differences_with_p_values(outcomes):
    frame = twelve_scenarios(outcomes)
    frame.with_columns(stereotyped=True).write_parquet(outcomes / "other.parquet")
    files = (outcomes / "outcomes.parquet", outcomes / "other.parquet")
    table = run(*files, command="compare").stdout
    assert "cue - none" in table
    assert "adj. p" in table
    rows = [
        json.loads(line) for line in run(*files, "--json", command="compare").stdout.splitlines()
    ]
    assert rows[0]["slice"] == "overall"
    assert rows[0]["value"] > 0


def test_compare_says_how_much_is_shared_and_refuses_too_little(outcomes):
    whole = twelve_scenarios(outcomes)
    order = whole["scenario"].unique(maintain_order=True).to_list()
    for name, n in (("ten", 10), ("three", 3)):
        whole.filter(pl.col("scenario").is_in(order[:n])).write_parquet(
            outcomes / f"{name}.parquet"
        )
    file, ten, three = (outcomes / f"{name}.parquet" for name in ("outcomes", "ten", "three"))
    n_pairs, n_ten = whole["id"].n_unique(), pl.read_parquet(ten)["id"].n_unique()
    shown = " ".join(run(file, ten, command="compare").stdout.split())
    of = f"of {n_pairs} in the first and {n_ten} in the second"
    assert f"Shared: {n_ten} pairs of 10 scenarios, {of}." in shown
    failed = run(file, three, command="compare")
    assert isinstance(failed.exception, DataError)
    assert "must share at least 8 scenarios, got 3 (" in str(failed.exception)


def test_leaderboard_lists_runs_and_published_figures(outcomes, tmp_path):
    published = tmp_path / "published.csv"
    published.write_text("model,mar,br,acc_stereotyped,acc_contrast\nperson,0,0,98.5,96.2\n")
    file = outcomes / "outcomes.parquet"
    table = run(file, "--published", published, command="leaderboard").stdout
    assert "person (published)" in table
    csv = run(file, "--csv", "--published", published, command="leaderboard").stdout
    assert "br 0.0 is printed" in csv or "br 0 is printed" in csv
    failed = run(file, "--published", tmp_path / "absent.csv", command="leaderboard")
    assert isinstance(failed.exception, DataError)


def test_runs_without_support_or_reading_stand_below_the_leaderboard(outcomes):
    wide = misfires(360, per_scenario=6, every=8)
    wide.write_parquet(outcomes / "wide.parquet")
    wide.head(2).with_columns(stereotyped=True).write_parquet(outcomes / "two.parquet")
    answers_of("always_yes", 1).write_parquet(outcomes / "yes.parquet")
    files = [outcomes / f"{name}.parquet" for name in ("wide", "two", "yes")]
    lines = run(*files, command="leaderboard").stdout.splitlines()
    assert lines[0] == "mar, priming none; 360 pairs that all scored"
    place = lines.index("not ranked, each on its own pairs")
    ranked, below = "\n".join(lines[2:place]), "\n".join(lines[place:])
    assert "12.5" in ranked
    assert "1-1" in ranked
    # Neither 0.0 stands bare: that of two pairs is left out, and the answerer is said not to read.
    assert re.search(r"little support +- +- +2 +2", below)
    assert re.search(r"does not read +0.0 +\[0.0, \d+.\d\] +360 +360", below)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.parquet", None, "absent.parquet: No such file"),
        ("outcomes.txt", "x", "a .parquet or .jsonl file"),
        ("broken.parquet", "not parquet", "broken.parquet: "),
        ("broken.jsonl", '{"id": 1', "broken.jsonl, line 1: "),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    result = run(tmp_path / name)
    assert isinstance(result.exception, DataError)
    assert message in str(result.exception)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("column", ["id", "scenario", "category", "priming"])
def test_rows_without_a_label_are_counted(outcomes, tmp_path, column, suffix):
    frame = pl.read_parquet(outcomes / "outcomes.parquet")
    damaged = frame.with_columns(pl.when(pl.int_range(pl.len()) > 1).then(column).alias(column))
    file = tmp_path / f"it{suffix}"
    getattr(damaged, {".jsonl": "write_ndjson", ".parquet": "write_parquet"}[suffix])(file)
    result = run(file)
    assert isinstance(result.exception, DataError)
    message = f"it{suffix}: {column} must be given in each row, got 2 of 48 without"
    assert message in str(result.exception)
