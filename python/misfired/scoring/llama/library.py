"""The one llama.cpp of the process: the library inside the installed llama-cpp-python."""

import ctypes
import functools
import os
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as capi

from misfired._core import Library, __version__, build_profile
from misfired.errors import ModelError
from misfired.scoring import options
from misfired.scoring.llama.watchdog import report_aborts, report_bus_errors

#: llama.cpp's numbers of what `misfired.scoring.options` names; llama-cpp-python does not name bf16, 30.
CACHE_TYPES = {name: getattr(capi, f"GGML_TYPE_{name.upper()}", 30) for name in options.CACHE_TYPES}
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}

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
    report_aborts(captured_errors())
    report_bus_errors()
    capi.llama_backend_init()
    batch: Any = capi.llama_batch
    offsets = [getattr(batch, name).offset for name in ("token", "pos", "seq_id", "logits")]
    try:
        return Library(os.fspath(capi._lib._name), [ctypes.sizeof(batch), *offsets])
    except ModelError as error:
        raise ModelError(f"llama-cpp-python {llama_cpp.__version__}: {error}") from None


@functools.cache
def has_amx() -> bool:
    """True if quantised weights end the process unless they are kept out of ggml's AMX buffers."""
    return "AMX_INT8 = 1" in versions()["llama_cpp_system"]


def versions() -> dict[str, str]:
    """Return the versions that a number depends on: misfired, llama-cpp-python, its build."""
    return {
        "misfired": __version__,
        "build_profile": build_profile,
        "llama_cpp_python": llama_cpp.__version__,
        "llama_cpp_system": capi.llama_print_system_info().decode(errors="replace").strip(),
    }
