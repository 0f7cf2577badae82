"""What the header of a GGUF file says, read by ggml's own reader: name, layers, types of tensors."""

import ctypes
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_cpp._ggml import libggml

from misfired.errors import ModelError
from misfired.scoring.model_file import parts


class _InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(libggml, name)
    function.restype, function.argtypes = result, arguments
    return function


_POINTER, _INDEX, _TYPE, _TEXT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_char_p
_init = _function("gguf_init_from_file", _POINTER, _TEXT, _InitParams)
_free = _function("gguf_free", None, _POINTER)
_find_key = _function("gguf_find_key", _INDEX, _POINTER, _TEXT)
_kind_of_key = _function("gguf_get_kv_type", _TYPE, _POINTER, _INDEX)
_text = _function("gguf_get_val_str", _TEXT, _POINTER, _INDEX)
_number = _function("gguf_get_val_u32", ctypes.c_uint32, _POINTER, _INDEX)
_length = _function("gguf_get_arr_n", ctypes.c_size_t, _POINTER, _INDEX)
_n_tensors = _function("gguf_get_n_tensors", _INDEX, _POINTER)
_tensor_type = _function("gguf_get_tensor_type", _TYPE, _POINTER, _INDEX)
_tensor_size = _function("gguf_get_tensor_size", ctypes.c_size_t, _POINTER, _INDEX)
_type_name = _function("ggml_type_name", _TEXT, _TYPE)
_type_size = _function("ggml_type_size", ctypes.c_size_t, _TYPE)
_block_size = _function("ggml_blck_size", _INDEX, _TYPE)

#: GGUF's numbers of the kinds of values that are read here.
_UINT32, _STRING, _ARRAY = 4, 8, 9


@dataclass(frozen=True)
class Shape:
    """What the memory of a context depends on; 0 where the file does not say, or says it layer by layer."""

    n_embd: int = 0
    n_ff: int = 0
    n_head: int = 0
    n_head_kv: int = 0
    n_key: int = 0
    n_value: int = 0
    n_vocab: int = 0


#: Where a file says them, after the architecture's name.
_SHAPE = {
    "n_embd": "embedding_length",
    "n_ff": "feed_forward_length",
    "n_head": "attention.head_count",
    "n_head_kv": "attention.head_count_kv",
    "n_key": "attention.key_length",
    "n_value": "attention.value_length",
}


@dataclass(frozen=True)
class Header:
    """A model file, without its weights.

    Attributes:
        name: The model's own name (`general.name`), else the file's.
        n_params: Numbers in all tensors; `n_bytes` is what they take.
        types: Share of `n_bytes` by type of tensor, the largest first.
        n_layers: Layers, None where the file does not say.
    """

    name: str
    architecture: str
    n_params: int
    n_bytes: int
    types: Mapping[str, float]
    n_layers: int | None
    shape: Shape = Shape()

    @property
    def summary(self) -> str:
        """Name, size and types in one line.

        Example:
            >>> types = {"q4_1": 0.9, "f32": 0.1}
            >>> Header("Tiny", "llama", 135_000_000, 98_000_000, types, 30).summary
            'Tiny, llama, 135M parameters, 98MB: q4_1 90 %, f32 10 %'
        """
        shares = {name: round(100 * share) for name, share in self.types.items()}
        types = ", ".join(f"{name} {share or '<1'} %" for name, share in shares.items())
        size = f"{short(self.n_params)} parameters, {short(self.n_bytes)}B"
        return f"{self.name}, {self.architecture}, {size}: {types}"


def short(number: float) -> str:
    """Return a number with at most three digits, in thousands (k), millions (M) or billions (G).

    Example:
        >>> short(512), short(134_515_008), short(1_236_000_000)
        ('512', '135M', '1.24G')
    """
    for letter in ("", "k", "M"):
        if number < 999.5:
            return f"{number:.3g}{letter}"
        number /= 1000
    return f"{number:.3g}G"


def type_bytes(number: int) -> float:
    """Return the bytes of a number of one of ggml's types; blocks of q8_0 and the like have a scale."""
    return float(_type_size(number) / _block_size(number))


def read_header(path: Path) -> Header:
    """Read the header of a model that `guard.try_loading` has found sound; of a split one, of all parts.

    Raises:
        ModelError: A part is missing, or ggml cannot read it.
    """
    files = parts(path)
    bytes_of: Counter[str] = Counter()
    name = architecture = n_layers = None
    shape = Shape()
    n_params = 0
    for file in files:
        gguf = _init(os.fsencode(file), _InitParams(no_alloc=True, ctx=None))
        if not gguf:
            raise ModelError(f"{file}: ggml cannot read its header")
        try:
            if file == files[0]:
                name, architecture = (
                    _value(gguf, "general.name"),
                    _value(gguf, "general.architecture"),
                )
                n_layers = _value(gguf, f"{architecture}.block_count")
                shape = _shape(gguf, architecture)
            for each in range(_n_tensors(gguf)):
                kind, n_bytes = _tensor_type(gguf, each), _tensor_size(gguf, each)
                bytes_of[_type_name(kind).decode()] += n_bytes
                n_params += n_bytes // _type_size(kind) * _block_size(kind)
        finally:
            _free(gguf)
    total = sum(bytes_of.values())
    types = {kind: n / max(total, 1) for kind, n in bytes_of.most_common()}
    return Header(name or path.stem, architecture or "?", n_params, total, types, n_layers, shape)


def _shape(gguf: int, architecture: str) -> Shape:
    found = {name: _value(gguf, f"{architecture}.{key}") or 0 for name, key in _SHAPE.items()}
    row = _find_key(gguf, b"tokenizer.ggml.tokens")
    is_list = row >= 0 and _kind_of_key(gguf, row) == _ARRAY
    return Shape(**found, n_vocab=_length(gguf, row) if is_list else 0)


def _value(gguf: int, key: str) -> Any:
    """Return a value of text or of an unsigned number, None where there is none of these kinds."""
    row = _find_key(gguf, key.encode())
    kind = _kind_of_key(gguf, row) if row >= 0 else None
    if kind == _STRING:
        text = _text(gguf, row).decode(errors="replace")
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return _number(gguf, row) if kind == _UINT32 else None
