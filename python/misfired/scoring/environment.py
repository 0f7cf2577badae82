"""Variables that llama.cpp and the libraries under it read from the environment, once for a process."""

import functools
import os

from misfired.errors import ArgumentError

#: Any value switches CUDA graphs off, the way ggml reads it.
GRAPHS = "GGML_CUDA_DISABLE_GRAPHS"
#: What makes cuBLAS multiply and add in f32: no TF32, no f16 sums.
HIGHEST = {"NVIDIA_TF32_OVERRIDE": "0", "GGML_CUDA_CUBLAS_COMPUTE_TYPE": "f32"}

#: How long OpenMP's threads spin before they sleep: turns of GNU's loop (about 1 us), ms of LLVM's. Their
#: defaults, far longer, take the cores from other programs; sleeping at once makes small batches slow.
SPINNING = {"GOMP_SPINCOUNT": "500", "KMP_BLOCKTIME": "0"}

#: Precision of the first model of this process on a GPU.
_fixed: list[str] = []


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return len(usable) or os.cpu_count() or 1


def before_loading(precision: str = "default") -> None:
    """Set what must be set before llama.cpp's library loads; a variable that the user has set stays.

    Raises:
        ArgumentError: `precision` is `highest`, and a variable forbids it.
    """
    _switch_graphs_off()
    if not {"OMP_WAIT_POLICY", *SPINNING} & os.environ.keys():
        os.environ.update(SPINNING)
    if precision == "highest":
        for name, value in HIGHEST.items():
            if (found := os.environ.setdefault(name, value)).lower() != value:
                raise ArgumentError(f"precision highest must go with {name}={value}, got {found!r}")


@functools.cache
def _switch_graphs_off() -> None:
    """Switch CUDA graphs off, which crash with some models; `GGML_CUDA_DISABLE_GRAPHS=0` keeps them."""
    if os.environ.setdefault(GRAPHS, "1") in {"0", ""}:
        # ggml would take any value, even this one, as off.
        del os.environ[GRAPHS]


def before_gpu(precision: str) -> None:
    """Set the variables of a precision before a model is computed on a GPU.

    Raises:
        ArgumentError: Another model of this process was, with another precision: cuBLAS keeps it.
    """
    if _fixed and _fixed[0] != precision:
        raise ArgumentError(
            f"precision must be {_fixed[0]}, as for the first model that this process computed on a "
            f"GPU, got {precision}"
        )
    before_loading(precision)
    _fixed[:] = [precision]


def in_force() -> dict[str, str | None]:
    """Return the variables that decide how a GPU computes, None where one is not set.

    Example:
        >>> list(in_force())
        ['GGML_CUDA_DISABLE_GRAPHS', 'NVIDIA_TF32_OVERRIDE', 'GGML_CUDA_CUBLAS_COMPUTE_TYPE']
    """
    return {name: os.environ.get(name) for name in (GRAPHS, *HIGHEST)}
