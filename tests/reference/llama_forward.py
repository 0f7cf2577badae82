"""A llama model in plain numpy float64, from its GGUF file: nothing shared with llama.cpp.

Residuals, heads, attention and logits of one prompt, with an optional hook that may replace any of
them while the pass runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader

#: Called with (site, layer, values [n_tokens, width]); what it returns is used from there on.
Hook = Callable[[str, int, np.ndarray], np.ndarray]


@dataclass
class Pass:
    residual: np.ndarray  # [layer, token, n_embd]
    heads: np.ndarray  # [layer, token, n_head * head_dim]
    feed_forward: np.ndarray  # [layer, token, n_embd]
    attention: np.ndarray  # [layer, head, query, key]
    logits: np.ndarray  # [token, n_vocab]


class Llama:
    def __init__(self, path: Path):
        reader = GGUFReader(path)
        field = lambda name: reader.fields[f"llama.{name}"].contents()  # noqa: E731
        self.weights = {t.name: np.array(t.data, np.float64) for t in reader.tensors}
        self.n_layer = field("block_count")
        self.n_head = field("attention.head_count")
        self.n_head_kv = field("attention.head_count_kv")
        self.epsilon = field("attention.layer_norm_rms_epsilon")
        self.base = field("rope.freq_base")
        self.head_dim = field("rope.dimension_count")

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.weights[name]

    def unembed(self, x: np.ndarray) -> np.ndarray:
        rows = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return self.norm(x, "output_norm.weight") @ rows.T

    def rope(self, x: np.ndarray) -> np.ndarray:
        """Pairs of neighbours (2i, 2i + 1) are turned by position * base ** (-2i / head_dim)."""
        half = np.arange(0, self.head_dim, 2)
        angles = np.arange(len(x))[:, None] * self.base ** (-half / self.head_dim)
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)[:, None, :]
        out = np.empty_like(x)
        out[..., 0::2], out[..., 1::2] = turned.real, turned.imag
        return out

    def run(self, ids: np.ndarray, hook: Hook | None = None) -> Pass:
        hook = hook or (lambda _site, _layer, values: values)
        w, n = self.weights, len(ids)
        x = w["token_embd.weight"][ids]
        kept: dict[str, list[np.ndarray]] = {"residual": [], "heads": [], "ffn": [], "attn": []}
        for layer in range(self.n_layer):
            at = lambda name: w[f"blk.{layer}.{name}.weight"]  # noqa: B023, E731
            y = self.norm(x, f"blk.{layer}.attn_norm.weight")
            q = self.rope((y @ at("attn_q").T).reshape(n, self.n_head, -1))
            k = self.rope((y @ at("attn_k").T).reshape(n, self.n_head_kv, -1))
            v = (y @ at("attn_v").T).reshape(n, self.n_head_kv, -1)
            group = self.n_head // self.n_head_kv
            k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
            scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.head_dim)
            scores += np.triu(np.full((n, n), -np.inf), 1)
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            heads = hook("attention", layer, np.einsum("hqk,khd->qhd", p, v).reshape(n, -1))
            x = x + heads @ at("attn_output").T
            y = self.norm(x, f"blk.{layer}.ffn_norm.weight")
            gate = y @ at("ffn_gate").T
            up = gate / (1 + np.exp(-gate)) * (y @ at("ffn_up").T)
            ffn = hook("feed_forward", layer, up @ at("ffn_down").T)
            x = hook("residual", layer, x + ffn)
            for name, value in zip(kept, (x, heads, ffn, p), strict=True):
                kept[name].append(value)
        stacked = {name: np.stack(values) for name, values in kept.items()}
        return Pass(
            stacked["residual"], stacked["heads"], stacked["ffn"], stacked["attn"], self.unembed(x)
        )
