"""The header of a model file as ggml's reader has it, beside that of the `gguf` package."""

from collections import Counter

import gguf
import pytest

from misfired.scoring.llama.gguf import read_header
from random_model import make_model

pytestmark = pytest.mark.model


@pytest.mark.parametrize("quantisation", ["f32", "q4_K"])
def test_the_types_of_the_tensors(quantisation, tmp_path) -> None:
    path = make_model(tmp_path / "m.gguf", "llama", n_embd=256, n_ff=256, quantisation=quantisation)
    header, tensors = read_header(path), gguf.GGUFReader(path).tensors
    n_bytes: Counter[str] = Counter()
    for tensor in tensors:
        n_bytes[tensor.tensor_type.name.lower()] += int(tensor.n_bytes)
    assert header.n_params == sum(int(tensor.n_elements) for tensor in tensors)
    assert header.n_bytes == n_bytes.total()
    shares = {name.lower(): share * header.n_bytes for name, share in header.types.items()}
    assert shares == pytest.approx(dict(n_bytes))
    assert header.architecture == "llama"
    assert header.n_layers == 2
