"""Model files of other people, tried in a process of their own before they are loaded here.

llama.cpp checks most of a GGUF file, and aborts on some of what it does not check. Nothing here loads its
library, so that the trial can begin at once.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from misfired.background import Background
from misfired.errors import ModelError
from misfired.scoring.environment import default_threads
from misfired.scoring.model_file import (
    Version,
    check_gguf,
    find_model,
    start_hashing,
    version_of,
)
from misfired.scoring.trial import how_it_ended, run_trial

#: Seconds that loading a model may take, and what it may take longer if it is large.
LOAD_SECONDS, LOAD_BYTES_A_SECOND = 60, 50e6
#: What is run on a model file.
PROGRAM = Path(__file__).with_name("trial_load.py")


def begin(path: Path | str, *, hashing: bool = True) -> None:
    """Begin to try a model file and to hash it; `try_loading` and `model_sha256` wait for the results."""
    with contextlib.suppress(OSError, ModelError):
        file = find_model(path)
        _trial(version_of(file), vocab_only=False)
        if hashing:
            start_hashing(file)


def try_loading(path: Path | str, *, vocab_only: bool = False) -> None:
    """Load a model and decode two tokens in a process of its own, on the CPU; once for each file.

    Of a vocabulary without weights nothing is decoded. What llama.cpp merely refuses raises nothing here:
    loading says why.

    Raises:
        ModelError: There is no such model file, or the process died or did not end in time.
    """
    path = find_model(path)
    check_gguf(path, needs_weights=not vocab_only)
    version = version_of(path)
    done = _trial(version, vocab_only=vocab_only).result()
    if done is None or done.returncode not in {0, 3}:
        # The next call tries again: memory may have been short.
        _trials.pop((version, vocab_only), None)
    if done is None:
        raise ModelError(f"{path}: llama.cpp did not read it within {_limit(version):.0f} s")
    if done.returncode not in {0, 3}:
        raise ModelError(f"{path}: llama.cpp dies of this file ({how_it_ended(done)})")


def _limit(version: Version) -> float:
    return LOAD_SECONDS + version.n_bytes / LOAD_BYTES_A_SECOND


_Trial = Background[subprocess.CompletedProcess[bytes] | None]
_trials: dict[tuple[Version, bool], _Trial] = {}


def _trial(version: Version, *, vocab_only: bool) -> _Trial:
    if (known := _trials.get((version, vocab_only))) is not None:
        return known
    arguments = os.fspath(version[0]), str(default_threads()), str(int(vocab_only))
    program, seconds = PROGRAM, _limit(version)
    trial = Background(lambda: run_trial(program, *arguments, seconds=seconds))
    return _trials.setdefault((version, vocab_only), trial)
