"""One prompt at a time through the plain C API: the slow twin of the batched scorer."""

import ctypes
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as capi

from plain_llama import load

GGML_TYPE_F32 = 0


class PlainScorer:
    """A context for one sequence; every prompt starts from an empty cache."""

    def __init__(self, path: Path, n_ctx: int = 1024) -> None:
        capi.llama_backend_init()
        self.model = load(path)
        params = capi.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
        params.n_seq_max = 1
        params.flash_attn_type = 0
        params.type_k = params.type_v = GGML_TYPE_F32
        params.n_threads = params.n_threads_batch = 2
        self.context = capi.llama_init_from_model(self.model, params)
        assert self.context, path
        self.vocab = capi.llama_model_get_vocab(self.model)
        self.n_vocab = capi.llama_vocab_n_tokens(self.vocab)

    def logp(self, ids: list[int]) -> np.ndarray:
        """Log-probabilities of the whole vocabulary after the last token, [n_vocab], in f64."""
        capi.llama_memory_clear(capi.llama_get_memory(self.context), True)
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        assert capi.llama_decode(self.context, capi.llama_batch_get_one(tokens, len(ids))) == 0
        row = capi.llama_get_logits_ith(self.context, -1)
        logits = np.ctypeslib.as_array(row, (self.n_vocab,)).astype(np.float64)
        return logits - np.logaddexp.reduce(logits)

    def close(self) -> None:
        capi.llama_free(self.context)
        capi.llama_model_free(self.model)
