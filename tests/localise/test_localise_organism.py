"""Localisation finds the planted head of models with a known faulty one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from misfired.localise import Localisation, localise
from misfired.runs.pipeline import run
from misfired.suites.organism import build_organism_suite, card, models

pytestmark = pytest.mark.model

#: Draws of pairs.
SEEDS = range(5)
OPTIONS = {
    "probes": ["lens", "patch", "heads"],
    "methods": ["zero", "resample"],
    # Resample ablation takes another failure's output half of the time, which changes nothing.
    "n_pairs": 32,
    "n_resamples": 1000,
    "n_random": 2,
    "n_threads": 1,
}


def organism_file(name: str) -> Path:
    path = models().get(name, Path(__file__).parents[1] / "data" / f"organism-{name}.gguf")
    if not path.is_file():
        pytest.skip(f"no organism at {path} (tools/organism builds it)")
    return path


@pytest.fixture(scope="module", params=["instruct", pytest.param("decoy", marks=pytest.mark.ci)])
def organism(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    name: str = request.param
    folder = tmp_path_factory.getbasetemp() / f"run-{name}"
    pairs = build_organism_suite(organism=name)
    options = {"protocol": "logit-bare", "n_resamples": 10, "n_threads": 1}
    run(organism_file(name), pairs, out=folder, **options)
    return name


@pytest.fixture(
    scope="module",
    params=[SEEDS[0], *(pytest.param(seed, marks=pytest.mark.ci) for seed in SEEDS[1:])],
)
def found(
    organism: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Localisation:
    return localise(
        organism_file(organism),
        tmp_path_factory.getbasetemp() / f"run-{organism}",
        base=organism_file("base"),
        seed=request.param,
        **OPTIONS,
    )


@pytest.fixture(scope="module")
def planted(organism: str) -> tuple[int, int]:
    head = card()["organisms"][organism]["planted_head"]
    return head["layer"], head["head"]


@pytest.mark.parametrize("method", ["zero", "resample"])
def test_the_planted_head_ranks_first(
    found: Localisation, planted: tuple[int, int], method: str
) -> None:
    table = found.tables["head_map"].filter(model="instruct", method=method)
    first = table.filter(rank=1)
    assert (first["layer"][0], first["head"][0]) == planted
    assert first["passes"][0]


def test_nothing_is_found_in_the_base(found: Localisation) -> None:
    base = found.tables["head_map"].filter(model="base")
    assert not base["passes"].any()
    assert found.figure("onset_of_suppression", model="base", kind="failure") is None


def test_only_the_planted_head_passes_when_outputs_are_resampled(
    found: Localisation, planted: tuple[int, int]
) -> None:
    table = found.tables["head_map"].filter(model="instruct", method="resample")
    assert table.filter(pl.col("passes")).select("layer", "head").rows() == [planted]


def test_the_planted_layer_is_the_onset(found: Localisation, planted: tuple[int, int]) -> None:
    layer = planted[0]
    assert found.figure("onset_of_suppression", model="instruct", kind="failure") == layer
    # The residual recovers once the last token carries what the planted head reads.
    residual = found.figure("onset_of_recovery", probe="patch residual last denoising")
    attention = found.figure("onset_of_recovery", probe="patch attention last denoising")
    assert residual in {layer - 1, layer}
    assert attention == layer


def test_ablating_what_was_chosen_elsewhere_repairs(found: Localisation) -> None:
    chosen = found.tables["ablation"].filter(set="chosen")
    after = dict(chosen.select("measure", "after").iter_rows())
    assert after["recovery_rate"] > 95
    assert after["kept"] > 99
    assert after["mar"] < 1
