"""Model files of other people, tried in a process of their own before they are loaded here.

llama.cpp checks most of a GGUF file, and aborts on some of what it does not check. Nothing here loads its
library, so that the trial can begin at once.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from misfired.background import Background
from misfired.errors import ModelError
from misfired.scoring.environment import address_space_left, default_threads
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
#: Where a model is tried first: before the command has read where it goes.
_CPU = {"n_gpu_layers": 0}


def begin(path: Path | str, *, hashing: bool = True) -> None:
    """Begin to try a model file and to hash it; `try_loading` and `model_sha256` wait for the results."""
    with contextlib.suppress(OSError, ModelError):
        file = find_model(path)
        _trial(version_of(file), {"settings": _CPU, "vocab_only": False, "space": None})
        if hashing:
            start_hashing(file)


def try_loading(
    path: Path | str,
    *,
    vocab_only: bool = False,
    settings: Mapping[str, Any] = _CPU,
    space: int | None = None,
) -> None:
    """Load a model and decode two tokens in a process of its own; once for each file, settings and space.

    Settings are those of `device.settings`, by default the CPU's; `space` limits the bytes of address
    space. Of a vocabulary without weights nothing is decoded. What llama.cpp merely refuses raises nothing
    here: loading says why.

    Raises:
        ModelError: There is no such model file, or the process died or did not end in time.
    """
    path = find_model(path)
    check_gguf(path, needs_weights=not vocab_only)
    version = version_of(path)
    how = {"settings": settings, "vocab_only": vocab_only, "space": space}
    done = _trial(version, how).result()
    if done is None or done.returncode not in {0, 3}:
        # The next call tries again: memory may have been short.
        _trials.pop((version, json.dumps(how)), None)
    if done is None:
        raise ModelError(f"{path}: llama.cpp did not read it within {_limit(version):.0f} s")
    if done.returncode in {0, 3}:
        return
    ended = how_it_ended(done)
    if (left := address_space_left()) is None:
        raise ModelError(f"{path}: llama.cpp dies of this file ({ended})")
    n_bytes = path.stat().st_size
    raise ModelError(
        f"{path}: llama.cpp dies of this file of {n_bytes >> 20} MiB ({ended}), or of the {left >> 20} "
        "MiB that ulimit -v leaves"
    )


def _limit(version: Version) -> float:
    return LOAD_SECONDS + version.n_bytes / LOAD_BYTES_A_SECOND


_Trial = Background[subprocess.CompletedProcess[bytes] | None]
_trials: dict[tuple[Version, str], _Trial] = {}


def _trial(version: Version, how: Mapping[str, Any]) -> _Trial:
    key = version, json.dumps(how)
    if (known := _trials.get(key)) is not None:
        return known
    asked = json.dumps({**how, "n_threads": default_threads()})
    program, seconds = PROGRAM, _limit(version)
    trial = Background(lambda: run_trial(program, os.fspath(version[0]), asked, seconds=seconds))
    return _trials.setdefault(key, trial)
