"""What several tests of models need."""

from pathlib import Path

import pytest

from random_model import make_model

#: Shape of the models of `model_file`.
N_LAYER, N_EMBD = 3, 64


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("models")

    def make(arch: str = "llama") -> Path:
        path = folder / f"{arch}.gguf"
        return path if path.exists() else make_model(path, arch, n_layer=N_LAYER, n_embd=N_EMBD)

    return make
