"""The exceptions of misfired. Every one derives from `MisfiredError` and a builtin.

A message is one line that names the file, the line or field, the value and the limit. Nothing
matches on message text: catch the class.
"""

from collections.abc import Iterable

from misfired.text import LONGEST_MESSAGE, shown


class MisfiredError(Exception):
    """Base of all errors that misfired raises on purpose; names in its message are safe to show."""

    def __str__(self) -> str:
        return shown(super().__str__(), LONGEST_MESSAGE, lines=True)


class MisfiredWarning(UserWarning):
    """What a user should know of a file, and what does not end a command: one line."""


class ArgumentError(MisfiredError, ValueError):
    """An argument is outside its limits."""


class CacheError(MisfiredError, OSError):
    """The cache of answers cannot be read or written, or is damaged."""


class DataError(MisfiredError, ValueError):
    """A file or table does not hold what it should: the message names file, row and field."""


class FetchError(MisfiredError, OSError):
    """A file cannot be downloaded, or what came is not the file that was expected."""


class ModelError(MisfiredError, RuntimeError):
    """A model file cannot be loaded or cannot be used for what was asked."""


class TemplateError(MisfiredError, ValueError):
    """A chat template is missing, or fails to render."""


class ScoringError(MisfiredError, RuntimeError):
    """llama.cpp failed while it scored."""


class ServerError(MisfiredError, RuntimeError):
    """A server cannot be reached, refuses every request, or does not give what is needed."""


class RunFolderError(MisfiredError, OSError):
    """A run folder cannot be written, or was made with other settings."""


def check_one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise an `ArgumentError` that lists the words that are known, unless the value is one."""
    if value not in allowed:
        raise ArgumentError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
