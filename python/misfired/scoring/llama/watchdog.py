"""When llama.cpp aborts or never returns: one clear line, and the end of the process.

Neither can be caught from inside. Every answer is on disk before the next batch begins, so the same
command resumes.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from llama_cpp._ggml import libggml

from misfired.scoring.environment import GRAPHS
from misfired.text import LONGEST_MESSAGE, shown

#: Seconds that a batch on a GPU may take, and bytes of weights that it reads in one more: far more than any
#: needs. On a CPU a batch may well take longer, and no hang is known.
STALL_SECONDS, STALL_BYTES_A_SECOND = 300.0, 50e6

_RESUME = "Recorded answers are safe: the same command resumes"


def workaround(said: str) -> str:
    """Return what to try where words of a crash come from a GPU's backend, else an empty text.

    Example:
        >>> workaround("ggml.c: fatal error")
        ''
    """
    if not any(name in said for name in ("CUDA", "HIP", "Vulkan", "Metal", "GPU")):
        return ""
    graphs = "" if GRAPHS in os.environ else f"{GRAPHS}=1 in the environment, then "
    return f"try {graphs}--device cpu, or another version of llama-cpp-python"


def fail(said: str) -> NoReturn:
    """Write one line to stderr and end the process with exit code 1, whatever other threads do."""
    advice = workaround(said)
    line = f"error: {shown(' '.join(said.split()), LONGEST_MESSAGE)}. {_RESUME}{'; ' + advice if advice else ''}\n"
    os.write(2, b"\n" + line.encode(errors="replace"))
    os._exit(1)


def report_aborts(errors: list[str]) -> None:
    """Have ggml's aborts end in one line, with the last of `errors` that llama.cpp has logged."""
    abort = ctypes.CFUNCTYPE(None, ctypes.c_char_p)

    def last_words(message: bytes) -> None:
        words = [message.decode(errors="replace"), *errors[-3:]]
        fail(f"llama.cpp aborted ({'; '.join(words)[:500]})")

    # ctypes frees a callback that nothing refers to.
    _kept[:] = [abort(last_words)]
    ggml: Any = libggml
    ggml.ggml_set_abort_callback(_kept[0])


def report_bus_errors() -> None:
    """Have SIGBUS end in one line: weights are read from the file, and a part of it is gone.

    A handler of somebody else, such as that of `faulthandler`, stays.
    """
    number = getattr(signal, "SIGBUS", None)
    if number is None:
        return
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)

    def last_words(_: int) -> None:
        fail(
            "the model file cannot be read any more (SIGBUS): it was cut short, or its disk failed"
        )

    # Python's own handlers run once the faulting instruction has ended, which it never does.
    libc, made = ctypes.CDLL(None), handler(last_words)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before = libc.signal(number, ctypes.cast(made, ctypes.c_void_p))
    if before:
        libc.signal(number, before)
    else:
        _kept.append(made)


_kept: list[Any] = []
#: Seconds left for the batch of each thread, and what to say when they are over.
_left: dict[int, tuple[float, str]] = {}
_lock = threading.Lock()


@contextmanager
def limited(n_bytes: int, name: str) -> Iterator[None]:
    """Within the block a batch is computed on a GPU by a model of `n_bytes`; it must end in time."""
    seconds, me = STALL_SECONDS + n_bytes / STALL_BYTES_A_SECOND, threading.get_ident()
    with _lock:
        if not _watching:
            _watching.append(threading.Thread(target=_watch, daemon=True))
            _watching[0].start()
        said = f"{name}: the GPU did not finish a batch within {seconds:.0f} s"
        _left[me] = seconds, said
    try:
        yield
    finally:
        with _lock:
            del _left[me]


_watching: list[threading.Thread] = []


def _watch() -> None:
    """Count seconds while this process runs; those that it was suspended for do not count."""
    before = time.monotonic()
    while True:
        time.sleep(0.5)
        now = time.monotonic()
        passed, before = min(now - before, 1.0), now
        with _lock:
            for thread, (left, said) in _left.items():
                if left < passed:
                    fail(said)
                _left[thread] = left - passed, said
