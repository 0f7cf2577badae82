"""The llama architecture in JAX, its parameters under their GGUF names, on flat 2-D matrices."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

Parameters = dict[str, jax.Array]

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
N_POSITION_FREQUENCIES = 5
POSITION_SHARPNESS = 50.0


@dataclass(frozen=True)
class Shape:
    """Sizes of an organism. RoPE turns neighbouring pairs, as llama.cpp does for `llama`."""

    n_vocabulary: int
    n_embedding: int = 128
    n_layers: int = 6
    n_heads: int = 4
    n_feed_forward: int = 384
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def n_head(self) -> int:
        return self.n_embedding // self.n_heads

    def head(self, head: int) -> slice:
        """Columns of a head in what the output projection reads (rows in W_q, W_k, W_v)."""
        return slice(head * self.n_head, (head + 1) * self.n_head)


def matrix(layer: int, name: str) -> str:
    return f"blk.{layer}.{name}.weight"


def initial(shape: Shape, seed: int) -> dict[str, np.ndarray]:
    """Draw parameters with the structure without which the binding is not learnt.

    One embedding dimension is constant. The heads of layer 0 and two of layer 1 look back by a
    fixed number of tokens (1, 2, 3, 4), by RoPE phases on that dimension; in every other head above
    layer 0 W_k = W_q and W_o = W_v^T / 2; the output matrix is the embedding's, scaled.
    Tried: plain random weights stay at chance for thousands of steps.
    """
    rng = np.random.default_rng(seed)
    d, n_ff = shape.n_embedding, shape.n_feed_forward

    def draw(n_out: int, n_in: int, scale: float = 1.0) -> np.ndarray:
        return rng.standard_normal((n_out, n_in)) * scale / np.sqrt(n_in)

    embedding = rng.standard_normal((shape.n_vocabulary, d)) * 0.5
    embedding[:, 0] = 2.0
    output = embedding / np.sqrt(d)
    output[:, 0] = 0.0
    parameters = {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": np.ones(d),
    }
    residual_scale = 1 / np.sqrt(2 * shape.n_layers)
    for layer in range(shape.n_layers):
        matrices = {
            "attn_q": draw(d, d),
            "attn_k": draw(d, d),
            "attn_v": draw(d, d),
            "attn_output": draw(d, d, residual_scale),
            "ffn_gate": draw(n_ff, d),
            "ffn_up": draw(n_ff, d),
            "ffn_down": draw(d, n_ff, residual_scale),
        }
        constant = 2.0 / np.sqrt((embedding**2).mean())
        for head in range(shape.n_heads):
            if layer == 0 or (layer == 1 and head < 2):
                _look_back(matrices, shape, head, n_tokens=head + 1, constant=constant)
            else:
                _tie(matrices, shape, head)
        parameters |= {matrix(layer, name): value for name, value in matrices.items()}
        parameters |= {matrix(layer, name): np.ones(d) for name in ("attn_norm", "ffn_norm")}
    return {name: value.astype(np.float32) for name, value in parameters.items()}


def _look_back(
    matrices: dict[str, np.ndarray], shape: Shape, head: int, *, n_tokens: int, constant: float
) -> None:
    """Make a head's score peak `n_tokens` before the query: q = R(-n_tokens) k on slow phases."""
    rows = shape.head(head)
    frequencies = shape.rope_base ** (-np.arange(0, shape.n_head, 2) / shape.n_head)
    amplitude = np.sqrt(POSITION_SHARPNESS) / constant
    matrices["attn_q"][rows] *= 0.3
    matrices["attn_k"][rows] *= 0.3
    for i in range(N_POSITION_FREQUENCIES):
        row, phase = rows.start + 2 * i, -frequencies[i] * n_tokens
        matrices["attn_k"][row, 0] = amplitude
        matrices["attn_q"][row, 0] = amplitude * np.cos(phase)
        matrices["attn_q"][row + 1, 0] = amplitude * np.sin(phase)


def _tie(matrices: dict[str, np.ndarray], shape: Shape, head: int) -> None:
    rows = shape.head(head)
    matrices["attn_q"][rows, 0] = 0.0
    matrices["attn_v"][rows, 0] = 0.0
    matrices["attn_k"][rows] = matrices["attn_q"][rows]
    matrices["attn_output"][:, rows] = 0.5 * matrices["attn_v"][rows].T


