"""What a command shows on stderr while it works: bars on a terminal, else lines."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from misfired.cli.output import echo_error
from misfired.progress import Listener
from misfired.text import LONGEST_MESSAGE
from misfired.text import shown as safe

#: Seconds between lines where nothing new is told.
INTERVAL = 30.0
#: Seconds of a stage before its rate is told: the first batch holds what all prompts share.
SETTLED = 3.0

#: Makes what listens to the run of a name; "" where there is one run only.
Shown = Callable[[str], Listener]


@contextmanager
def progress_shown() -> Iterator[Shown]:
    """Show what runs tell on stderr for the block."""
    with _bars() if sys.stderr.isatty() else _lines() as shown:
        yield shown


class Lines(Listener):
    """Writes a line at each stage, for all that is told, and every `INTERVAL` seconds.

    Example:
        >>> clock = iter([0, 0, 5, 50]).__next__
        >>> lines = Lines("", print, clock)
        >>> lines.stage("scoring"); lines(0, 100); lines(10, 100); lines(20, 100); lines.tick()
        [0:00] scoring
        [0:05] scoring: 10 of 100, 2 a second, 0:45 left
        [0:50] scoring: 20 of 100, 0.4 a second, 3:20 left
    """

    def __init__(
        self, label: str, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._write, self._clock = f"{label}: " if label else "", write, clock
        self._lock, self._started = threading.Lock(), clock()
        self._stage, self._begun, self._written = "", self._started, self._started
        self._counts: list[tuple[int, int]] = []
        self._over = False

    def stage(self, name: str) -> None:
        """Write that a stage begins."""
        with self._lock:
            self._stage, self._counts = name, []
            self._begun = self._say(name)

    def tell(self, name: str, text: str) -> None:
        """Write it."""
        with self._lock:
            self._say(f"{name}: {safe(text, LONGEST_MESSAGE)}")

    def __call__(self, done: int, total: int) -> None:
        """Keep the counts, and write the first that show how fast it goes."""
        with self._lock:
            self._counts[1:] = [(done, total)]
            if len(self._counts) > 1 and self._written == self._begun and done > self._counts[0][0]:
                now = self._clock()
                if now - self._begun >= SETTLED:
                    self._say_state(now)

    def end(self) -> None:
        """Say nothing any more."""
        with self._lock:
            self._over = True

    def tick(self) -> None:
        """Write how far it is, if nothing was written for `INTERVAL` seconds."""
        with self._lock:
            now = self._clock()
            if now - self._written >= INTERVAL and not self._over:
                self._say_state(now)

    def _say_state(self, now: float) -> None:
        if not self._counts:
            stage = f"{self._stage}, " if self._stage else ""
            self._say(f"{stage}for {clock_time(now - self._begun)}", now)
            return
        (known, _), (done, total) = self._counts[0], self._counts[-1]
        rate = (done - known) / max(now - self._begun, 1e-3)
        left = f", {rate:.2g} a second, {clock_time((total - done) / rate)} left" if rate else ""
        stage = f"{self._stage}: " if self._stage else ""
        self._say(f"{stage}{done} of {total}{left}", now)

    def _say(self, text: str, now: float | None = None) -> float:
        now = self._clock() if now is None else now
        self._write(f"[{clock_time(now - self._started)}] {self._label}{text}")
        self._written = now
        return now


def clock_time(seconds: float) -> str:
    """Return minutes and seconds, hours before them if there are any.

    Example:
        >>> clock_time(65), clock_time(3725)
        ('1:05', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _lines() -> Iterator[Shown]:
    shown: list[Lines] = []
    over = threading.Event()

    def keep_telling() -> None:
        while not over.wait(1.0):
            for each in shown:
                each.tick()

    def add(label: str) -> Listener:
        shown.append(Lines(safe(label), echo_error))
        return shown[-1]

    threading.Thread(target=keep_telling, daemon=True).start()
    try:
        yield add
    finally:
        over.set()


@contextmanager
def _bars() -> Iterator[Shown]:
    from rich import progress
    from rich.console import Console

    columns = [progress.TextColumn("{task.description}", markup=False), progress.BarColumn(24)]
    columns += [progress.MofNCompleteColumn(), progress.TimeElapsedColumn()]
    columns += [progress.TextColumn("left"), progress.TimeRemainingColumn()]
    console = Console(stderr=True, highlight=False, markup=False)
    with progress.Progress(*columns, console=console, transient=True) as shown:

        class Bar(Listener):
            def __init__(self, label: str) -> None:
                self._label = safe(label)
                self._task = shown.add_task(self._label, total=None)

            def stage(self, name: str) -> None:
                text = f"{self._label} {name}".strip()
                shown.reset(self._task, description=text, total=None)

            def tell(self, name: str, text: str) -> None:
                line = f"{self._label} {name:<9} {safe(text, LONGEST_MESSAGE)}".strip()
                console.print(line, soft_wrap=True)

            def end(self) -> None:
                shown.update(self._task, visible=False)

            def __call__(self, done: int, total: int) -> None:
                shown.update(self._task, completed=done, total=total)

        yield Bar
