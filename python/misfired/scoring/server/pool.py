"""Many tasks in a few threads, results as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], n_threads: int
) -> Iterator[Result]:
    """Yield `work(task)` of every task, in the order in which they end.

    Threads are used, not asyncio, so that it also works where an event loop runs already (notebooks).
    They are daemons: whoever stops iterating need not wait for requests that nobody reads any more.

    Raises:
        BaseException: What `work` raised; no further task is begun.

    Example:
        >>> sorted(in_parallel(abs, [3, -1, -2], 2))
        [1, 2, 3]
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    n_tasks = 0
    for task in tasks:
        waiting.put(task)
        n_tasks += 1
    ended: queue.SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = queue.SimpleQueue()
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((work(task), None))
            except BaseException as error:
                stopped.set()
                ended.put((None, error))

    for _ in range(min(n_threads, n_tasks)):
        threading.Thread(target=serve, name="misfired-server", daemon=True).start()
    try:
        for _ in range(n_tasks):
            result, error = ended.get()
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        stopped.set()
