"""Models whose state cannot be rolled back share no prefixes, and are measured all the same."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from misfired.runs.pipeline import score
from misfired.scoring.protocol import GENERATE
from misfired.suites.organism import build_organism_suite

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return build_organism_suite().head(20)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_prompts_are_scored_from_an_empty_state(
    recurrent_model: Path, pairs: pl.DataFrame, mode: str
) -> None:
    scores = score(recurrent_model, pairs, protocol="logit-bare", mode=mode, n_threads=1)
    assert scores.manifest["packing"]["packing"] == "fresh"
    assert scores.manifest["batch_invariance"]["max_difference"] < 1e-5
    assert scores.answers["outcome"].is_in(["correct", "wrong"]).all()


def test_texts_do_not_depend_on_their_neighbours(
    recurrent_model: Path, pairs: pl.DataFrame
) -> None:
    short = replace(GENERATE, name="short", n_generate=6, n_extended=0)
    together = score(recurrent_model, pairs, protocol=short, n_threads=1).answers["text"]
    alone = [score(recurrent_model, pairs[[i]], protocol=short, n_threads=1) for i in range(3)]
    apart = pl.concat(one.answers for one in alone)["text"]
    assert apart.n_unique() > 1
    assert together.head(len(apart)).to_list() == apart.to_list()
