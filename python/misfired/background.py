"""Work in threads, and waits for it that Ctrl-C ends.

Polars handles SIGINT with SA_RESTART, so that a wait for a lock or a queue is taken up again by the
system and never interrupted. Here no single wait is longer than `TICK`.
"""

import copy
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

#: Seconds of a single wait.
TICK = 0.1


class Background(Generic[_Result]):
    """A call in a thread of its own, which ends with the process whatever it is doing.

    Example:
        >>> Background(lambda: 6 * 7).result()
        42
    """

    def __init__(self, call: Callable[[], _Result]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the call, or until the time is over; True if it has ended."""
        deadline = time.monotonic() + seconds
        while self._thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            self._thread.join(min(left, TICK))
        return not self._thread.is_alive()

    def result(self) -> _Result:
        """Return the call's result as soon as it is there, or raise what it raised."""
        self.ends_within(math.inf)
        if self._error is not None:
            # A copy: this one may be kept, and would keep every frame that it passes, with models in it.
            raise copy.copy(self._error) from self._error.__cause__
        return self._value


def wait(event: threading.Event, seconds: float) -> None:
    """Wait for an event, or until the time is over."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not event.wait(min(left, TICK)):
        pass


def next_of(ended: "queue.SimpleQueue[_Result]", seconds: float = math.inf) -> _Result:
    """Return the next item of a queue as soon as it is there; a `TimeoutError` when the time is over."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            return ended.get(timeout=min(left, TICK))
        except queue.Empty:
            continue
    raise TimeoutError(f"nothing within {seconds:g} s")


def in_parallel(
    work: Callable[[_Task], _Result], tasks: Iterable[_Task], n_threads: int
) -> Iterator[_Result]:
    """Yield `work(task)` of every task, in the order in which they end.

    Threads, unlike asyncio, also work where an event loop runs already (notebooks). They are daemons:
    whoever stops iterating does not wait for work that nobody needs.

    Raises:
        BaseException: `work` raised it; no further task begins.

    Example:
        >>> sorted(in_parallel(abs, [3, -1, -2], 2))
        [1, 2, 3]
    """
    waiting = deque(tasks)
    n_tasks = len(waiting)
    ended: queue.SimpleQueue[tuple[_Result, None] | tuple[None, BaseException]]
    ended, stopped = queue.SimpleQueue(), threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                task = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put((work(task), None))
            except BaseException as error:
                stopped.set()
                ended.put((None, error))

    for _ in range(min(n_threads, n_tasks)):
        threading.Thread(target=serve, name="misfired", daemon=True).start()
    try:
        for _ in range(n_tasks):
            result, error = next_of(ended)
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        stopped.set()


def in_order(
    work: Callable[[_Task], _Result], tasks: Sequence[_Task], n_threads: int
) -> list[_Result]:
    """Return `work(task)` of every task, in the order of the tasks; as `in_parallel`.

    Example:
        >>> in_order(abs, [3, -1, -2], 2)
        [3, 1, 2]
    """
    done = in_parallel(lambda place: (place, work(tasks[place])), range(len(tasks)), n_threads)
    by_place = dict(done)
    return [by_place[place] for place in range(len(tasks))]
