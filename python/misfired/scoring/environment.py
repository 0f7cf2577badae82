"""Variables that llama.cpp and the libraries under it read from the environment, once for a process."""

import contextlib
import functools
import os
from pathlib import Path

from misfired.errors import ArgumentError

#: Any value switches CUDA graphs off, the way ggml reads it.
GRAPHS = "GGML_CUDA_DISABLE_GRAPHS"
#: What makes cuBLAS multiply and add in f32: no TF32, no f16 sums.
HIGHEST = {"NVIDIA_TF32_OVERRIDE": "0", "GGML_CUDA_CUBLAS_COMPUTE_TYPE": "f32"}

#: How long OpenMP's threads spin before they sleep: turns of GNU's loop (about 1 us), ms of LLVM's. Their
#: defaults, far longer, take the cores from other programs; sleeping at once makes small batches slow.
SPINNING = {"GOMP_SPINCOUNT": "500", "KMP_BLOCKTIME": "0"}

#: Address space that work without a model needs beside `own_space`, in bytes.
LEAST_SPACE = 128 << 20
#: Parameter of GNU's `mallopt`: how many arenas there may be.
_M_ARENA_MAX = -8

#: Precision of the first model of this process on a GPU.
_fixed: list[str] = []


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return len(usable) or os.cpu_count() or 1


def own_space() -> int:
    """Return about the bytes of address space of this process without a model: libraries and threads."""
    return (448 + 16 * (os.cpu_count() or 1)) << 20


def _space_limit() -> int | None:
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415  not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            return limit
    return None


def address_space_left() -> int | None:
    """Return the bytes of address space that `ulimit -v` leaves for a model; None without a limit.

    Libraries that are still to be loaded count as loaded.
    """
    limit = _space_limit()
    with contextlib.suppress(OSError, ValueError, IndexError):
        n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        if limit is not None:
            return max(0, limit - max(own_space(), n_pages * os.sysconf("SC_PAGE_SIZE")))
    return None


def spare_address_space() -> None:
    """Take little address space where it is limited; call it before the first thread starts.

    Raises:
        ArgumentError: The limit is too low for anything: libraries would abort without a word.
    """
    limit = _space_limit()
    if limit is None:
        return
    if limit < own_space() + LEAST_SPACE:
        least, got = ((n_bytes >> 10) for n_bytes in (own_space() + LEAST_SPACE, limit))
        raise ArgumentError(f"ulimit -v must be at least {least} (KiB), or unlimited, got {got}")
    import ctypes  # noqa: PLC0415  only here

    # GNU's allocator reserves 64 MiB for each thread; `mallopt` is not in every library.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


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
