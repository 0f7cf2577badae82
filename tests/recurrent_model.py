"""A small Mamba with random weights: a model whose state cannot be rolled back in part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from vocabulary import builtin_tokenizer, n_tokens

N_LAYER, N_EMBD, N_INNER, N_STATE, N_CONV, N_RANK = 2, 64, 128, 16, 4, 4


def make_recurrent_model(path: Path) -> Path:
    """Write the model; the same bytes each time."""
    tokenizer = builtin_tokenizer()
    writer = GGUFWriter(path, "mamba")
    writer.add_block_count(N_LAYER)
    writer.add_context_length(2048)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(N_CONV)
    writer.add_ssm_inner_size(N_INNER)
    writer.add_ssm_state_size(N_STATE)
    writer.add_ssm_time_step_rank(N_RANK)
    for key, data in tokenizer.items():
        writer.add_key_value(key, data.value, data.type, data.element_type)
    for name, values in _tensors(n_tokens(tokenizer)):
        writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(n_vocab: int) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)

    def linear(n_out: int, n_in: int, gain: float = 1.5) -> np.ndarray:
        return rng.normal(0, gain / np.sqrt(n_in), (n_out, n_in))

    yield "token_embd.weight", rng.normal(0, 2 / np.sqrt(N_EMBD), (n_vocab, N_EMBD))
    for layer in range(N_LAYER):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", np.ones(N_EMBD)
        yield f"{block}.ssm_in.weight", linear(2 * N_INNER, N_EMBD)
        yield f"{block}.ssm_conv1d.weight", linear(N_INNER, N_CONV)
        yield f"{block}.ssm_conv1d.bias", rng.normal(0, 0.1, N_INNER)
        yield f"{block}.ssm_x.weight", linear(N_RANK + 2 * N_STATE, N_INNER)
        yield f"{block}.ssm_dt.weight", linear(N_INNER, N_RANK)
        yield f"{block}.ssm_dt.bias", rng.normal(0, 0.1, N_INNER)
        yield f"{block}.ssm_a", -np.tile(np.arange(1, N_STATE + 1), (N_INNER, 1))
        yield f"{block}.ssm_d", np.ones(N_INNER)
        yield f"{block}.ssm_out.weight", linear(N_EMBD, N_INNER)
    yield "output_norm.weight", np.ones(N_EMBD)
