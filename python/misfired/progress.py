"""What a run tells while it works: its stages, what it has found out, and how far it is."""

from collections.abc import Callable, Mapping


class Listener:
    """Hears what a run tells; this one does nothing about it.

    Every `progress` of misfired may be a function of (done, in all) or one of these.
    """

    def stage(self, name: str) -> None:
        """A stage begins, such as `loading`, `trial`, `scoring` or `check`."""

    def tell(self, name: str, text: str) -> None:
        """Something is known, such as `model` or `packing`."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` prompts are answered."""

    def end(self) -> None:
        """The run is over, or has failed."""

    def tell_new(self, known: Mapping[str, str]) -> None:
        """Tell what this has not told yet."""
        told: dict[str, str] = self.__dict__.setdefault("_told", {})
        for name, text in known.items():
            if told.get(name) != text:
                told[name] = text
                self.tell(name, text)


class _Counter(Listener):
    def __init__(self, function: Callable[[int, int], None]) -> None:
        self._function = function

    def __call__(self, done: int, total: int) -> None:
        self._function(done, total)


def listener(progress: Callable[[int, int], None] | None) -> Listener:
    """Return who listens: a `Listener` as it is, a function that hears counts alone, None nobody.

    Example:
        >>> listener(None).stage("loading")
        >>> listener(lambda done, total: print(f"{done} of {total}"))(1, 2)
        1 of 2
    """
    if progress is None or isinstance(progress, Listener):
        return progress or Listener()
    return _Counter(progress)
