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
