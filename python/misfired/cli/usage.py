"""Errors of usage in the words of this package: name, rule and value on one line."""

import re
from typing import Any

from misfired.errors import ArgumentError


def usage_words(error: Any) -> str:
    """Return what a usage error of typer says, as this package says it.

    Example:
        >>> from typer import BadParameter
        >>> usage_words(BadParameter("must be a number, got 'x'", param_hint="'--width'"))
        "--width must be a number, got 'x'"
    """
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    if found := re.fullmatch(r"Invalid value for (.+?): (.+)", said):
        name, problem = _plain(found[1]), found[2]
        if choice := re.fullmatch(r"(.+) is not one of (.+)", problem):
            return f"{name} must be one of {_plain(choice[2])}, got {choice[1]}"
        if kind := re.match(r"Input should be a valid (\w+)", problem):
            return f"{name} must be a {kind[1]}"
        return f"{name} {problem}" if problem.startswith("must ") else f"{name}: {problem}"
    if found := re.fullmatch(r"Missing (?:argument|option) (.+)", said):
        return f"{_plain(found[1])} must be given"
    if found := re.fullmatch(r"No such command (.+)", said):
        return f"command must be one of {', '.join(error.cmd.commands)}, got {found[1]}"
    return str(said)


def _plain(names: str) -> str:
    return names.replace("'", "")


def one_format(**asked: bool) -> None:
    """Refuse flags of several formats at once.

    Example:
        >>> one_format(json=True, csv=False)
        >>> one_format(json=True, csv=True)
        Traceback (most recent call last):
        misfired.errors.ArgumentError: output must have one format, got --json and --csv
    """
    given = [f"--{name}" for name, is_asked in asked.items() if is_asked]
    if len(given) > 1:
        raise ArgumentError(f"output must have one format, got {' and '.join(given)}")
