"""The one llama.cpp of the process: the library inside the installed llama-cpp-python."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as capi
from llama_cpp._ggml import libggml

from misfired import _core
from misfired.errors import ArgumentError, ModelError
from misfired.scoring.options import Devices

#: llama.cpp's numbers of what `misfired.scoring.options` names.
CACHE_TYPES: dict[str, int] = {
    "f32": capi.GGML_TYPE_F32,
    "f16": capi.GGML_TYPE_F16,
    "bf16": 30,  # GGML_TYPE_BF16, which llama-cpp-python does not name
    "q8_0": capi.GGML_TYPE_Q8_0,
    "q5_1": capi.GGML_TYPE_Q5_1,
    "q5_0": capi.GGML_TYPE_Q5_0,
    "iq4_nl": capi.GGML_TYPE_IQ4_NL,
    "q4_1": capi.GGML_TYPE_Q4_1,
    "q4_0": capi.GGML_TYPE_Q4_0,
}
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
SPLIT_MODES = {
    "none": capi.LLAMA_SPLIT_MODE_NONE,
    "layer": capi.LLAMA_SPLIT_MODE_LAYER,
    "row": capi.LLAMA_SPLIT_MODE_ROW,
}

GGML_LOG_LEVEL_ERROR = 4
GGML_LOG_LEVEL_CONT = 5


class _Log:
    """Keeps llama.cpp's error lines for messages; everything else it says is dropped."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._level = 0

    def __call__(self, level: int, text: bytes, _user_data: object) -> None:
        if level != GGML_LOG_LEVEL_CONT:
            self._level = level
        if self._level == GGML_LOG_LEVEL_ERROR:
            self.errors.append(text.decode(errors="replace").strip())


_log = _Log()
# ctypes frees a callback that nothing refers to, and llama.cpp would call into freed memory.
_log_callback = capi.llama_log_callback(_log)


@contextmanager
def captured_errors() -> Iterator[list[str]]:
    """Collect the error lines that llama.cpp logs inside the block."""
    _log.errors.clear()
    capi.llama_log_set(_log_callback, ctypes.c_void_p(0))
    yield _log.errors


@functools.cache
def load_library() -> _core.Library:
    """Open the libllama that llama-cpp-python has loaded and check that its layout is known.

    Raises:
        ModelError: The installed llama-cpp-python is laid out otherwise, or lacks a function.
    """
    with captured_errors():
        capi.llama_backend_init()
    batch: Any = capi.llama_batch
    layout = [
        ctypes.sizeof(batch),
        batch.token.offset,
        batch.pos.offset,
        batch.seq_id.offset,
        batch.logits.offset,
    ]
    try:
        return _core.Library(os.fspath(capi._lib._name), layout)
    except ModelError as error:
        raise ModelError(f"llama-cpp-python {llama_cpp.__version__}: {error}") from None


def versions() -> dict[str, str]:
    """Versions that a number depends on: of misfired, of llama-cpp-python, of its build."""
    return {
        "misfired": _core.__version__,
        "build_profile": _core.build_profile,
        "llama_cpp_python": llama_cpp.__version__,
        "llama_cpp_system": capi.llama_print_system_info().decode(errors="replace").strip(),
    }


def devices() -> list[str]:
    """Every device that llama.cpp's backends have found, as they describe it."""
    ggml: Any = libggml
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    described = []
    for name in (ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description):
        name.restype, name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    for index in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(index)
        name = ggml.ggml_backend_dev_name(device).decode(errors="replace")
        text = ggml.ggml_backend_dev_description(device).decode(errors="replace")
        described.append(f"{name} ({text})")
    return described


def apply_devices(devices: Devices, params: Any) -> None:
    """Write where layers are computed into llama.cpp's model parameters.

    Raises:
        ArgumentError: More shares than llama.cpp takes.
    """
    params.n_gpu_layers = devices.n_gpu_layers
    if devices.split_mode is not None:
        params.split_mode = SPLIT_MODES[devices.split_mode]
    if devices.main_gpu is not None:
        params.main_gpu = devices.main_gpu
    if devices.tensor_split is not None:
        most = int(capi.llama_max_devices())
        if len(devices.tensor_split) > most:
            raise ArgumentError(
                f"tensor_split must have at most {most} shares, got {len(devices.tensor_split)}"
            )
        # llama.cpp reads as many as it has devices.
        shares = (ctypes.c_float * most)(*devices.tensor_split)
        params.tensor_split = ctypes.cast(shares, type(params.tensor_split))
