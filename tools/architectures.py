"""Families of models: what sets each apart, which sizes it allows, and its tensors by name."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Float32 = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True)
class Architecture:
    """What sets one family of models apart from a plain llama, as its real conversions have it."""

    gguf: str
    layer_norm: bool = False  # LayerNorm with biases instead of RMSNorm
    gated: bool = True  # feed-forward network with a gate
    fused: bool = False  # one tensor for q, k, v (and one for gate and up, where gated)
    biases: str = "none"  # "none", "qkv" or "all"
    position_table: bool = False  # learned positions instead of RoPE
    qk_norm: bool = False
    post_norm: bool = False  # norms after attention and feed-forward too
    scaled_embedding: bool = False  # llama.cpp multiplies embeddings by sqrt(n_embd)
    tied: bool = False  # output rows are the token embedding, where the caller does not say
    always_tied: bool = False
    wide_heads: bool = False  # head_dim is stated, and by default not n_embd / n_head
    free_heads: bool = True  # head_dim may differ from n_embd / n_head at all
    grouped: bool = True  # n_head_kv may be less than n_head
    rope_freq_base: float | None = 10_000.0
    epsilon: float = 1e-5


ARCHITECTURES = {
    "llama": Architecture("llama", rope_freq_base=500_000.0),
    "mistral": Architecture("llama", rope_freq_base=1_000_000.0),
    "qwen2": Architecture(
        "qwen2",
        biases="qkv",
        tied=True,
        free_heads=False,
        rope_freq_base=1_000_000.0,
        epsilon=1e-6,
    ),
    "qwen3": Architecture(
        "qwen3", qk_norm=True, tied=True, wide_heads=True, rope_freq_base=1_000_000.0, epsilon=1e-6
    ),
    "gemma2": Architecture(
        "gemma2",
        post_norm=True,
        scaled_embedding=True,
        tied=True,
        always_tied=True,
        wide_heads=True,
        epsilon=1e-6,
    ),
    "gemma3": Architecture(
        "gemma3",
        qk_norm=True,
        post_norm=True,
        scaled_embedding=True,
        tied=True,
        always_tied=True,
        wide_heads=True,
        rope_freq_base=1_000_000.0,
        epsilon=1e-6,
    ),
    "phi3": Architecture("phi3", fused=True, free_heads=False),
    "gpt2": Architecture(
        "gpt2",
        layer_norm=True,
        gated=False,
        fused=True,
        biases="all",
        position_table=True,
        tied=True,
        free_heads=False,
        grouped=False,
        rope_freq_base=None,
    ),
}

#: Numbers by which rows must divide, by quantisation.
BLOCK_SIZES = {"f32": 1, "f16": 1, "q8_0": 32, "q4_K": 256}


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, checked and with defaults filled in."""

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    head_dim: int
    n_ctx_train: int
    sliding_window: int
    tied: bool
    scale: float


@dataclass(frozen=True)
class Tensor:
    """A tensor to fill with normal numbers; matrices are (outputs, inputs)."""

    name: str
    shape: tuple[int, ...]
    mean: float
    deviation: float

    def values(self, seed: int) -> Float32:
        # A stream per name: two files that share a tensor share its numbers, whatever else differs.
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        values = rng.standard_normal(self.shape, dtype=np.float32)
        values *= np.float32(self.deviation)
        values += np.float32(self.mean)
        return values


def check_shape(arch: str, shape: Shape, *, stated_head_dim: bool, quantisation: str) -> None:
    """Refuse what llama.cpp would refuse later, or would read as another model, with the reason."""
    architecture = ARCHITECTURES[arch]
    for name in ("n_layer", "n_embd", "n_head", "n_head_kv", "n_ff", "n_ctx_train"):
        if (value := getattr(shape, name)) < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if shape.sliding_window < 1:
        raise ValueError(f"sliding_window is {shape.sliding_window}; it must be at least 1")
    if not (math.isfinite(shape.scale) and shape.scale > 0):
        raise ValueError(f"scale is {shape.scale}; it must be positive")
    if not stated_head_dim and shape.n_embd % shape.n_head:
        raise ValueError(f"n_head is {shape.n_head}; it must divide n_embd = {shape.n_embd}")
    if shape.n_head % shape.n_head_kv:
        raise ValueError(f"n_head_kv is {shape.n_head_kv}; it must divide n_head = {shape.n_head}")
    if not architecture.grouped and shape.n_head_kv != shape.n_head:
        raise ValueError(f"n_head_kv is {shape.n_head_kv}; {arch} needs n_head = {shape.n_head}")
    if shape.head_dim < 2 or shape.head_dim % 2:
        raise ValueError(f"head_dim is {shape.head_dim}; it must be even and at least 2")
    if not architecture.free_heads and shape.n_head * shape.head_dim != shape.n_embd:
        expected = f"n_embd / n_head = {shape.n_embd / shape.n_head:g}"
        raise ValueError(f"head_dim is {shape.head_dim}; {arch} needs {expected}")
    if architecture.always_tied and not shape.tied:
        raise ValueError(f"tied is False; the output rows of {arch} are its token embedding")
    block = BLOCK_SIZES[quantisation]
    rows = {
        "n_embd": shape.n_embd,
        "n_ff": shape.n_ff,
        "n_head * head_dim": shape.n_head * shape.head_dim,
    }
    for name, value in rows.items():
        if value % block:
            raise ValueError(f"{name} is {value}; {quantisation} needs a multiple of {block}")


