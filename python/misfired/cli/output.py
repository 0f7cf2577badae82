"""The one door to a terminal: what a command prints is safe to see, whatever the stream can hold."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from misfired.errors import MisfiredWarning
from misfired.text import JSON_ESCAPES, LONGEST_MESSAGE, data_shown, fit_screen, shown


def prepare_streams() -> None:
    """Let stdout and stderr take any text: what their encoding lacks is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # The process was started with it closed.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=JSON_ESCAPES)
    fit_screen(sys.stdout.encoding)


def echo(text: str) -> None:
    """Print a report: control and unseen characters are escaped, line feeds end lines."""
    _write(shown(text, None, lines=True))


def echo_data(text: str) -> None:
    """Print JSON, CSV or LaTeX: exactly, or escaped where a person looks at it."""
    _write(data_shown(text) if sys.stdout.isatty() else text)


def echo_error(text: str) -> None:
    """Print a line to stderr; one that nobody can read any more is no failure."""
    try:
        sys.stderr.write(shown(text, None, lines=True) + "\n")
        sys.stderr.flush()
    except OSError:
        drop("stderr")


@contextmanager
def notes_shown() -> Iterator[None]:
    """Write the warnings of misfired as notes to stderr; others stay as they are."""

    def tell(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any
    ) -> None:
        if issubclass(category, MisfiredWarning):
            echo_error(f"note: {shown(' '.join(str(message).split()), LONGEST_MESSAGE)}")
        else:
            show(message, category, filename, lineno, *more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", MisfiredWarning)
        show = warnings.showwarning
        warnings.showwarning = tell  # type: ignore[assignment]  # Python names the last two
        yield


def drop(name: str) -> None:
    """Send what is still to come on a stream to nowhere, also when the process ends."""
    with suppress(OSError), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), getattr(sys, name).fileno())


def drop_if_full(name: str) -> None:
    """Send a stream to nowhere if it cannot take what it holds."""
    try:
        getattr(sys, name).flush()
    except OSError:
        drop(name)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop("stdout")
        raise OSError(error.errno, error.strerror, "standard output") from None
