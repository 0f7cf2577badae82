"""The whole of `localise`, on a small random model with a run of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from misfired.errors import ArgumentError, DataError, MisfiredError, ModelError
from misfired.localise import Localisation, LocaliseOptions, Probe, localise
from misfired.localise.probe import Activations
from misfired.localise.probes.lens import lens_curves, lens_figures
from misfired.localise.result import TABLES
from misfired.localise.run import read_run
from misfired.report.localise import localisation_report, localisation_sentences
from misfired.runs.pipeline import run
from misfired.scoring.forms import Ids
from misfired.scoring.protocol import get_protocol

pytestmark = pytest.mark.model

MakeFile = Callable[..., Path]

# Random weights read nothing.
OPTIONS = {"n_pairs": 8, "n_resamples": 200, "n_threads": 1, "anyway": True}


@pytest.fixture(scope="session")
def found(run_folder: Path, model_file: MakeFile) -> Localisation:
    model = model_file("llama")
    return localise(model, run_folder, base=model, n_random=2, **OPTIONS)


def test_margins_are_those_of_the_run(found: Localisation, run_folder: Path) -> None:
    answers = pl.read_parquet(run_folder / "answers.parquet")
    for condition in ("stereotyped", "contrast"):
        scored = answers.filter(condition=condition).select("id", "logit_diff")
        both = found.cases.join(scored, on="id")
        np.testing.assert_allclose(both[f"margin_{condition}"], both["logit_diff"], atol=1e-4)


def test_every_probe_has_rows_for_every_case(found: Localisation) -> None:
    n = len(found.cases)
    n_failures = found.manifest["n_failures"]
    assert n_failures >= 4
    sizes = {name: len(frame) for name, frame in found.rows.items()}
    layers, heads, questions = 3, 4, 2
    assert sizes["lens"] == 2 * n * 2 * questions * layers
    assert sizes["patch"] == n_failures * 3 * 2 * 2 * questions * layers
    assert sizes["heads"] == 2 * n_failures * 2 * questions * layers * heads * 4
    assert sizes["attention"] == n * 2 * questions * layers * heads
    assert sizes["substitution"] <= n_failures * questions * (layers - 1)
    assert found.manifest["n_unaligned"] == 0


def test_a_base_that_is_the_model_itself_gives_the_same(found: Localisation) -> None:
    for name in ("lens", "heads"):
        rows = found.rows[name]
        one, two = (rows.filter(model=model).drop("model") for model in ("instruct", "base"))
        assert one.equals(two)


def test_patching_every_last_layer_recovers_all(found: Localisation) -> None:
    curves = found.tables["recovery_curves"].filter(
        site="residual", target="last", layer=found.tables["recovery_curves"]["layer"].max()
    )
    np.testing.assert_allclose(curves["value"], 1, atol=1e-3)
    rows = found.rows["patch"].filter(site="residual", target="last", question="false")
    for direction, flipped in curves.select("direction", "flipped").iter_rows():
        donors = rows.filter(direction=direction, layer=2)["donor"]
        assert flipped == pytest.approx(100 * (donors > 0).mean())


def test_head_map_ranks_by_specificity(found: Localisation) -> None:
    array = found.heads()
    assert array.shape == (3, 4)
    table = found.tables["head_map"].filter(method="zero", model="instruct")
    best = table.filter(rank=1)
    assert array[best["layer"][0], best["head"][0]] == array.max()
    rows = found.rows["heads"].filter(method="zero", model="instruct")
    change = [
        sum(
            (part["after"] - part["before"]).to_numpy().reshape(-1, 3, 4)
            for question in ("true", "false")
            for part in [rows.filter(condition=c, question=question).sort("id", "layer", "head")]
        )
        for c in ("stereotyped", "contrast")
    ]
    np.testing.assert_allclose(array, (change[0] - abs(change[1])).mean(axis=0), atol=1e-12)


def test_heads_are_tested_where_they_were_not_chosen(found: Localisation) -> None:
    table = found.tables["ablation"]
    assert table["set"].unique().sort().to_list() == ["chosen", "random_1", "random_2"]
    before = table.filter(measure="mar")["before"].unique()
    assert len(before) == 1
    assert 0 < found.manifest["n_tested"] < 240


def test_no_interval_has_width_zero(found: Localisation) -> None:
    for name, table in found.tables.items():
        if name == "lens_curves":
            assert set(table["quantity"]) == {"evidence"}
        assert (table["low"] < table["high"]).drop_nulls().all(), name
        assert table.filter(pl.col("low").is_null())["reason"].null_count() == 0, name
        assert not table.select(pl.selectors.float().is_nan().any()).row(0).count(True), name


def test_one_scenario_gives_no_interval(found: Localisation) -> None:
    one = found.rows["lens"].filter(scenario=found.rows["lens"]["scenario"][0])
    options = LocaliseOptions(n_resamples=100)
    for table in (lens_curves(one, options), lens_figures(one, options)):
        assert table["low"].null_count() == len(table)
        assert set(table["reason"]) <= {"one_unit", "no_suppression", "nothing_to_count"}


def test_progress_covers_the_base_too(run_folder: Path, model_file: MakeFile) -> None:
    told: list[tuple[int, int]] = []
    options = {**OPTIONS, "probes": ["lens", "heads", "attention"], "n_random": 1}
    model = model_file("llama")
    localise(model, run_folder, base=model, progress=lambda *each: told.append(each), **options)
    done, totals = zip(*told, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == totals[0]


def test_attention_is_read_pair_by_pair(
    run_folder: Path, model_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = Probe.attention, []

    def attention(probe: Probe, prompts: Sequence[Ids]) -> list[Activations]:
        asked.append(len(prompts))
        return read(probe, prompts)

    monkeypatch.setattr(Probe, "attention", attention)
    found = localise(model_file("llama"), run_folder, **OPTIONS | {"probes": ["attention"]})
    assert asked == [4] * len(found.cases)


def test_heads_are_not_tested_where_none_could_be_chosen(
    run_folder: Path, model_file: MakeFile
) -> None:
    options = OPTIONS | {"n_pairs": 1, "probes": ["heads"], "methods": ["zero"], "n_random": 0}
    several = [localise(model_file("llama"), run_folder, seed=seed, **options) for seed in range(4)]
    reasons = {found.manifest["untested"] for found in several}
    reason = "no failure was drawn in the half on which heads are chosen; n_pairs is too small"
    assert reasons == {None, reason}
    for found in several:
        assert ("ablation" in found.tables) == (found.manifest["untested"] is None)
        told = f"No test of ablated heads: {found.manifest['untested']}."
        text = " ".join(localisation_report(found, Path("out")).split())
        assert (told in text) == (found.manifest["untested"] is not None)


def test_controls_of_other_categories_are_told(found: Localisation) -> None:
    told = "Controls are of other categories: no pair of the failures' categories is right on both prompts."
    assert found.manifest["controls_match"]
    assert told not in localisation_sentences(found.manifest)
    assert told in localisation_sentences(found.manifest | {"controls_match": False})


def test_failures_of_one_scenario_can_be_studied(
    pairs: pl.DataFrame, model_file: MakeFile, tmp_path: Path
) -> None:
    asked = {"protocol": "logit-bare", "n_resamples": 10, "n_threads": 1}
    run(
        model_file("llama"),
        pairs.head(40).with_columns(scenario=pl.lit("s")),
        out=tmp_path,
        **asked,
    )
    options = OPTIONS | {"probes": ["heads"], "methods": ["zero"]}
    found = localise(model_file("llama"), tmp_path, **options)
    assert found.manifest["untested"].startswith("all failures lie in one scenario")
    assert set(found.tables) == {"head_map"}


def test_heads_without_zeros_are_not_tested(run_folder: Path, model_file: MakeFile) -> None:
    options = OPTIONS | {"probes": ["heads"], "methods": ["mean"]}
    found = localise(model_file("llama"), run_folder, **options)
    assert found.manifest["n_tested"] == 0
    for wrong in ({"method": "zero"}, {"column": "model"}, {"column": "nope"}):
        with pytest.raises(ArgumentError, match="the head map has no "):
            found.heads(**{"method": "mean", **wrong})
    for wrong in ({"measure": "flipped"}, {"measure": "flipped", "modle": "base"}):
        with pytest.raises(ArgumentError, match="must fit one row of the figures, got 0"):
            found.figure(**wrong)


def test_files(found: Localisation, tmp_path: Path) -> None:
    found.write(tmp_path / "out")
    written = {path.stem for path in (tmp_path / "out").glob("*.parquet")}
    assert written == {*TABLES}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["check"]["instruct"]["identity"] == 0
    for name, frame in {**found.tables, "cases": found.cases}.items():
        assert pl.read_parquet(tmp_path / "out" / f"{name}.parquet").equals(frame)


def test_the_same_seed_gives_the_same_numbers(run_folder: Path, model_file: MakeFile) -> None:
    options = {**OPTIONS, "probes": ["lens", "heads"], "methods": ["zero", "resample"]}
    one, two = (localise(model_file("llama"), run_folder, **options) for _ in range(2))
    for name, table in one.tables.items():
        assert table.equals(two.tables[name])


def test_all_positions(run_folder: Path, model_file: MakeFile) -> None:
    options = {**OPTIONS, "n_pairs": 4, "probes": ["heads"], "positions": "all"}
    found = localise(model_file("llama"), run_folder, **options)
    assert found.rows["heads"]["method"].unique().to_list() == ["zero"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"probes": ["lenz"]}, ArgumentError, "probes must be one of lens, patch, .*, got 'lenz'"),
        ({"probes": []}, ArgumentError, "probes must be some of .*, got none"),
        ({"n_pairs": 0}, ArgumentError, "n_pairs must be at least 1, got 0"),
        ({"n_random": -1}, ArgumentError, "n_random must be at least 0, got -1"),
        ({"methods": ["none"]}, ArgumentError, "methods must be one of .*, got 'none'"),
        (
            {"positions": "all", "methods": ["mean"]},
            ArgumentError,
            "methods must be zero where positions is all, got mean",
        ),
        ({"positions": "first"}, ArgumentError, "positions must be one of last, all, got 'first'"),
        ({"mode": "slow"}, ArgumentError, "mode must be one of exact, stable, fast, got 'slow'"),
        (
            {"mode": "fast"},
            ArgumentError,
            "mode must be exact for probe attention, got 'fast': flash",
        ),
        ({"priming": "cue"}, DataError, "priming must be one of none, got 'cue'"),
        ({"n_heads": 7}, ArgumentError, "n_heads must be at most 6, half of the heads, .*, got 7"),
        (
            {"n_heads": 13, "n_random": 0},
            ArgumentError,
            "n_heads must be at most 12, all heads, got 13",
        ),
    ],
)
def test_bad_options(
    run_folder: Path,
    model_file: MakeFile,
    *,
    options: dict[str, object],
    error: type[MisfiredError],
    message: str,
) -> None:
    told: list[int] = []
    with pytest.raises(error, match=message):
        localise(
            model_file("llama"),
            run_folder,
            progress=lambda done, _: told.append(done),
            **{**OPTIONS, **options},
        )
    assert not told


def test_a_run_of_another_model(run_folder: Path, model_file: MakeFile) -> None:
    with pytest.raises(DataError, match="a run of another model"):
        localise(model_file("llama", seed=1), run_folder)


def test_a_run_whose_pairs_are_lost(
    pairs: pl.DataFrame, run_folder: Path, model_file: MakeFile, tmp_path: Path
) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    pairs.with_columns(pl.col("stereotyped") + " ").write_parquet(folder / "pairs.parquet")
    with pytest.raises(DataError, match="not the pairs of this run"):
        localise(model_file("llama"), folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_layer": 2}, "base must have 3 layers, got 2")],
)
def test_a_base_of_another_shape(
    run_folder: Path,
    model_file: MakeFile,
    options: dict[str, int],
    message: str,
) -> None:
    base = model_file("llama", **options)
    with pytest.raises(ModelError, match=message):
        localise(model_file("llama"), run_folder, base=base, probes=["lens"], **OPTIONS)


def test_a_base_with_another_tokenizer(
    run_folder: Path, model_file: MakeFile, test_data: Path
) -> None:
    base = model_file("llama", vocab=test_data / "vocab" / "ggml-vocab-gpt-2.gguf")
    with pytest.raises(ModelError, match="base must have 1152 tokens, got 50257"):
        localise(model_file("llama"), run_folder, base=base, probes=["lens"], **OPTIONS)


def test_nothing_to_study(pairs: pl.DataFrame, model_file: MakeFile, tmp_path: Path) -> None:
    same = pairs.head(6).with_columns(stereotyped=pl.col("contrast") + " ")
    run(model_file("llama"), same, out=tmp_path / "r", protocol="logit-bare", n_resamples=10)
    with pytest.raises(DataError, match="no failures to study: of 6 pairs"):
        localise(model_file("llama"), tmp_path / "r", anyway=True)


def test_a_priming_that_has_failures_is_named(run_folder: Path, model_file: MakeFile) -> None:
    data = read_run(run_folder, model_file("llama"), priming="none")
    right = data.outcomes.with_columns(stereotyped=pl.lit(value=True))
    lucky = replace(data, outcomes=right, elsewhere={"cue": 3, "fair": 0})
    with pytest.raises(DataError, match=r"priming none: no failures .* some under: cue 3$"):
        lucky.choose(n_pairs=1, seed=0)
    with pytest.raises(DataError, match=r"contrast prompt$"):
        replace(lucky, elsewhere={"fair": 0}).choose(n_pairs=1, seed=0)


def test_a_protocol_that_is_not_read_by_first_tokens(
    pairs: pl.DataFrame, model_file: MakeFile, tmp_path: Path
) -> None:
    protocol = replace(get_protocol("logit-bare"), name="whole", reading="whole_form")
    options = {"protocol": protocol, "n_resamples": 10, "n_threads": 1}
    run(model_file("llama"), pairs.head(2), out=tmp_path / "r", **options)
    with pytest.raises(
        DataError,
        match=r"protocol must read yes and no .* got 'whole', which reads yes, no by whole",
    ):
        localise(model_file("llama"), tmp_path / "r")


def test_a_recurrent_model(pairs: pl.DataFrame, recurrent_model: Path, tmp_path: Path) -> None:
    asked = {"protocol": "logit-bare", "n_resamples": 10, "n_threads": 1}
    run(recurrent_model, pairs, out=tmp_path / "r", **asked)
    with pytest.raises(
        ModelError, match="got a recurrent or hybrid model: its state cannot be rolled"
    ):
        localise(recurrent_model, tmp_path / "r", **OPTIONS)
