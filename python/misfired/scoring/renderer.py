"""Renders strangers' chat templates in a process of its own, within bounds of time and memory.

A template can loop, fill the memory and overflow the interpreter's stack. None of that can be stopped from
inside; so no template of a file is rendered in this process.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from misfired.background import Background
from misfired.errors import TemplateError
from misfired.scoring.trial import how_it_ended, start_program

#: Seconds of processor time of a batch, and more for each of its prompts. Real templates need a thousandth
#: of a second for a prompt.
SECONDS, SECONDS_A_PROMPT = 2.0, 0.01
#: Times as many seconds that may pass by the clock: other programs may be busy.
PATIENCE = 10
#: Bytes of the process, and characters of a prompt.
MOST_BYTES, MOST_CHARACTERS = 1 << 30, 1 << 20
#: Prompts of a batch: together they take 64 MiB at most.
N_BATCH = 64
PROGRAM = Path(__file__).with_name("render_program.py")


class _Renderer:
    """The process, from the first prompt on; one that died is replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the process unless it runs."""
        if self._process is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._process = start_program(PROGRAM, str(MOST_BYTES), str(MOST_CHARACTERS))
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and self._pid == os.getpid():
            process.kill()
            process.communicate()

    def ask(self, request: dict[str, Any]) -> list[Any]:
        """Return the answers to a request; fewer than asked for if one says what went wrong.

        Raises:
            TemplateError: The process took too long, died, or cannot be started.
        """
        seconds = SECONDS + SECONDS_A_PROMPT * len(request["users"])
        line = json.dumps({**request, "seconds": seconds}).encode() + b"\n"
        with self._lock:
            try:
                process = self.begin()
            except OSError as error:
                raise TemplateError(f"its renderer cannot start ({error})") from None
            watch = threading.Timer(PATIENCE * seconds, process.kill)
            watch.daemon = True
            watch.start()
            try:
                n = len(request["users"])
                found = Background(lambda: list(_exchange(process, line, n))).result()
            except BaseException:
                # Answers that nobody reads would be taken for those to the next request.
                self.close()
                raise
            finally:
                watch.cancel()
            if found and (len(found) == n or isinstance(found[-1], dict)):
                return found
            self._process = None
            process.kill()
            _, errors = process.communicate()
        done = subprocess.CompletedProcess(process.args, process.returncode, b"", errors)
        timed_out = (-getattr(signal, "SIGPROF", 0), -getattr(signal, "SIGKILL", 9))
        if done.returncode in timed_out:
            raise TemplateError(f"not rendered within {seconds:.3g} s")
        raise TemplateError(f"its renderer died ({how_it_ended(done)})")


def _exchange(process: subprocess.Popen[bytes], line: bytes, n_prompts: int) -> Iterator[Any]:
    """Write a request and yield its answers; they end early if the process does."""
    if process.stdin is None or process.stdout is None:
        return
    with contextlib.suppress(OSError):
        process.stdin.write(line)
        process.stdin.flush()
    for _ in range(n_prompts):
        answered = process.stdout.readline()
        if not answered.endswith(b"\n"):
            return
        yield (answer := json.loads(answered))
        if isinstance(answer, dict):
            return


_renderer = _Renderer()
atexit.register(_renderer.close)
begin = _renderer.begin


def render(request: dict[str, Any], users: Sequence[str]) -> Iterator[str]:
    """Yield the prompt of each user message; see `sandbox.render_each` for what a request holds.

    Raises:
        TemplateError: The template fails, refuses, or takes more time, memory or text than it may.
    """
    for start in range(0, len(users), N_BATCH):
        for answer in _renderer.ask({**request, "users": users[start : start + N_BATCH]}):
            if isinstance(answer, dict):
                raise TemplateError(answer["error"])
            yield answer
