"""Interventions while a model answers: what is written in a file is what the model computes."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import polars as pl
import pytest

from helpers import make_suite
from misfired import _core, run, score
from misfired._core import ProbeRequest
from misfired.errors import DataError
from misfired.localise import Held, Interventions, Probe, Prompt, averages, localise
from misfired.scoring.intervention import (
    Ablation,
    Array,
    Direction,
    Intervention,
    read_intervention,
)
from misfired.scoring.llama.engine import ragged
from misfired.scoring.llama.model import Model
from misfired.suites.organism import build_organism_suite, models
from random_model import ARCHITECTURES
from scoring.llama.conftest import N_EMBD, N_LAYER

pytestmark = pytest.mark.model

TOLERANCE = 1e-4

#: llama.cpp takes GELU from a table of f16 numbers on CPUs (tests/localise/test_exactness.py).
GELU_TOLERANCE = 2e-3
GELU = {"gemma2", "gemma3", "gpt2"}


def array(rows: object) -> Array:
    return Array(np.asarray(rows, np.float32), "0" * 64)


def direction(layers: tuple[int, int], strength: float = 1.0, *, by_layer: bool = False):
    shape = (N_LAYER, N_EMBD) if by_layer else (N_EMBD,)
    rows = np.random.default_rng(0).normal(size=shape)
    return Intervention(direction=Direction(array(rows), layers, strength))


def without_head(source: Path, target: Path, layer: int, head: int) -> Path:
    """The same model, its output projection blind to one head."""
    target.write_bytes(source.read_bytes())
    name = f"blk.{layer}.attn_output.weight"
    (tensor,) = (t for t in gguf.GGUFReader(target, mode="r+").tensors if t.name == name)
    width = tensor.data.shape[1] // 4
    tensor.data[:, head * width : (head + 1) * width] = 0
    tensor.data.flush()
    return target


def numbers(answers: pl.DataFrame) -> np.ndarray:
    return answers.select("logp_yes", "logp_no", "logit_diff", "top_logp").to_numpy()


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(arch, marks=[] if arch in {"llama", "gemma3"} else pytest.mark.ci)
        for arch in ARCHITECTURES
    ],
)
def test_an_ablated_head_equals_a_file_without_its_projection(
    arch: str, model_file, tmp_path: Path
) -> None:
    suite, options = make_suite(), {"n_threads": 1, "priming": ["cue"], "template": "plain"}
    blind = without_head(model_file(arch), tmp_path / "blind.gguf", 1, 2)
    ablated = Intervention((Ablation(1, 2),))
    found = score(model_file(arch), suite, intervention=ablated, **options)
    expected = score(blind, suite, **options).answers
    plain = score(model_file(arch), suite, **options).answers
    tolerance = GELU_TOLERANCE if arch in GELU else TOLERANCE
    np.testing.assert_allclose(numbers(found.answers), numbers(expected), atol=tolerance, rtol=0)
    assert np.abs(numbers(plain) - numbers(expected)).max() > 0.01
    assert found.manifest["batch_invariance"]["max_difference"] <= 1e-5
    effect = found.manifest["intervention_effect"]
    assert effect["n_changed"] == effect["n_tried"] == 6
    assert effect["max_change"] > 0.01


def test_prompts_share_prefixes_under_an_intervention(model_file) -> None:
    both = Intervention((Ablation(0, 1),), direction=direction((1, 2)).direction)
    found = score(model_file(), make_suite(), intervention=both, n_threads=1)
    tokens = found.manifest["tokens"]
    assert tokens["distinct"] < tokens["in_prompts"]
    assert found.manifest["packing"]["packing"] == "packed"
    assert found.manifest["batch_invariance"]["max_difference"] <= 1e-5


@pytest.mark.parametrize("protocol", ["generate", pytest.param("cot", marks=pytest.mark.ci)])
def test_texts_are_written_by_the_ablated_model(protocol: str, model_file, tmp_path: Path) -> None:
    """Texts have cache streams of their own, in which nodes are computed in parts."""
    suite, options = make_suite(8), {"protocol": protocol, "n_threads": 1}
    blind = without_head(model_file(), tmp_path / "blind.gguf", 0, 3)
    ablated = Intervention((Ablation(0, 3),))
    found = score(model_file(), suite, intervention=ablated, **options).answers
    expected = score(blind, suite, **options).answers
    plain = score(model_file(), suite, **options).answers
    assert found["text"].to_list() == expected["text"].to_list()
    assert found["text"].to_list() != plain["text"].to_list()


def test_mode_fast(model_file, tmp_path: Path) -> None:
    suite, options = make_suite(), {"mode": "fast", "n_threads": 1}
    blind = without_head(model_file(), tmp_path / "blind.gguf", 1, 0)
    found = score(model_file(), suite, intervention=Intervention((Ablation(1, 0),)), **options)
    expected = score(blind, suite, **options)
    np.testing.assert_allclose(
        numbers(found.answers), numbers(expected.answers), atol=TOLERANCE, rtol=0
    )


def test_strength_zero_changes_no_bit(model_file) -> None:
    plain = score(model_file(), make_suite(), n_threads=1)
    nothing = score(model_file(), make_suite(), intervention=direction((1, 2), 0.0), n_threads=1)
    assert nothing.answers.equals(plain.answers)
    assert nothing.manifest["intervention_effect"] == {
        "n_tried": 6,
        "n_changed": 0,
        "max_change": 0.0,
    }


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_direction_equals_adding_it_by_the_probe(arch: str, model_file) -> None:
    ids = np.random.default_rng(1).integers(10, 1000, 24).astype(np.int32)
    added = direction((1, 2), 0.5, by_layer=True)
    with Model(model_file(arch)) as model:
        added.check(model.sizes)
        vectors = added.control_vector(model.sizes)
        wanted = np.arange(model.tokenizer.n_vocab, dtype=np.int32)
        with model.context(512, n_batch=64, n_threads=1, intervention=added) as context:
            scorer = _core.Scorer(
                context.handle, ragged([ids]), ragged([wanted]), n_block=100, packing="packed"
            )
            scorer.start(0)
            _, steered, _, _ = scorer.step()
        changed = probed(model, ids, vectors, wanted)
        plain = probed(model, ids, 0 * vectors, wanted)
    np.testing.assert_allclose(steered, log_softmax(changed), atol=2 * TOLERANCE, rtol=0)
    assert np.abs(log_softmax(plain) - steered).max() > 0.01


def probed(model: Model, ids: np.ndarray, vectors: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Logits with a vector added after layers 1, 2 ... at every position, one layer after another."""
    edits: dict[int, list[np.ndarray]] = {}
    with Probe(model, longest=len(ids), n_threads=1) as probe:
        for layer in [*range(1, probe.n_layer), None]:
            request = ProbeRequest()
            job = request.add(ids, wanted)
            for place, rows in edits.items():
                for position, row in enumerate(rows):
                    request.write(job, "residual", place, position, row)
            if layer is None:
                return probe.run(request).logits[0]
            for position in range(len(ids)):
                request.read(job, "residual", layer, position)
            edits[layer] = [row + vectors[layer - 1] for row in probe.run(request).rows]
    raise AssertionError


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits)


