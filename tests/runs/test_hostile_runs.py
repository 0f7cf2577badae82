"""Wrong pairs, options and files of runs: each is refused in one line that says what is wrong."""

import polars as pl
import pytest

from helpers import make_suite
from misfired import ArgumentError, DataError, build_outcomes, read_answers, run, run_many, score
from misfired.runs.checks import check_table

pytestmark = pytest.mark.model

SUITE = make_suite(8)
PAIRS = {
    "no column": (SUITE.drop("scenario"), "column scenario is missing"),
    "no rows": (SUITE.head(0), "must have at least 1 row, got 0"),
    "an id twice": (pl.concat([SUITE, SUITE]), "row 9: id must be unique"),
    "no scenario": (SUITE.with_columns(scenario=None), "row 1: scenario must be text, got None"),
    "no text": (SUITE.with_columns(contrast=pl.lit(None, pl.String)), "row 1: contrast must be"),
    "lists": (SUITE.with_columns(id=pl.concat_list("id")), "'id' must be text or numbers"),
}
OPTIONS = {
    "no priming": ({"priming": []}, "primings must be at least 1, got none"),
    "letters": ({"priming": "none,cue"}, "priming must be a sequence, got 'none,cue'"),
    "seed": ({"seed": -1}, "seed must be in 0 to "),
}


@pytest.mark.parametrize("ask", [score, run])
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_a_suite(name, ask, small_model, tmp_path) -> None:
    pairs, message = PAIRS[name]
    with pytest.raises(DataError, match=f"^pairs.* {message}"):
        ask(small_model, pairs, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_checked_before_the_model_is_asked(name, small_model, tmp_path) -> None:
    options, message = OPTIONS[name]
    with pytest.raises(ArgumentError, match=message):
        run(small_model, SUITE, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_ids_and_scenarios_may_be_numbers(small_model) -> None:
    numbered = SUITE.with_columns(
        id=pl.int_range(pl.len()), scenario=pl.int_range(pl.len()).cast(pl.Float64) // 4
    )
    as_text = numbered.with_columns(pl.col("id", "scenario").cast(pl.Int64).cast(pl.String))
    assert score(small_model, numbered).answers.equals(score(small_model, as_text).answers)


@pytest.mark.parametrize("name", ["../up", "a/b", ".."])
def test_folders_of_suites_stay_within_the_models(name, small_model, tmp_path) -> None:
    with pytest.raises(ArgumentError, match="names of suites must be names of folders, got"):
        run_many([small_model], {name: SUITE}, out=tmp_path / "runs")
    with pytest.raises(ArgumentError, match="models must be a sequence, got"):
        run_many(str(small_model), SUITE, out=tmp_path / "runs")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def answers(small_model) -> pl.DataFrame:
    return score(small_model, SUITE).answers


TABLES = {
    "no rows": (pl.DataFrame.clear, "must have at least 1 row, got 0"),
    "scenarios of one pair": (
        lambda frame: frame.with_columns(scenario=pl.int_range(pl.len())),
        "row 1: scenario must be the same in all rows of a pair, got '0'",
    ),
    "nothing expected": (
        lambda frame: frame.with_columns(expected=pl.lit(None, pl.String)),
        "row 1: expected must be a text, got None",
    ),
    "lists": (lambda frame: frame.with_columns(id=pl.concat_list("id")), "'id' must be text or"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_answers_is_refused_by_file_and_row(name, answers, tmp_path) -> None:
    damage, message = TABLES[name]
    damage(answers).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"a.parquet: .*{message}"):
        read_answers(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", [".ndjson", ".JSONL", ".PARQUET"])
def test_suffixes_are_those_of_suites(suffix, answers, tmp_path) -> None:
    file = tmp_path / f"a{suffix}"
    write = answers.write_parquet if suffix == ".PARQUET" else answers.write_ndjson
    write(file)
    assert read_answers(file).equals(check_table(answers, "answers"))


@pytest.mark.parametrize("column", ["expected", "answer", "logit_diff", "mass"])
@pytest.mark.parametrize("command", ["stats", "compare", "leaderboard"])
def test_answers_that_lack_a_column_end_in_no_traceback(
    command, column, answers, tmp_path, misfired
) -> None:
    answers = pl.concat([answers.with_columns(pl.col("id", "scenario") + n) for n in "abcdefgh"])
    answers.write_parquet(tmp_path / "a.parquet")
    answers.drop(column).write_parquet(tmp_path / "b.parquet")
    files = (
        [tmp_path / "b.parquet"]
        if command == "stats"
        else [tmp_path / f"{n}.parquet" for n in "ab"]
    )
    told = misfired(command, *files)
    if column in {"expected", "answer"}:
        told_of = (
            f"error: {tmp_path / 'b.parquet'}: column {column!r} is missing, these are no answers"
        )
        assert told.err == f"{told_of}\n"
    else:
        assert (told.code, told.err) == (0, "")


def test_what_is_no_run_folder_is_named(answers, small_model, tmp_path, misfired) -> None:
    score(small_model, SUITE, out=tmp_path / "first")
    score(small_model, SUITE, out=tmp_path / "second")
    build_outcomes(answers).write_parquet(tmp_path / "o.parquet")
    rule = "must be a run folder, with manifest.json, got"
    (tmp_path / "empty").mkdir()
    for command, path, got in (
        ("stats", tmp_path, "a folder of runs: first, second"),
        ("stats", tmp_path / "empty", "a folder"),
        ("failures", tmp_path / "o.parquet", "a file"),
    ):
        assert misfired(command, path).err == f"error: {path}: {rule} {got}\n"
