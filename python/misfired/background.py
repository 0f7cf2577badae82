"""Work that begins before its result is needed."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


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

    def result(self) -> _Result:
        """Return the call's result as soon as it is there, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value
