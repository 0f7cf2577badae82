"""Hostile files end in one clear line, within bounds."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_suite
from misfired import score, write_suite
from misfired.errors import MisfiredError, ModelError
from misfired.localise import averages
from misfired.scoring.llama import guard
from misfired.scoring.llama.doctor import examine
from misfired.scoring.llama.model import Model, open_model
from misfired.scoring.llama.session import template_for
from misfired.suites.check import check_pairs


def program(folder: Path, text: str) -> Path:
    """A program that stands in for the one that tries to load models."""
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    return path


def with_length(model: Path, out: Path, value: int) -> Path:
    """The same file with another length for its first metadata key."""
    content = bytearray(model.read_bytes())
    content[24:32] = struct.pack("<Q", value)
    out.write_bytes(content)
    return out


@pytest.mark.model
@pytest.mark.parametrize("value", [0, 2**31, 2**62, 2**64 - 1])
def test_wrong_lengths_in_a_gguf(value: int, small_model: Path, tmp_path: Path) -> None:
    path = with_length(small_model, tmp_path / "hostile.gguf", value)
    with pytest.raises(MisfiredError) as caught:  # noqa: PT012  either of the two may refuse it
        guard.try_loading(path)
        Model(path)
    assert str(path) in str(caught.value)


def with_number(model: Path, out: Path, key: str, number: bytes) -> Path:
    """The same file with another value for a metadata key of four bytes."""
    content = bytearray(model.read_bytes())
    at = content.index(key.encode()) + len(key) + 4
    content[at : at + 4] = number
    out.write_bytes(content)
    return out


@pytest.mark.model
@pytest.mark.parametrize(
    ("key", "number", "said"),
    [
        ("llama.block_count", struct.pack("<I", 2**31), "n_layer"),
        ("llama.attention.layer_norm_rms_epsilon", struct.pack("<f", -1.0), "eps"),
        ("llama.rope.dimension_count", struct.pack("<I", 512), "n_dims|n_rot"),
    ],
)
def test_a_number_that_llama_cpp_dies_of(
    key: str, number: bytes, said: str, small_model: Path, tmp_path: Path
) -> None:
    """llama.cpp aborts at load or in the first batch; before a run that happens to another process."""
    path = with_number(small_model, tmp_path / "hostile.gguf", key, number)
    with pytest.raises(ModelError, match=rf"hostile\.gguf: .*({said})") as caught:
        score(path, make_suite())
    assert "\n" not in str(caught.value)


#: Commands that load a model file, HOSTILE in its place; what they need beside it is not looked at first.
COMMANDS = {
    "run": "run HOSTILE --suite SUITE -o OUT",
    "several": "run HOSTILE SOUND --suite SUITE -o OUT",
    "score": "score HOSTILE --suite SUITE -o OUT",
    "explain": "score HOSTILE --suite SUITE --explain",
    "localise": "localise HOSTILE --run OUT -o OUT",
    "base": "localise SOUND --run OUT -o OUT --base HOSTILE",
    "doctor": "doctor HOSTILE",
}


@pytest.mark.model
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_survives_it(name: str, small_model: Path, tmp_path: Path) -> None:
    hostile = with_number(
        small_model, tmp_path / "hostile.gguf", "llama.block_count", struct.pack("<I", 2**31)
    )
    write_suite(make_suite(4), tmp_path / "suite.parquet")
    words = {
        "HOSTILE": str(hostile),
        "SOUND": str(small_model),
        "SUITE": str(tmp_path / "suite.parquet"),
        "OUT": str(tmp_path / "out"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "misfired", *(words.get(w, w) for w in COMMANDS[name].split())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    said = [
        line for line in (done.stdout + done.stderr).splitlines() if "dies of this file" in line
    ]
    assert len(said) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.model
def test_averages_survive_it(small_model: Path, tmp_path: Path) -> None:
    number = struct.pack("<I", 2**31)
    path = with_number(small_model, tmp_path / "hostile.gguf", "llama.block_count", number)
    with pytest.raises(ModelError, match="dies of this file"):
        averages(path, tmp_path)


@pytest.mark.model
def test_a_vocabulary_is_tried_without_its_weights(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that only weights need does no harm; a process that dies is reported."""
    number = struct.pack("<I", 2**31)
    path = with_number(small_model, tmp_path / "hostile.gguf", "llama.block_count", number)

    def checked(model_path: Path) -> dict[str, object]:
        with open_model(model_path, vocab_only=True) as model:
            encode = model.tokenizer.encode
            return check_pairs(
                make_suite(4),
                count_tokens=lambda texts: [len(encode(t, parse_special=False)) for t in texts],
            )

    assert checked(path) == checked(small_model)
    monkeypatch.setattr(guard, "PROGRAM", program(tmp_path, "import os; os.abort()"))
    guard._trials.clear()
    for use in (
        lambda: checked(path),
        lambda: template_for(Model(small_model), str(path)),
    ):
        with pytest.raises(ModelError, match=r"hostile\.gguf: llama\.cpp dies of this file"):
            use()


@pytest.mark.model
def test_a_message_of_llama_cpp_stays_one_line(small_model: Path, tmp_path: Path) -> None:
    content = small_model.read_bytes().replace(
        b"general.architecture", b"general\r\n\x1b[31mitectur", 1
    )
    (tmp_path / "hostile.gguf").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Model(tmp_path / "hostile.gguf")
    assert str(caught.value).isprintable()


@pytest.mark.model
def test_a_sound_file_loads(small_model: Path) -> None:
    guard.try_loading(small_model)


@pytest.mark.model
def test_a_process_that_dies_is_reported(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PROGRAM", program(tmp_path, "import os; os.abort()"))
    guard._trials.clear()
    with pytest.raises(ModelError, match=r"dies of this file \(signal 6"):
        guard.try_loading(small_model)
    assert [f.status for f in examine(small_model) if f.name == "model"] == ["problem"]


@pytest.mark.model
def test_a_process_that_hangs_is_reported(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PROGRAM", program(tmp_path, "import time; time.sleep(60)"))
    monkeypatch.setattr(guard, "LOAD_SECONDS", 1)
    guard._trials.clear()
    with pytest.raises(ModelError, match="did not read it within 1 s"):
        guard.try_loading(small_model)