def test_a_head_set_to_its_mean(model_file) -> None:
    ids = np.random.default_rng(2).integers(10, 1000, 24).astype(np.int32)
    prompt = Prompt(ids, yes=(5,), no=(6,), expected="yes")
    with Model(model_file()) as model:
        means = np.random.default_rng(3).normal(size=(N_LAYER, N_EMBD)).astype(np.float32)
        found = Intervention((Ablation(1, 2, "mean"),), means=array(means))
        found.check(model.sizes)
        with model.context(512, n_batch=64, n_threads=1, intervention=found) as context:
            wanted = np.array([5, 6], np.int32)
            scorer = _core.Scorer(
                context.handle, ragged([ids]), ragged([wanted]), n_block=100, packing="packed"
            )
            scorer.start(0)
            _, logp, _, _ = scorer.step()
        with Probe(model, longest=len(ids), n_threads=1) as probe:
            runs = Interventions(Held(probe, [prompt]))
            job, columns = runs.add(0, 0), probe.head_columns(2)
            for position in range(len(ids)):
                values = means[1, columns]
                runs.request.write(job, "attention", 1, position, values, column=columns.start)
            margin = runs.margins()[0]
    assert logp[0] - logp[1] == pytest.approx(margin, abs=TOLERANCE)


@pytest.fixture(scope="module")
def organism_suite() -> pl.DataFrame:
    return build_organism_suite().filter(pl.col("expected_stereotyped") == "yes")[::4]


