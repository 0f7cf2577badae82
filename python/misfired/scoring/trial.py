"""Programs that try other people's files in a process of their own, which may die instead of this one.

Neither llama.cpp's abort on a damaged file nor a chat template without end can be caught from inside.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def run_trial(
    program: Path, *arguments: str, seconds: float, request: str = ""
) -> subprocess.CompletedProcess[bytes] | None:
    """Run a Python file of this package; return how it ended, None if it was killed after `seconds`.

    Its first argument is `sys.path` as JSON, before `arguments`; it reads `request` from stdin.
    """
    try:
        return subprocess.run(  # noqa: S603  our own interpreter and program
            [sys.executable, "-I", "-S", os.fspath(program), json.dumps(sys.path), *arguments],
            # llama.cpp's threads would spin between its nodes, and slow down other programs.
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            input=request.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def how_it_ended(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return exit code or signal, and the last line that the program wrote to stderr."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = f": {lines[-1][:120]}" if lines else ""
    code = done.returncode
    return f"signal {-code}{said}" if code < 0 else f"exit code {code}{said}"
