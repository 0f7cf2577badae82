"""Load a model and decode two tokens: a program that `guard` runs, since llama.cpp may end the process.

Arguments: `sys.path` as JSON, the model file, and as JSON the CPU threads, `vocab_only` (of a vocabulary
nothing is decoded), the `settings` of the run's devices, and the address `space` that the run has.
Exit code 3 means that llama.cpp refuses the file, 4 that it aborts; its last words are then on stderr.
"""

import ctypes
import json
import os
import sys
import types
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

#: Ends llama.cpp's list of devices to use: alone it says that no GPU may take part.
_NO_DEVICE = (ctypes.c_void_p * 1)(None)
#: Tokens of the context; where memory is limited those of a run, at least.
N_CTX, N_CTX_LIMITED = 32, 512


def write_settings(params: Any, settings: Mapping[str, Any]) -> None:
    """Write into llama.cpp's model parameters where layers go; see `device.settings`."""
    for name, value in settings.items():
        if name == "tensor_split":
            shares = (ctypes.c_float * len(value))(*value)
            setattr(params, name, ctypes.cast(shares, type(params.tensor_split)))
        else:
            setattr(params, name, value)
    if not settings["n_gpu_layers"]:
        # No GPU takes part, not even for large batches.
        params.devices = ctypes.cast(_NO_DEVICE, ctypes.c_void_p)


def _limit_space(left: int) -> None:
    """Leave this process as much address space as the one that asks has left."""
    import resource  # noqa: PLC0415  not on Windows, which has no such limit

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  quicker
        used = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(most, used + left), most))


def main(
    path: str,
    *,
    n_threads: int,
    vocab_only: bool,
    settings: dict[str, Any],
    space: int | None,
) -> int:
    """Load the model and decode; return the exit code."""
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

    if space is not None:
        _limit_space(space)
    ggml: Any = libggml
    callback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(last_words)
    ggml.ggml_set_abort_callback(callback)
    model_params = capi.llama_model_default_params()
    write_settings(model_params, settings)
    model_params.use_extra_bufts = False
    model_params.vocab_only = vocab_only
    model = capi.llama_model_load_from_file(os.fsencode(path), model_params)
    if not model or vocab_only:
        return 0 if model else 3
    params = capi.llama_context_default_params()
    params.n_ctx = N_CTX if space is None else N_CTX_LIMITED
    params.n_batch = params.n_ubatch = max(N_CTX, params.n_ctx // 4)
    params.n_threads = params.n_threads_batch = n_threads
    params.op_offload = params.offload_kqv = bool(settings["n_gpu_layers"])
    context = capi.llama_init_from_model(model, params)
    if not context:
        return 3
    tokens = (ctypes.c_int32 * 2)()
    capi.llama_decode(context, capi.llama_batch_get_one(tokens, len(tokens)))
    return 0


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    # Without the interpreter's clean-up, which a damaged model could still crash.
    os._exit(main(sys.argv[2], **json.loads(sys.argv[3])))