@pytest.fixture(scope="module")
def summary(organism_suite, tmp_path_factory):
    """Measures the shipped model, one head of which misfires."""
    folder = tmp_path_factory.mktemp("organism")

    def measure(name: str, intervention: Intervention | None = None) -> dict[str, float]:
        options = {"protocol": "logit-bare", "n_resamples": 10, "n_threads": 1}
        found = run(
            models()["instruct"],
            organism_suite,
            out=folder / name,
            intervention=intervention,
            **options,
        )
        overall = found.summary.filter(slice="overall", priming="none")
        return dict(overall.select("measure", "value").iter_rows())

    measure.folder = folder
    return measure


def test_ablating_the_planted_head_repairs_and_another_does_nothing(summary) -> None:
    plain = summary("plain")
    planted = summary("planted", Intervention((Ablation(4, 2),)))
    other = summary("other", Intervention((Ablation(4, 1),)))
    assert plain["mar"] > 10
    assert planted["mar"] < 1
    assert planted["accuracy_contrast"] >= plain["accuracy_contrast"]
    for measure in ("mar", "br", "accuracy_stereotyped", "accuracy_contrast"):
        assert other[measure] == plain[measure]


def test_runs_with_and_without_are_compared(summary, misfired) -> None:
    summary("plain")
    summary("planted", Intervention((Ablation(4, 2),)))
    names = ("plain", "planted")
    folders = [summary.folder / name for name in names]
    done = misfired("compare", *folders, "--n-resamples", "200", "--json")
    assert done.code == 0, done.err
    assert "mar" in done.out


def test_a_run_with_an_intervention_is_not_localised(summary) -> None:
    summary("planted", Intervention((Ablation(4, 2),)))
    with pytest.raises(DataError, match="a run with an intervention"):
        localise(models()["instruct"], summary.folder / "planted")


def test_a_direction_from_the_run_repairs(summary, tmp_path: Path) -> None:
    plain = summary("plain")
    found = averages(models()["instruct"], summary.folder / "plain", n_threads=1)
    assert found.n_failures > 10
    assert found.direction.shape == (6, 128)
    found.write(tmp_path)
    (tmp_path / "d.toml").write_text(
        '[direction]\nfile = "direction.npy"\nlayers = [4, 4]\nstrength = 1\n'
    )
    repaired = summary("direction", read_intervention(tmp_path / "d.toml"))
    assert repaired["mar"] < plain["mar"] / 4
    assert repaired["accuracy_contrast"] > 95


def test_the_command(model_file, tmp_path: Path, misfired) -> None:
    make_suite().write_parquet(tmp_path / "suite.parquet")
    (tmp_path / "off.toml").write_text("[[ablate]]\nlayer = 1\nheads = [0, 2]\n")
    options = ["--suite", tmp_path / "suite.parquet", "-o", tmp_path / "run", "--n-threads", 1]
    done = misfired("score", model_file(), "--intervention", tmp_path / "off.toml", *options)
    assert done.code == 0, done.err
    assert "Intervention: heads 1.0 (zero), 1.2 (zero)." in done.out
    settings = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]
    assert settings["intervention"]["ablate"][1] == {"layer": 1, "head": 2, "method": "zero"}
    refused = misfired("score", model_file(), *options)
    assert refused.code != 0
    assert "made with other settings: intervention was {" in refused.err
