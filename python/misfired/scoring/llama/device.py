"""Devices that llama.cpp's backends find, and where the layers of a model go."""

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llama_cpp import llama_cpp as capi
from llama_cpp._ggml import libggml

from misfired.errors import ArgumentError
from misfired.scoring import environment, options
from misfired.scoring.llama.gguf import Header
from misfired.scoring.llama.library import load_library
from misfired.scoring.llama.trial_load import write_settings
from misfired.scoring.options import Devices

SPLIT_MODES = {
    name: getattr(capi, f"LLAMA_SPLIT_MODE_{name.upper()}") for name in options.SPLIT_MODES
}
#: What ggml numbers from 0.
KINDS = ("cpu", "gpu", "integrated gpu", "accelerator", "meta")

#: Memory that contexts need beside the weights: bytes on each GPU, and bytes for each byte of weights.
SPARE_BYTES, SPARE_SHARE = 1 << 30, 0.25


@dataclass(frozen=True)
class Device:
    """A device as its backend describes it; `kind` is one of `KINDS`."""

    name: str
    description: str
    kind: str
    handle: int

    def __str__(self) -> str:
        return f"{self.name} ({self.description})"

    def memory(self) -> tuple[int, int]:
        """Return free and total bytes, both 0 where the backend does not know.

        Asking a CUDA device takes a part of its memory for as long as the process lives.
        """
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _ggml().ggml_backend_dev_memory(self.handle, ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value


@functools.cache
def _ggml() -> Any:
    """Return the tensor library under llama.cpp, with the signatures of what is called here."""
    ggml: Any = libggml
    size, pointer, text = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
    for result, arguments, names in (
        (size, [], "backend_dev_count backend_reg_count"),
        (pointer, [size], "backend_dev_get backend_reg_get"),
        (text, [pointer], "backend_dev_name backend_dev_description backend_reg_name"),
        (ctypes.c_int, [pointer], "backend_dev_type"),
        (None, [pointer] * 3, "backend_dev_memory"),
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


def found_devices() -> list[Device]:
    """Return every device that llama.cpp's backends have found."""
    load_library()
    ggml = _ggml()
    handles = map(ggml.ggml_backend_dev_get, range(ggml.ggml_backend_dev_count()))
    return [
        Device(
            ggml.ggml_backend_dev_name(handle),
            ggml.ggml_backend_dev_description(handle),
            KINDS[ggml.ggml_backend_dev_type(handle)],
            handle,
        )
        for handle in handles
    ]


def gpus() -> list[Device]:
    """Return the GPUs that llama.cpp uses: an integrated one only where there is no other."""
    found = found_devices()
    integrated = [each for each in found if each.kind == "integrated gpu"][:1]
    return [each for each in found if each.kind == "gpu"] or integrated


def ggml_version() -> str:
    """Return version and commit of the tensor library under llama.cpp, and its backends."""
    ggml = _ggml()
    backends = map(ggml.ggml_backend_reg_get, range(ggml.ggml_backend_reg_count()))
    names = ", ".join(map(ggml.ggml_backend_reg_name, backends))
    return f"{ggml.ggml_version()} ({ggml.ggml_commit()}), backends {names}"


def place(devices: Devices, read_header: Callable[[], Header]) -> Devices:
    """Return where a model goes: `device` is then `cpu` or `gpu`, `n_gpu_layers` a number.

    Raises:
        ArgumentError: A GPU is asked for, and there is none.
    """
    if devices.device == "cpu" or devices.n_gpu_layers == 0:
        return replace(devices, device="cpu", n_gpu_layers=0)
    if not (found := gpus()):
        none = "where the installed llama-cpp-python finds no GPU"
        if devices.n_gpu_layers is not None:
            raise ArgumentError(f"n_gpu_layers must be 0 {none}, got {devices.n_gpu_layers}")
        if devices.device == "gpu":
            raise ArgumentError(f"device must be cpu or auto {none}, got 'gpu'")
        if devices.divides:
            raise ArgumentError(f"{devices.divides} must be left out {none}")
        return replace(devices, device="cpu", n_gpu_layers=0)
    n_layers = devices.n_gpu_layers
    if n_layers is None:
        used = found[devices.main_gpu or 0 :][:1] if devices.split_mode == "none" else found
        n_layers = _layers_that_fit(used, read_header())
    if n_layers == 0 and devices.device == "gpu":
        raise ArgumentError(f"device must be cpu, since no layer fits on {found[0]}, got 'gpu'")
    return replace(devices, device="gpu" if n_layers else "cpu", n_gpu_layers=n_layers)


def _layers_that_fit(found: list[Device], header: Header) -> int:
    """Return how many layers fit, -1 for all; what contexts need is a guess on the safe side."""
    memory = [each.memory() for each in found]
    if any(total == 0 for _, total in memory):
        return -1
    for_weights = (sum(free for free, _ in memory) - SPARE_BYTES * len(found)) / (1 + SPARE_SHARE)
    if header.n_bytes <= for_weights:
        return -1
    if header.n_layers is None:
        return 0
    # The output matrix counts as a layer, and goes first.
    return max(0, int(for_weights * (header.n_layers + 1) / header.n_bytes))


def settings(devices: Devices) -> dict[str, Any]:
    """Return llama.cpp's model parameters that place layers; `devices` has been placed.

    Raises:
        ArgumentError: More shares than llama.cpp takes.
    """
    found: dict[str, Any] = {"n_gpu_layers": devices.n_gpu_layers or 0}
    if not found["n_gpu_layers"]:
        return found
    if devices.split_mode is not None:
        found["split_mode"] = SPLIT_MODES[devices.split_mode]
    if devices.main_gpu is not None:
        found["main_gpu"] = devices.main_gpu
    if devices.tensor_split is not None:
        most = int(capi.llama_max_devices())
        if (n := len(devices.tensor_split)) > most:
            raise ArgumentError(f"tensor_split must have at most {most} shares, got {n}")
        # llama.cpp reads as many as it has devices.
        found["tensor_split"] = [*devices.tensor_split, *[0.0] * (most - n)]
    return found


def apply_to_model(devices: Devices, params: Any) -> None:
    """Write where layers are computed into llama.cpp's model parameters; `devices` has been placed.

    Raises:
        ArgumentError: As `settings`; another precision than that of the process.
    """
    if devices.n_gpu_layers:
        environment.before_gpu(devices.precision)
    write_settings(params, settings(devices))


def apply_to_context(devices: Devices, params: Any) -> None:
    """Keep a GPU out of the contexts of a model on the CPU.

    By default a build for GPUs sends large batches there, whatever the layers (`op_offload`).
    """
    params.op_offload = params.offload_kqv = bool(devices.n_gpu_layers)


def placed(devices: Devices, header: Header, n_threads: int) -> str:
    """Return in words where a model is computed."""
    n, threads = devices.n_gpu_layers, f"{n_threads} CPU thread{'s' * (n_threads > 1)}"
    if not n:
        return threads
    all_of = (header.n_layers or 0) + 1
    layers = "all layers" if n < 0 or n >= all_of else f"{n} of {all_of} layers"
    return f"{layers} on {', '.join(map(str, gpus()))}, {threads}"


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver, None where there is none."""
    name = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
    with contextlib.suppress(OSError, AttributeError):
        nvml, text = ctypes.CDLL(name), ctypes.create_string_buffer(80)
        if not nvml.nvmlInit_v2() and not nvml.nvmlSystemGetDriverVersion(text, len(text)):
            return text.value.decode(errors="replace")
    return None


def computed_on(devices: Devices) -> dict[str, Any]:
    """Return for the manifest the devices that compute a model, and what decides how they do."""
    on_gpu = bool(devices.n_gpu_layers)
    used = gpus() if on_gpu else [each for each in found_devices() if "gpu" not in each.kind]
    return {
        "devices": list(map(str, used)),
        "ggml": ggml_version(),
        "driver": driver_version() if on_gpu else None,
        "environment": environment.in_force() if on_gpu else {},
    }
