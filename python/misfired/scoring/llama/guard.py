"""Model files of other people, tried in a process of their own before they are loaded here.

llama.cpp checks most of a GGUF file, and aborts on some of what it does not check.
"""

import functools
import os
from pathlib import Path

from misfired.errors import ModelError
from misfired.scoring.llama.device import place
from misfired.scoring.llama.gguf import read_header
from misfired.scoring.llama.model import Model, check_gguf, default_threads
from misfired.scoring.model_file import find_model
from misfired.scoring.options import CPU, Devices
from misfired.scoring.trial import how_it_ended, run_trial

#: Seconds that loading a model may take, and what it may take longer if it is large.
LOAD_SECONDS, LOAD_BYTES_A_SECOND = 60, 50e6
#: What is run on a model file.
PROGRAM = Path(__file__).with_name("trial_load.py")


def open_model(
    path: Path | str, devices: Devices | None = None, *, vocab_only: bool = False
) -> Model:
    """Load a model of a user, which a process of its own survived; errors as `try_loading`, `Model`."""
    try_loading(path, vocab_only=vocab_only)
    placed = (
        CPU if vocab_only else place(devices or Devices(), lambda: read_header(find_model(path)))
    )
    return Model(path, placed, vocab_only=vocab_only)


def try_loading(path: Path | str, *, vocab_only: bool = False) -> None:
    """Load a model and decode two tokens in a process of its own, on the CPU; once for each file.

    Of a vocabulary without weights nothing is decoded. What llama.cpp merely refuses raises nothing here:
    loading says why.

    Raises:
        ModelError: There is no such model file, or the process died or did not end in time.
    """
    path = find_model(path)
    check_gguf(path, needs_weights=not vocab_only)
    stat = path.stat()
    _try_loading(path, stat.st_size, stat.st_mtime_ns, vocab_only)


@functools.lru_cache(maxsize=64)
def _try_loading(path: Path, n_bytes: int, _modified: int, vocab_only: bool) -> None:
    seconds = LOAD_SECONDS + n_bytes / LOAD_BYTES_A_SECOND
    arguments = os.fspath(path), str(default_threads()), str(int(vocab_only))
    done = run_trial(PROGRAM, *arguments, seconds=seconds)
    if done is None:
        raise ModelError(f"{path}: llama.cpp did not read it within {seconds:.0f} s")
    if done.returncode not in {0, 3}:
        raise ModelError(f"{path}: llama.cpp dies of this file ({how_it_ended(done)})")