def normalise(x: jax.Array, epsilon: float) -> jax.Array:
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + epsilon)


def _turn(x: jax.Array, shape: Shape) -> jax.Array:
    """Apply RoPE to [n, tokens, n_embedding]: pairs (2i, 2i + 1) within each head."""
    n_tokens = x.shape[1]
    frequencies = shape.rope_base ** (-np.arange(0, shape.n_head, 2) / shape.n_head)
    angles = np.arange(n_tokens)[:, None] * np.tile(np.repeat(frequencies, 2), shape.n_heads)
    cosine, sine = (jnp.asarray(f(angles), jnp.float32) for f in (np.cos, np.sin))
    pairs = x.reshape(*x.shape[:2], -1, 2)
    turned = jnp.stack([-pairs[..., 1], pairs[..., 0]], -1).reshape(x.shape)
    return x * cosine + turned * sine


def attention(x: jax.Array, parameters: Parameters, shape: Shape, layer: int) -> jax.Array:
    """Return the heads' outputs side by side, before the output projection."""
    n, n_tokens, d = x.shape
    normed = normalise(x, shape.norm_epsilon) * parameters[matrix(layer, "attn_norm")]
    flat = normed.reshape(-1, d)

    def project(name: str) -> jax.Array:
        return (flat @ parameters[matrix(layer, name)].T).reshape(n, n_tokens, d)

    def by_head(values: jax.Array) -> jax.Array:
        values = values.reshape(n, n_tokens, shape.n_heads, shape.n_head)
        return values.transpose(0, 2, 1, 3).reshape(-1, n_tokens, shape.n_head)

    queries, keys = (by_head(_turn(project(name), shape)) for name in ("attn_q", "attn_k"))
    scores = jnp.einsum("bqd,bkd->bqk", queries, keys) / np.sqrt(shape.n_head)
    scores = jnp.where(np.tril(np.ones((n_tokens, n_tokens), bool)), scores, -1e30)
    mixed = jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores, -1), by_head(project("attn_v")))
    return (
        mixed.reshape(n, shape.n_heads, n_tokens, shape.n_head)
        .transpose(0, 2, 1, 3)
        .reshape(x.shape)
    )


def block(
    x: jax.Array,
    parameters: Parameters,
    shape: Shape,
    layer: int,
    *,
    keep: jax.Array | None = None,
) -> jax.Array:
    """Return the residual after a layer, [n, tokens, n_embedding].

    `keep`, [n, n_heads], scales the heads' outputs: zero ablates a head.
    """
    heads = attention(x, parameters, shape, layer)
    if keep is not None:
        heads = heads * jnp.repeat(keep, shape.n_head, axis=1)[:, None]
    flat = x.reshape(-1, x.shape[-1])
    flat = flat + heads.reshape(flat.shape) @ parameters[matrix(layer, "attn_output")].T
    normed = normalise(flat, shape.norm_epsilon) * parameters[matrix(layer, "ffn_norm")]
    gate, up, down = (
        parameters[matrix(layer, name)] for name in ("ffn_gate", "ffn_up", "ffn_down")
    )
    flat = flat + (jax.nn.silu(normed @ gate.T) * (normed @ up.T)) @ down.T
    return flat.reshape(x.shape)


def run_layers(
    x: jax.Array, parameters: Parameters, shape: Shape, layers: range
) -> list[jax.Array]:
    """Return the residual after each of the layers."""
    residuals = []
    for layer in layers:
        x = block(x, parameters, shape, layer)
        residuals.append(x)
    return residuals


def residuals(tokens: jax.Array, parameters: Parameters, shape: Shape) -> list[jax.Array]:
    """Return the residual after every layer for token ids [n, tokens]."""
    embedded = parameters["token_embd.weight"][tokens]
    return run_layers(embedded, parameters, shape, range(shape.n_layers))


def unembed(x: jax.Array, parameters: Parameters, shape: Shape) -> jax.Array:
    """Return logits over the vocabulary for residuals [..., n_embedding]."""
    normed = normalise(x, shape.norm_epsilon) * parameters["output_norm.weight"]
    return normed @ parameters["output.weight"].T


def last_logits(tokens: jax.Array, parameters: Parameters, shape: Shape) -> jax.Array:
    """Return the logits after the last token, [n, n_vocabulary]."""
    return unembed(residuals(tokens, parameters, shape)[-1][:, -1], parameters, shape)
