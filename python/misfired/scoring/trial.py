"""Programs that try other people's files in a process of their own, which may die instead of this one.

Neither llama.cpp's abort on a damaged file nor a chat template without end can be caught from inside.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_trial(
    program: Path, *arguments: str, seconds: float
) -> subprocess.CompletedProcess[bytes] | None:
    """Run a Python file of this package; return how it ended, None if it was killed after `seconds`.

    Its first argument is `sys.path` as JSON, before `arguments`.
    """
    try:
        return subprocess.run(
            **_call(program, *arguments), capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return None


def start_program(program: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python file of this package, with pipes to it and from it."""
    pipe = subprocess.PIPE
    call = _call(program, *arguments)
    return subprocess.Popen(**call, stdin=pipe, stdout=pipe, stderr=pipe)


def _call(program: Path, *arguments: str) -> dict[str, Any]:
    # Our own interpreter and program. llama.cpp's threads would spin between its nodes, and slow down
    # other programs.
    return {
        "args": [sys.executable, "-I", "-S", os.fspath(program), json.dumps(sys.path), *arguments],
        "env": {**os.environ, "OMP_WAIT_POLICY": "passive"},
    }


def how_it_ended(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return exit code or signal, and the last line that the program wrote to stderr."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = f": {lines[-1][:120]}" if lines else ""
    code = done.returncode
    return f"signal {-code}{said}" if code < 0 else f"exit code {code}{said}"
