"""Ctrl-C ends a command within a second, whatever the main thread waits for.

Python raises `KeyboardInterrupt` only between its own steps. A library that computes, waits for a lock
that the system takes up again after a signal (polars asks for that), or imports, keeps it waiting.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Seconds for work to end in order. What was answered is in the journal before.
GRACE = 0.6
#: The exit code of an interrupted command, and what it says.
CODE, MESSAGE = 130, "interrupted"
#: Set when that has been said.
TOLD = threading.Event()
#: Progress bars hide it.
_SHOW_CURSOR = b"\r\x1b[?25h"


class Ending:
    """The end of a command that was interrupted.

    Attributes:
        begun: SIGINT has arrived.
    """

    def __init__(self) -> None:
        self.begun = False

    def interrupt(self, *_: Any) -> None:
        """Raise `KeyboardInterrupt` at the first SIGINT; a second would disturb what ends in order."""
        self.begun = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    def watch(self, heard: socket.socket) -> None:
        """End the process a moment after SIGINT, unless that has ended it."""
        with heard:
            while byte := heard.recv(1):
                if byte[0] == signal.SIGINT:
                    self.begun = True
                    time.sleep(GRACE)
                    self._end()

    def _end(self) -> None:
        if not TOLD.is_set():
            cursor = _SHOW_CURSOR if os.isatty(2) else b""
            with contextlib.suppress(OSError):
                os.write(2, cursor + f"error: {MESSAGE}\n".encode())
        for child in _children():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGTERM)
        os._exit(CODE)


def _children(process: int | str = "self") -> list[int]:
    """Return the processes that one has started, and theirs: a local cluster. None off Linux."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return [each for child in found for each in (*_children(child), child)]


@contextlib.contextmanager
def ending_on_interrupt() -> Iterator[None]:
    """Have the first SIGINT raise `KeyboardInterrupt`, and end the process if that does not end it.

    A process that was started to ignore SIGINT, as after a shell's `&`, ignores it still.
    """
    ending, before = Ending(), signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or before in {signal.SIG_IGN, None}:
        yield
        return
    heard, wake = socket.socketpair()
    wake.setblocking(False)
    threading.Thread(target=ending.watch, args=(heard,), daemon=True).start()
    outer = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, ending.interrupt)
    try:
        yield
    finally:
        if not ending.begun:
            signal.set_wakeup_fd(outer)
            signal.signal(signal.SIGINT, before)
            wake.close()
