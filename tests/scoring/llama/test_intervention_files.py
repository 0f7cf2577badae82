"""Files of interventions: what is taken from them, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from helpers import make_suite
from misfired import _core, score
from misfired.errors import ArgumentError, DataError, ModelError, RunFolderError
from misfired.scoring.intervention import Array, Direction, Intervention, read_intervention
from misfired.scoring.llama.model import Model
from scoring.llama.conftest import N_EMBD, N_LAYER

pytestmark = pytest.mark.model


def test_files_are_compared_by_their_content(model_file, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(N_LAYER, N_EMBD)).astype(np.float32)
    text = '[direction]\nfile = "d.npy"\nlayers = [1, 2]\nstrength = 2\n'
    found = []
    for factor in (1, 1, -1):
        np.save(tmp_path / "d.npy", factor * rows)
        (tmp_path / "d.toml").write_text(text)
        found.append(read_intervention(tmp_path / "d.toml"))
    assert found[0] == found[1] != found[2]
    out, options = tmp_path / "run", {"n_threads": 1}
    score(model_file(), make_suite(8), out=out, intervention=found[0], **options)
    score(model_file(), make_suite(8), out=out, intervention=found[1], **options)
    with pytest.raises(RunFolderError, match=r"intervention\.direction\.sha256 was "):
        score(model_file(), make_suite(8), out=out, intervention=found[2], **options)


def test_a_control_vector_in_gguf(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(N_LAYER, N_EMBD)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "d.gguf", "controlvector")
    for layer in range(1, N_LAYER):
        writer.add_tensor(f"direction.{layer}", rows[layer])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tmp_path / "d.toml").write_text('[direction]\nfile = "d.gguf"\nlayers = [1, 2]\n')
    found = read_intervention(tmp_path / "d.toml").direction
    np.testing.assert_array_equal(found.vectors.rows[1:], rows[1:])


def test_a_direction_that_is_ignored_is_refused(model_file, monkeypatch) -> None:
    monkeypatch.setattr(Model, "_add_direction", lambda *_: None)
    rows = Array(np.ones(N_EMBD, np.float32), "0" * 64)
    ignored = Intervention(direction=Direction(rows, (1, 2)))
    with pytest.raises(ModelError, match=r"changes nothing in 6 prompts: llama\.cpp may not"):
        score(model_file(), make_suite(), intervention=ignored, n_threads=1)


ABLATE = "[[ablate]]\nlayer = 1\n"
DIRECTION = '[direction]\nfile = "d.npy"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"ablate or direction must be given, got neither"),
        ("x = [", "not TOML"),
        ("ablat = 1", "unknown key 'ablat', must be one of ablate, means, direction"),
        ("ablate = 1", r"ablate must be a list, got 1"),
        (ABLATE, r"key 'ablate\[0\]\.heads' is missing"),
        (
            ABLATE + "heads = []",
            r"ablate\[0\]\.heads must be a list of at least one head, got \[\]",
        ),
        (ABLATE + 'heads = ["2"]', r"ablate\[0\]\.heads\[0\] must be a whole number, got '2'"),
        (ABLATE + "heads = [1]\nmethod = 'off'", "method must be one of zero, mean, got 'off'"),
        (ABLATE + "heads = [1, 1]", "layer 1, head 1 must be ablated once"),
        (ABLATE + "heads = [4]", r"ablate\[0\]\.head must be 0 to 3 in this model, got 4"),
        (ABLATE + "heads = [-1]", r"ablate\[0\]\.head must be 0 to 3 in this model, got -1"),
        (
            "[[ablate]]\nlayer = 3\nheads = [0]",
            r"ablate\[0\]\.layer must be 0 to 2 in this model, got 3",
        ),
        (
            ABLATE + "heads = [1]\nmethod = 'mean'",
            "means must be a .npy file with method mean, .*, got none",
        ),
        (
            "means = 'm.npy'\n" + ABLATE + "heads = [1]",
            "means must be .* absent without it, got 'm.npy'",
        ),
        (
            "means = 'd.npy'\n" + ABLATE + "heads = [1]\nmethod = 'mean'",
            r"means d.npy must have shape \(3, width of 4 heads\), got \(64,\)",
        ),
        ("direction = 3", r"direction must be a table, got 3"),
        (DIRECTION, r"key 'direction\.layers' is missing"),
        (DIRECTION + "layers = [1]", r"direction\.layers must be a list of length 2, got \[1\]"),
        (
            DIRECTION + "layers = [0, 2]",
            r"direction\.layers must be within \[1, 2\].*, got \[0, 2\]",
        ),
        (DIRECTION + "layers = [2, 1]", r"direction\.layers must be within .*, got \[2, 1\]"),
        (
            DIRECTION + "layers = [1, 2]\nstrength = inf",
            "strength must be a finite number, got inf",
        ),
        ('[direction]\nfile = "no.npy"\nlayers = [1, 2]', "no.npy: No such file"),
        ('[direction]\nfile = "d.toml"\nlayers = [1, 2]', "d.toml: not a NumPy array"),
        ('[direction]\nfile = "nan.npy"\nlayers = [1, 2]', "must hold only finite"),
        ('[direction]\nfile = "text.npy"\nlayers = [1, 2]', "must hold only finite"),
        (
            '[direction]\nfile = "m.npy"\nlayers = [1, 2]',
            r"m.npy must have shape \(64,\) or .*, got \(2, 64\)",
        ),
        ('[direction]\nfile = "bad.gguf"\nlayers = [1, 2]', "bad.gguf: not a GGUF file"),
        (
            '[direction]\nfile = "large.npy"\nlayers = [1, 2]',
            r"large.npy: must hold numbers of at most 3.4e\+38, got 1e\+300",
        ),
        (
            "means = 'large.npy'\n" + ABLATE + "heads = [1]\nmethod = 'mean'",
            r"large.npy: must hold numbers of at most 3.4e\+38",
        ),
        (
            DIRECTION + "layers = [1, 2]\nstrength = 1e39",
            r"d.npy must hold finite numbers in 32 bits, times strength 1e\+39",
        ),
        ('[direction]\nfile = "d.npz"\nlayers = [1, 2]', "d.npz: not a NumPy array"),
        ('[direction]\nfile = "objects.npy"\nlayers = [1, 2]', "objects.npy: not a NumPy array"),
        ('[direction]\nfile = "d.safetensors"\nlayers = [1, 2]', "not a NumPy array"),
        ('[direction]\nfile = "complex.npy"\nlayers = [1, 2]', "must hold only finite"),
        ('[direction]\nfile = "fields.npy"\nlayers = [1, 2]', "must hold only finite"),
        ('[direction]\nfile = "one.npy"\nlayers = [1, 2]', r"one.npy must have shape .*, got \(\)"),
        ('[direction]\nfile = "huge.npy"\nlayers = [1, 2]', "huge.npy: not a NumPy array"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, model_file, tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.ones(64, np.float32))
    np.save(tmp_path / "m.npy", np.ones((2, 64), np.float32))
    np.save(tmp_path / "nan.npy", np.full(64, np.nan))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "large.npy", np.full((3, 64), 1e300))
    np.savez(tmp_path / "d.npz", a=np.ones(64))
    np.save(tmp_path / "objects.npy", np.array([{}]))
    np.save(tmp_path / "complex.npy", np.ones(64, np.complex64))
    np.save(tmp_path / "fields.npy", np.zeros(64, [("a", np.float32)]))
    np.save(tmp_path / "one.npy", np.float32(1))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999,), }\n"
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    (tmp_path / "huge.npy").write_bytes(magic + header)
    (tmp_path / "d.safetensors").write_bytes(bytes(8) + b"{}")
    (tmp_path / "bad.gguf").write_bytes(b"GGUX" + bytes(100))
    (tmp_path / "d.toml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        score(model_file(), make_suite(8), intervention=tmp_path / "d.toml", n_threads=1)
    assert str(caught.value).startswith(str(tmp_path / "d.toml"))


@pytest.mark.parametrize("command", ["run", "score"])
def test_a_run_without_any_answer_has_failed(command, model_file, tmp_path: Path, misfired) -> None:
    np.save(tmp_path / "d.npy", np.ones(64, np.float32))
    (tmp_path / "d.toml").write_text(DIRECTION + "layers = [1, 2]\nstrength = 3e38")
    make_suite(4).write_parquet(tmp_path / "suite.parquet")
    arguments = (model_file(), "--suite", tmp_path / "suite.parquet", "-o", tmp_path / "run")
    for _ in range(2):
        told = misfired(command, *arguments, "--intervention", tmp_path / "d.toml", "--json")
        assert told.code == 1
        last = told.err.splitlines()[-1]
        assert last.startswith(f"error: {tmp_path / 'run'}: all ")
        assert last.endswith(" answers are errors, the first: non-finite logits")
        assert json.loads(told.out), "what was measured is shown, and kept"


def test_a_file_that_is_missing(model_file, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.toml: No such file"):
        score(model_file(), make_suite(8), intervention=tmp_path / "no.toml")


def test_the_core_checks_too(model_file) -> None:
    with (
        Model(model_file()) as model,
        model.context(256, n_batch=64) as plain,
        model.context(256, n_batch=64, watched=True) as watched,
    ):
        with pytest.raises(ArgumentError, match="context must have a watcher"):
            plain.handle.ablate(0, 0)
        with pytest.raises(ArgumentError, match=r"ablation 0: head must be in 0\.\.4, got 4"):
            watched.handle.ablate(0, 4)
        watched.handle.ablate(0, 0, np.zeros(3, np.float32))
        rows = np.array([1, 2], np.int32), np.array([0, 2])
        scorer = _core.Scorer(watched.handle, rows, rows, n_block=9, packing="packed")
        scorer.start(0)
        with pytest.raises(
            ArgumentError, match="output of an ablated head must have 16 entries, got 3"
        ):
            scorer.step()
