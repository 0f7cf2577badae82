import dataclasses
import json

import polars as pl
import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.errors import DataError
from misfired.stats import agreement

RATINGS = pl.DataFrame(
    {
        "ann": ["yes", "no", "no", "yes", "no", "yes"],
        "bob": ["yes", "no", "yes", None, "no", "yes"],
        "parser": ["yes", "no", "no", "yes", "no", "no"],
        "scenario": ["a", "a", "b", "b", "c", "c"],
    }
)


@pytest.fixture(params=[".csv", ".jsonl", ".parquet"])
def file(request, tmp_path):
    path = tmp_path / f"ratings{request.param}"
    write = {".csv": "write_csv", ".jsonl": "write_ndjson", ".parquet": "write_parquet"}
    getattr(RATINGS, write[request.param])(path)
    return path


def run(*arguments):
    return CliRunner().invoke(load("agreement"), list(map(str, arguments)))


def test_json_is_what_the_function_returns(file):
    found = json.loads(run(file, "--cluster", "scenario", "--json").stdout)
    expected = agreement(RATINGS.drop("scenario").rows(), cluster=RATINGS["scenario"])
    assert found == json.loads(json.dumps(dataclasses.asdict(expected)))


def test_columns_can_be_chosen(file):
    shown = run(file, "--raters", "ann,parser", "--method", "cohen").stdout.splitlines()
    expected = agreement(RATINGS.select("ann", "parser").rows(), method="cohen")
    assert shown[1].split()[:2] == ["cohen", f"{expected.value:.3f}"]


def test_what_is_wrong_is_named(tmp_path):
    (tmp_path / "ratings.csv").write_text("ann,bob\nyes,no\n")
    missing = run(tmp_path / "ratings.csv", "--raters", "ann,eve").exception
    assert isinstance(missing, DataError)
    assert str(missing).endswith("ratings.csv: no column 'eve', only ann, bob")
    assert "must be a .csv, .jsonl or .parquet file" in str(run(tmp_path / "ratings.txt").exception)
    assert "absent.csv: " in str(run(tmp_path / "absent.csv").exception)


CASE = "item,ann,bob\n1,1,1\n2,0,0\n3,1,1\n4,0,0\n5,1,1\n6,0,unsure\n"


@pytest.mark.parametrize(("method", "value"), [("cohen", "0.714"), ("krippendorff", "0.732")])
def test_ratings_are_compared_as_text_whatever_else_their_columns_hold(tmp_path, method, value):
    (tmp_path / "ratings.csv").write_text(CASE)
    # As pandas writes a column of numbers with a missing one: it takes no part in item 7.
    pandas = CASE.replace(",1,", ",1.0,").replace(",0,", ",0.0,") + "7,,1\n"
    (tmp_path / "pandas.csv").write_text(pandas)
    rows = [
        dict(zip(("item", "ann", "bob"), line.split(","), strict=True)) for line in CASE.split()
    ]
    typed = [{"ann": int(row["ann"]), "bob": row["bob"]} for row in rows[1:]]
    (tmp_path / "ratings.jsonl").write_text("\n".join(map(json.dumps, typed)))
    pl.DataFrame(typed).write_parquet(tmp_path / "ratings.parquet")
    for name in ("ratings.csv", "pandas.csv", "ratings.jsonl", "ratings.parquet"):
        shown = run(tmp_path / name, "--raters", "ann,bob", "--method", method).stdout
        assert shown.splitlines()[1].split()[1] == value, name


def test_leading_zeros_are_kept(tmp_path):
    (tmp_path / "ratings.csv").write_text("ann,bob\n007,7\n7,7\n007,007\n7,7\n")
    shown = run(tmp_path / "ratings.csv", "--method", "cohen").stdout
    assert shown.splitlines()[1].split()[1] == "0.500"
