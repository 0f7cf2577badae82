"""llama.cpp without the core of `misfired`: the one place where tests, tools and benches load a GGUF by hand.

    python tools/plain_llama.py --model model.gguf --port 8000    # llama-cpp-python's server

Weights are repacked as `misfired` has them repacked: not on a CPU with AMX, where the repacked kernels kill
the process ("Illegal instruction", docs/footguns.md). Repacked sums differ from those of the weights as
they lie in the file, so both sides of a comparison must do the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as capi

from misfired.scoring.llama.library import has_amx


def load(path: Path | str, **fields: object) -> Any:
    """Return llama.cpp's pointer to a model on the CPU; `fields` are those of its model parameters."""
    parameters = capi.llama_model_default_params()
    for name, value in {"n_gpu_layers": 0, "use_extra_bufts": not has_amx(), **fields}.items():
        setattr(parameters, name, value)
    model = capi.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise RuntimeError(f"llama.cpp cannot load {path}")
    return model


@contextmanager
def repacked_where_safe() -> Iterator[None]:
    """Within the block, llama-cpp-python's own classes load weights as `load` does."""
    defaults = capi.llama_model_default_params

    def changed() -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = not has_amx()
        return parameters

    capi.llama_model_default_params = changed
    try:
        yield
    finally:
        capi.llama_model_default_params = defaults


def open_llama(path: Path | str, **options: Any) -> llama_cpp.Llama:
    """Return llama-cpp-python's high-level model."""
    with repacked_where_safe():
        return llama_cpp.Llama(os.fspath(path), verbose=False, **options)


def server_command(path: Path | str, port: int, *options: str) -> list[str]:
    """Return the command that starts llama-cpp-python's server on a model."""
    named = "--model", os.fspath(path), "--port", str(port)
    return [sys.executable, os.fspath(Path(__file__)), *named, *options]


if __name__ == "__main__":
    from llama_cpp.server.__main__ import main

    with repacked_where_safe():
        main()
