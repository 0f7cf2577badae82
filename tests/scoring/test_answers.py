"""The table of columns of answers.parquet says what a run writes."""

from pydoc import locate

import polars as pl
import pytest

from helpers import make_suite
from misfired import score
from misfired.scoring.answers import ANSWER_COLUMNS, measured_columns
from misfired.scoring.protocol import GENERATE, LOGIT

THREE = LOGIT.with_answers({"yes": ("Yes",), "no": ("No",), "unsure": ("Unsure",)})


@pytest.mark.model
@pytest.mark.parametrize("protocol", [LOGIT, THREE, GENERATE], ids=["two", "three", "text"])
def test_a_run_has_the_columns_of_the_table(protocol, small_model) -> None:
    answers = score(small_model, make_suite(4), protocol=protocol, template="plain").answers
    of_prompts = [column.name for column in ANSWER_COLUMNS if column.only.startswith("prompt")]
    expected = [*of_prompts, *measured_columns(protocol)]
    assert answers.columns == [name for name in expected if name != "twin_of"]
    assert measured_columns(protocol).items() <= dict(answers.schema).items()


def test_columns_of_each_protocol() -> None:
    two, three, text = (
        set(measured_columns(each, server=True)) for each in (LOGIT, THREE, GENERATE)
    )
    assert {"logp_yes", "logp_no", "logit_diff", "unseen", "n_generated"} <= two
    assert three - two == {"margin", "logp_unsure"}
    assert {"text", "least_gap", "fingerprint"} <= text
    assert not {"mass", "unseen"} & text
    assert "fingerprint" not in measured_columns(LOGIT)


@pytest.mark.parametrize("column", ANSWER_COLUMNS, ids=[each.name for each in ANSWER_COLUMNS])
def test_a_column_says_what_it_is_and_what_fills_it(column) -> None:
    assert locate(f"misfired.{column.made_by}") is not None
    assert column.meaning
    assert bool(column.unit) == (column.dtype != pl.String)
    assert set(column.only.split()) <= {
        *("prompt", "twin_of", "forms", "logit_diff", "margin", "text", "server")
    }
