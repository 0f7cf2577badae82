"""Small models of real architectures, made once a session."""

from collections.abc import Callable
from pathlib import Path

import pytest
from random_model import make_model

#: Architecture and the vocabulary file that its real models resemble most.
ARCHITECTURES = {
    "llama": "llama-bpe",
    "mistral": "llama-spm",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "gemma2": "llama-spm",
    "gemma3": "llama-spm",
    "phi3": "phi-3",
    "gpt2": "gpt-2",
}

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with the built-in vocabulary: needs no data."""
    return make_model(tmp_path_factory.mktemp("models") / "llama.gguf", "llama")


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