def tensors(architecture: Architecture, shape: Shape, n_vocab: int) -> Iterator[Tensor]:
    """All tensors of a model, in the order of the file."""
    width = shape.n_embd
    root = math.sqrt(width)
    # With tied weights the embedding has to be small for logits of the wanted size; where
    # llama.cpp multiplies it by sqrt(n_embd) it is smaller still, and the last norm makes up for
    # that. Otherwise the token that was just read would outweigh all others by its own square.
    embedding = shape.scale / root if shape.tied else 1.0
    last_norm = 1.0
    if architecture.scaled_embedding:
        embedding, last_norm = embedding / root, root
    yield Tensor("token_embd.weight", (n_vocab, width), 0.0, embedding)
    if architecture.position_table:
        yield Tensor("position_embd.weight", (shape.n_ctx_train, width), 0.0, embedding)
    for layer in range(shape.n_layer):
        for tensor in _layer(architecture, shape):
            name = f"blk.{layer}.{tensor.name}"
            yield Tensor(name, tensor.shape, tensor.mean, tensor.deviation)
    yield from _norm("output_norm", width, last_norm, bias=architecture.layer_norm)
    if not shape.tied:
        yield Tensor("output.weight", (n_vocab, width), 0.0, shape.scale / root)


def _norm(name: str, width: int, mean: float = 1.0, *, bias: bool = False) -> Iterator[Tensor]:
    yield Tensor(f"{name}.weight", (width,), mean, 0.2 * mean)
    if bias:
        yield Tensor(f"{name}.bias", (width,), 0.0, 0.1)


def _linear(name: str, outputs: int, inputs: int, gain: float, *, bias: bool) -> Iterator[Tensor]:
    """A matrix that takes inputs of size 1 to outputs of size `gain`."""
    yield Tensor(f"{name}.weight", (outputs, inputs), 0.0, gain / math.sqrt(inputs))
    if bias:
        yield Tensor(f"{name}.bias", (outputs,), 0.0, 0.2)


def _layer(architecture: Architecture, shape: Shape) -> Iterator[Tensor]:
    width, bias = shape.n_embd, architecture.layer_norm
    yield from _norm("attn_norm", width, bias=bias)
    yield from _attention(architecture, shape)
    if architecture.post_norm:
        yield from _norm("post_attention_norm", width)
    yield from _norm("ffn_norm", width, bias=bias)
    yield from _feed_forward(architecture, shape)
    if architecture.post_norm:
        yield from _norm("post_ffw_norm", width)


def _attention(architecture: Architecture, shape: Shape) -> Iterator[Tensor]:
    width, bias = shape.n_embd, architecture.biases == "all"
    n_q, n_kv = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    # A gain of 1.5 spreads the attention scores by about 2, so that heads choose among tokens
    # (with 1 they would all but average) and a prompt's order shows in its logits.
    outputs = {"attn_qkv": n_q + 2 * n_kv}
    if not architecture.fused:
        outputs = {"attn_q": n_q, "attn_k": n_kv, "attn_v": n_kv}
    for name, n_outputs in outputs.items():
        yield from _linear(name, n_outputs, width, 1.5, bias=architecture.biases != "none")
    if architecture.qk_norm:
        yield from _norm("attn_q_norm", shape.head_dim, 1.5)
        yield from _norm("attn_k_norm", shape.head_dim, 1.5)
    yield from _linear("attn_output", width, n_q, 1.5, bias=bias)


def _feed_forward(architecture: Architecture, shape: Shape) -> Iterator[Tensor]:
    width, bias = shape.n_embd, architecture.biases == "all"
    if architecture.gated and not architecture.fused:
        yield from _linear("ffn_gate", shape.n_ff, width, 1.5, bias=bias)
    n_up = shape.n_ff * (2 if architecture.gated and architecture.fused else 1)
    yield from _linear("ffn_up", n_up, width, 1.5, bias=bias)
    yield from _linear("ffn_down", width, shape.n_ff, 1.5, bias=bias)
