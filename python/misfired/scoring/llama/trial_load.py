"""Load a model and decode two tokens: a program that `guard` runs, since llama.cpp may end the process.

Arguments: `sys.path` as JSON, the model file, CPU threads, 1 for a vocabulary (of which nothing is decoded).
Exit code 3 means that llama.cpp refuses the file, 4 that it aborts; its last words are then on stderr.
"""

import ctypes
import json
import os
import sys
import types
from importlib.util import find_spec
from typing import Any


def main(path: str, n_threads: int, *, vocab_only: bool) -> int:
    """Load the model on the CPU and decode; return the exit code."""
    # The bindings alone: the package would import its chat formats, servers' caches and numpy.
    package = types.ModuleType("llama_cpp")
    spec: Any = find_spec("llama_cpp")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["llama_cpp"] = package
    from llama_cpp import llama_cpp as capi  # noqa: PLC0415  found by argument 1
    from llama_cpp._ggml import libggml  # noqa: PLC0415

    def last_words(message: bytes) -> None:
        os.write(2, b"\n" + os.path.basename(message) + b"\n")  # noqa: PTH119  bytes
        os._exit(4)

    ggml: Any = libggml
    callback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(last_words)
    ggml.ggml_set_abort_callback(callback)
    model_params = capi.llama_model_default_params()
    model_params.n_gpu_layers = 0
    # An empty list of devices: no GPU takes part, not even for large batches.
    no_device = (ctypes.c_void_p * 1)(None)
    model_params.devices = ctypes.cast(no_device, ctypes.c_void_p)
    model_params.use_extra_bufts = False
    model_params.vocab_only = vocab_only
    model = capi.llama_model_load_from_file(os.fsencode(path), model_params)
    if not model or vocab_only:
        return 0 if model else 3
    params = capi.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 32
    params.n_threads = params.n_threads_batch = n_threads
    params.op_offload = params.offload_kqv = False
    context = capi.llama_init_from_model(model, params)
    if not context:
        return 3
    tokens = (ctypes.c_int32 * 2)()
    capi.llama_decode(context, capi.llama_batch_get_one(tokens, len(tokens)))
    return 0


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    # Without the interpreter's clean-up, which a damaged model could still crash.
    os._exit(main(sys.argv[2], int(sys.argv[3]), vocab_only=sys.argv[4] == "1"))
