"""The one llama.cpp of the process: the library inside the installed llama-cpp-python."""

import ctypes
import functools
import os
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as capi
from llama_cpp._ggml import libggml

from misfired._core import Library, __version__, build_profile
from misfired.errors import ArgumentError, ModelError
from misfired.scoring import options
from misfired.scoring.options import Devices

#: llama.cpp's numbers of what `misfired.scoring.options` names; llama-cpp-python does not name bf16, 30.
CACHE_TYPES = {name: getattr(capi, f"GGML_TYPE_{name.upper()}", 30) for name in options.CACHE_TYPES}
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
SPLIT_MODES = {
    name: getattr(capi, f"LLAMA_SPLIT_MODE_{name.upper()}") for name in options.SPLIT_MODES
}

_LOG_LEVEL_ERROR, _LOG_LEVEL_CONTINUE = 4, 5


class _Log:
    """Keeps llama.cpp's error lines for messages, and drops everything else."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._level = 0

    def __call__(self, level: int, text: bytes, _user_data: object) -> None:
        if level != _LOG_LEVEL_CONTINUE:
            self._level = level
        if self._level == _LOG_LEVEL_ERROR:
            self.errors.append(text.decode(errors="replace").strip())


_log = _Log()
# ctypes frees a callback that nothing refers to, and llama.cpp would call into freed memory.
_log_callback = capi.llama_log_callback(_log)


def captured_errors() -> list[str]:
    """Return the list of the error lines that llama.cpp logs from now on."""
    _log.errors.clear()
    capi.llama_log_set(_log_callback, ctypes.c_void_p(0))
    return _log.errors


@functools.cache
def load_library() -> Library:
    """Open the libllama that llama-cpp-python has loaded.

    Raises:
        ModelError: The installed llama-cpp-python has another layout, or lacks a function.
    """
    captured_errors()
    capi.llama_backend_init()
    batch: Any = capi.llama_batch
    offsets = [getattr(batch, name).offset for name in ("token", "pos", "seq_id", "logits")]
    try:
        return Library(os.fspath(capi._lib._name), [ctypes.sizeof(batch), *offsets])
    except ModelError as error:
        raise ModelError(f"llama-cpp-python {llama_cpp.__version__}: {error}") from None


def versions() -> dict[str, str]:
    """Return the versions that a number depends on: misfired, llama-cpp-python, its build."""
    return {
        "misfired": __version__,
        "build_profile": build_profile,
        "llama_cpp_python": llama_cpp.__version__,
        "llama_cpp_system": capi.llama_print_system_info().decode(errors="replace").strip(),
    }


@functools.cache
def _ggml() -> Any:
    """Return the tensor library under llama.cpp, with the signatures of what is called here."""
    ggml: Any = libggml
    size, pointer, text = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
    for result, arguments, names in (
        (size, [], "backend_dev_count backend_reg_count"),
        (pointer, [size], "backend_dev_get backend_reg_get"),
        (text, [pointer], "backend_dev_name backend_dev_description backend_reg_name"),
        (text, [], "version commit"),
    ):
        for name in names.split():
            function = getattr(ggml, f"ggml_{name}")
            function.restype, function.argtypes = result, arguments
            if result is text:
                function.errcheck = _decoded
    return ggml


def _decoded(text: bytes, *_: object) -> str:
    return text.decode(errors="replace")


def devices() -> list[str]:
    """Return every device that llama.cpp's backends have found, as they describe it."""
    ggml = _ggml()
    found = map(ggml.ggml_backend_dev_get, range(ggml.ggml_backend_dev_count()))
    name, description = ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description
    return [f"{name(device)} ({description(device)})" for device in found]


def ggml_version() -> str:
    """Return version and commit of the tensor library under llama.cpp, and its backends."""
    ggml = _ggml()
    backends = map(ggml.ggml_backend_reg_get, range(ggml.ggml_backend_reg_count()))
    names = ", ".join(map(ggml.ggml_backend_reg_name, backends))
    return f"{ggml.ggml_version()} ({ggml.ggml_commit()}), backends {names}"


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
        if (n := len(devices.tensor_split)) > most:
            raise ArgumentError(f"tensor_split must have at most {most} shares, got {n}")
        # llama.cpp reads as many as it has devices.
        shares = (ctypes.c_float * most)(*devices.tensor_split)
        params.tensor_split = ctypes.cast(shares, type(params.tensor_split))
