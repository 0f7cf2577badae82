"""The organisms through llama.cpp's low-level API: tokens, logits, each head's ablation."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp import _ggml

from plain_llama import load

N_CONTEXT = 256
Edit = Callable[[np.ndarray], np.ndarray]

_ggml_library = _ggml.libggml
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
for _name, _arguments, _result in (
    ("ggml_get_name", [_POINTER], ctypes.c_char_p),
    ("ggml_nbytes", [_POINTER], _SIZE),
    ("ggml_backend_tensor_get", [_POINTER, _POINTER, _SIZE, _SIZE], None),
    ("ggml_backend_tensor_set", [_POINTER, _POINTER, _SIZE, _SIZE], None),
):
    _function = getattr(_ggml_library, _name)
    _function.argtypes, _function.restype = _arguments, _result


@llama_cpp.llama_log_callback
def _silent(_level, _text, _user_data):
    pass


class LlamaModel:
    """A GGUF with f32 K/V and no flash attention, one prompt at a time, its nodes open to edits.

    `edits` maps a node's name to a function of its values, [n_tokens, n_embedding]; `wanted` names
    nodes whose values a run leaves in `seen`.
    """

    def __init__(self, path: Path) -> None:
        llama_cpp.llama_backend_init()
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        self.edits: dict[str, Edit] = {}
        self.wanted: set[str] = set()
        self.seen: dict[str, np.ndarray] = {}
        self.model = load(path)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocabulary = llama_cpp.llama_vocab_n_tokens(self.vocabulary)
        self.n_embedding = llama_cpp.llama_model_n_embd(self.model)
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._on_node)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = N_CONTEXT
        settings.n_threads = settings.n_threads_batch = 1
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
        settings.cb_eval = self.callback
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.batch = llama_cpp.llama_batch_init(N_CONTEXT, 0, 1)

    def close(self) -> None:
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def _on_node(self, tensor: int, ask: bool, _user_data: int) -> bool:
        name = _ggml_library.ggml_get_name(tensor).decode()
        if ask:
            return name in self.wanted or name in self.edits
        n_bytes = _ggml_library.ggml_nbytes(tensor)
        values = np.empty(n_bytes // 4, np.float32)
        _ggml_library.ggml_backend_tensor_get(tensor, values.ctypes.data, 0, n_bytes)
        values = values.reshape(-1, self.n_embedding)
        if name in self.edits:
            values = np.ascontiguousarray(self.edits[name](values), np.float32)
            _ggml_library.ggml_backend_tensor_set(tensor, values.ctypes.data, 0, n_bytes)
        self.seen[name] = values
        return True

    def tokenise(self, text: str) -> list[int]:
        """Tokens of a rendered prompt, which brings its own BOS."""
        data, room = text.encode(), (ctypes.c_int32 * N_CONTEXT)()
        n = llama_cpp.llama_tokenize(self.vocabulary, data, len(data), room, N_CONTEXT, False, True)
        return list(room[:n])

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Logits at every position, [n_tokens, n_vocabulary]."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.seen = {}
        self.batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            self.batch.token[i], self.batch.pos[i] = token, i
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, 0
            # All rows, or the last layer keeps only the output row and an edit sees one token.
            self.batch.logits[i] = 1
        if llama_cpp.llama_decode(self.context, self.batch) != 0:
            raise RuntimeError("llama_decode failed")
        return np.stack(
            [
                np.ctypeslib.as_array(
                    llama_cpp.llama_get_logits_ith(self.context, i), (self.n_vocabulary,)
                ).copy()
                for i in range(len(tokens))
            ]
        )


def head_ablation(
    organism: LlamaModel,
    pairs: list[tuple[list[int], list[int]]],
    *,
    n_layers: int,
    n_heads: int,
    yes: int,
    no: int,
) -> np.ndarray:
    """Zero each head at all positions; return the mean change of the yes-no margin,
    [n_layers, n_heads, 2], on the stereotyped and on the contrast prompts."""

    def margins() -> np.ndarray:
        rows = [[organism.logits(tokens)[-1] for tokens in pair] for pair in pairs]
        return np.array([[float(row[yes] - row[no]) for row in pair] for pair in rows])

    organism.edits = {}
    untouched = margins()
    n_head = organism.n_embedding // n_heads
    changes = np.zeros((n_layers, n_heads, 2))
    for layer in range(n_layers):
        for head in range(n_heads):

            def zero(values: np.ndarray, start: int = head * n_head) -> np.ndarray:
                values = values.copy()
                values[:, start : start + n_head] = 0.0
                return values

            organism.edits = {f"kqv_out-{layer}": zero}
            changes[layer, head] = (margins() - untouched).mean(0)
    organism.edits = {}
    return changes


def specificity(changes: np.ndarray) -> np.ndarray:
    """Change on stereotyped - |change on contrast|: breaking both answers gains nothing."""
    return changes[..., 0] - np.abs(changes[..., 1])
