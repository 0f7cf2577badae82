"""Loads the files whose paths come in, one a line, each in a fork of this process; says how it went.

`loaded`, `refused MESSAGE`, `raised MESSAGE` (no typed error), `died HOW` or `hung`.
"""

import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from misfired import _core
from misfired.errors import MisfiredError
from misfired.scoring.llama.model import Model

#: Of the processor, and on the clock: a loaded machine is no reason to call a file endless.
CPU_SECONDS, SECONDS = 30, 300
#: Of address space: llama.cpp reserves, and does not touch, eight bytes for each token of a sliding window.
BYTES = 48 << 30


def try_file(path: Path) -> str:
    try:
        with Model(path) as model, model.context(512, n_batch=64, n_threads=1) as context:
            tokens = np.array([1, 2, 3, 1, 2, 4], np.int32), np.array([0, 3, 6])
            wanted = np.array([1, 1], np.int32), np.array([0, 1, 2])
            scorer = _core.Scorer(context.handle, tokens, wanted, n_block=100, packing="packed")
            scorer.start(0)
            while scorer.step() is not None:
                pass
    except MisfiredError as error:
        return f"refused {error}"
    except Exception as error:
        return f"raised {error!r}"
    return "loaded"


def fork(path: Path) -> str:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.write(write, repr(try_file(path)).encode())
        os._exit(0)
    os.close(write)
    deadline = time.monotonic() + SECONDS
    status = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else time.sleep(0.002)
    if status is None:
        os.kill(child, 9)
        os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return said or repr("hung" if code in {None, -signal.SIGXCPU} else f"died {code}")


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(fork(Path(line.rstrip("\n"))) + "\n")
        sys.stdout.flush()
