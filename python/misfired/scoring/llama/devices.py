"""What is passed through to llama.cpp: devices, types of the K/V cache, flash attention."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Literal

from llama_cpp import llama_cpp as capi

from misfired.errors import ArgumentError, check_one_of

Mode = Literal["exact", "fast"]

#: What K and V may be kept in, by llama.cpp's number; those after bf16 are quantised.
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

#: Whether attention is computed by llama.cpp's fused kernels; `auto` where they exist.
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}

#: How llama.cpp divides a model among devices: not, by layers, or by rows of each matrix.
SPLIT_MODES = {
    "none": capi.LLAMA_SPLIT_MODE_NONE,
    "layer": capi.LLAMA_SPLIT_MODE_LAYER,
    "row": capi.LLAMA_SPLIT_MODE_ROW,
}


@dataclass(frozen=True)
class KvCache:
    """What keys and values are kept in, and how attention reads them.

    Raises:
        ArgumentError: An unknown name, or quantised values without flash attention.
    """

    type_k: str = "f32"
    type_v: str = "f32"
    flash_attention: str = "off"

    def __post_init__(self) -> None:
        check_one_of("cache_type_k", self.type_k, CACHE_TYPES)
        check_one_of("cache_type_v", self.type_v, CACHE_TYPES)
        check_one_of("flash_attention", self.flash_attention, FLASH_ATTENTION)
        if self.flash_attention == "off" and self.type_v not in {"f32", "f16", "bf16"}:
            raise ArgumentError(
                f"cache_type_v is {self.type_v!r}, which needs flash_attention 'on' or 'auto'"
            )


#: The cache of each mode, where nothing else is asked for; see design/scoring.md for what they cost.
MODES = {"exact": KvCache(), "fast": KvCache("f16", "f16", "auto")}


@dataclass(frozen=True)
class Devices:
    """Where a model's layers are computed. None leaves the choice to llama.cpp.

    Attributes:
        n_gpu_layers: Layers that are offloaded; 0 keeps all on the CPU, -1 offloads all.
        split_mode: One of `SPLIT_MODES`.
        main_gpu: The device of a model that is not divided.
        tensor_split: Shares of the devices.

    Raises:
        ArgumentError: A value outside its limits, or one that would have no effect.
    """

    n_gpu_layers: int = 0
    split_mode: str | None = None
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.split_mode is not None:
            check_one_of("split_mode", self.split_mode, SPLIT_MODES)
        if self.main_gpu is not None and self.main_gpu < 0:
            raise ArgumentError(f"main_gpu is {self.main_gpu}, at least 0 needed")
        shares, most = self.tensor_split or (), int(capi.llama_max_devices())
        if self.tensor_split is not None and not (min(shares, default=-1) >= 0 < sum(shares)):
            raise ArgumentError(f"tensor_split is {shares}, shares of at least 0 needed, not all 0")
        if len(shares) > most:
            raise ArgumentError(f"tensor_split has {len(shares)} shares, llama.cpp takes {most}")
        divided = {"split_mode", "main_gpu", "tensor_split"}
        given = [name for name in sorted(divided) if getattr(self, name) is not None]
        if given and not self.n_gpu_layers:
            raise ArgumentError(f"{given[0]} has no effect while n_gpu_layers is 0")

    def apply(self, params: Any) -> None:
        """Write them into llama.cpp's model parameters."""
        params.n_gpu_layers = self.n_gpu_layers
        if self.split_mode is not None:
            params.split_mode = SPLIT_MODES[self.split_mode]
        if self.main_gpu is not None:
            params.main_gpu = self.main_gpu
        if self.tensor_split is not None:
            # llama.cpp reads as many as it has devices.
            shares = (ctypes.c_float * int(capi.llama_max_devices()))(*self.tensor_split)
            params.tensor_split = ctypes.cast(shares, type(params.tensor_split))
