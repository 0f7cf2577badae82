"""The page of outputs is what the tables in the code say, and says what files really hold."""

from pathlib import Path

import polars as pl
import pytest

from misfired import run
from misfired.localise import localise
from misfired.suites.organism import build_organism_suite, models
from outputs_page import LOCALISE, PAGE, page


def test_the_committed_page_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.model
def test_the_tables_of_localise_have_the_columns_of_the_page(tmp_path: Path) -> None:
    options = {"n_resamples": 10, "n_threads": 1}
    model, suite = models()["instruct"], build_organism_suite().head(60)
    run(model, suite, out=tmp_path / "run", protocol="logit-bare", **options)
    found = localise(model, tmp_path / "run", n_pairs=2, n_random=1, **options)
    found.write(tmp_path / "found")
    columns = {
        path.stem: pl.read_parquet_schema(path).names()
        for path in (tmp_path / "found").glob("*.parquet")
    }
    assert columns == {title: list(texts) for title, texts in LOCALISE.items()}
