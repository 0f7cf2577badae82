"""The one door to a terminal: what a command prints is safe to see, whatever the stream can hold."""

import codecs
import io
import os
import sys
from contextlib import suppress
from pathlib import Path

from misfired.text import data_shown, json_escape, shown

_ERRORS = "misfired.escape"


def prepare_streams() -> None:
    """Let stdout and stderr take any text: a character that the encoding lacks becomes a JSON escape."""
    codecs.register_error(_ERRORS, _replace)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # The process was started with it closed.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


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


def drop(name: str) -> None:
    """Send what is still to come on a stream to nowhere, also when the process ends."""
    with suppress(OSError), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), getattr(sys, name).fileno())


def _write(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop("stdout")
        raise OSError(error.errno, error.strerror, "standard output") from None


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json_escape(error.object[error.start : error.end]), error.end
