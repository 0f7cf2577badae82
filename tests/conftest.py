"""Fixtures for all tests."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from helpers import ARCHITECTURES, MakeModel
from misfired import cli
from random_model import make_model
from recurrent_model import make_recurrent_model

# How long an example takes decides no test, and every run draws the same examples.
settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")
# For tools/fuzz.py, which says how many cases.
settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("MISFIRED_FUZZ_CASES", "1000")),
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of test data, or a skip where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MISFIRED_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (set MISFIRED_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with the built-in vocabulary: needs no data."""
    return make_model(tmp_path_factory.mktemp("models") / "llama.gguf", "llama")


@pytest.fixture(scope="session")
def recurrent_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mamba with the built-in vocabulary."""
    return make_recurrent_model(tmp_path_factory.mktemp("models") / "mamba.gguf")


@pytest.fixture(scope="session")
def real_vocabulary_model(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> MakeModel:
    """Makes a model with a real vocabulary; the same arguments give the same file."""
    folder = tmp_path_factory.mktemp("real")

    def make(arch: str, quantisation: str = "f32", **options: object) -> Path:
        path = folder / f"{arch}-{quantisation}-{len(options)}.gguf"
        if not path.exists():
            vocab = test_data / "vocab" / f"ggml-vocab-{ARCHITECTURES[arch]}.gguf"
            make_model(path, arch, vocab=vocab, quantisation=quantisation, **options)
        return path

    return make


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def misfired(monkeypatch, capsys):
    """Run `misfired` with arguments: `misfired("pairs", "show", file)`."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["misfired", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return Finished(code, *capsys.readouterr())

    return run
