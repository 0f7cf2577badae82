"""The one door for files that a user hands over: opened as named, decoded, parsed; or refused in one line."""

import codecs
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from misfired.errors import DataError

PathLike = str | os.PathLike[str]

MOST_NESTED = 64
"""Levels of lists and objects that JSON may have."""

MOST_DIGITS = 40
"""Digits of a whole number in JSON; 64 bits take 20."""

MOST_OF_A_TEXT, MOST_OF_A_TABLE = 1 << 28, 1 << 31
"""Bytes of a text file, and of a table of text; a Parquet file may have any number."""

_SHOWN_CHARS = 60
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
#: What a file may begin with, the longer marks first, and its encoding then.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_MARK = "\ufeff"


def shown(value: object) -> str:
    """Return a value as messages show it: in quotes, its control characters escaped, cut if long."""
    if isinstance(value, Digits):
        return f"a number of {len(value.lstrip('-'))} digits"
    text = ascii(value) if isinstance(value, str) and not _is_text(value) else repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} letters)"


def _is_text(value: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def check_path(path: PathLike) -> None:
    """Refuse a path that holds NUL, which no system takes."""
    if "\0" in os.fspath(path):
        raise DataError(f"{shown(os.fspath(path))}: a path must not hold NUL")


def check_file(path: PathLike) -> None:
    """Refuse at once what is not there or is no regular file, such as a pipe, a device or a folder.

    Raises:
        DataError: It cannot be read; the message names it.
    """
    with _named(path):
        _check_kind(path, os.stat(path).st_mode)  # noqa: PTH116  it may be bytes or text


@contextmanager
def opened(path: PathLike) -> Iterator[IO[bytes]]:
    """Open a regular file for reading, by its name as it is given; nothing in it is a pattern.

    Raises:
        DataError: As `check_file`, or reading fails inside the block.
    """
    # Some devices act when they are opened, and a pipe waits for its writer.
    check_file(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with _named(path), os.fdopen(os.open(path, flags), "rb") as file:
        _check_kind(path, os.fstat(file.fileno()).st_mode)
        yield file


def read_bytes(path: PathLike, most: int | None = None) -> bytes:
    """Return the content of a file; errors as `opened`, or if it has more bytes than `most`."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise DataError(f"{path}: must have at most {most:,} bytes, got {size:,}")
        try:
            return file.read()
        except MemoryError:
            raise DataError(f"{path}: its {size:,} bytes do not fit into memory") from None


def read_text(path: PathLike) -> str:
    r"""Return the text of a file: UTF-8, or what its byte order mark says, with `\n` as line ends.

    Raises:
        DataError: As `opened`; it has more than `MOST_OF_A_TEXT` bytes; or a byte is not of the
            encoding, or NUL: the message names the line.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write("\ufeffone\r\ntwo".encode("utf-16-le"))
        ...     file.flush()
        ...     read_text(file.name)
        'one\ntwo'
    """
    return unified(decode(path, read_bytes(path, MOST_OF_A_TEXT)))


def unified(text: str) -> str:
    r"""Return a text with `\n` for every line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decode(path: PathLike, content: bytes, *, errors: str = "strict") -> str:
    """Return content as text without its byte order mark; errors as `read_text`."""
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    content = content.removeprefix(mark)
    try:
        text = content.decode(encoding, errors)
    except UnicodeDecodeError as error:
        line, byte = _place(content, error.start, encoding)
        fault = f"byte {byte} is not {encoding.upper()[:6].rstrip('-')}"
        raise DataError(f"{path}, line {line}: {fault}; save the file as UTF-8") from None
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise DataError(f"{path}, line {line}: must be text, got NUL; save the file as UTF-8")
    return text.lstrip(_MARK)


def _place(content: bytes, at: int, encoding: str) -> tuple[int, int]:
    """Return the line of a byte and its place there, both from 1."""
    end = "\n".encode(encoding)
    last = content.rfind(end, 0, at)
    return content.count(end, 0, at) + 1, at - (last + len(end) if last >= 0 else 0) + 1


class Digits(str):
    """A whole number with more digits than any table holds, as it is written."""

    __slots__ = ()


def read_json(path: PathLike) -> Any:
    """Return the content of a JSON file of ours, as `parse_json` with NaN and infinity.

    Raises:
        DataError: It cannot be read, or is not JSON; the message names the file.
    """
    try:
        return parse_json(read_text(path), allow_nan=True)
    except JsonError as error:
        raise DataError(f"{path}: {error}") from None


def any_whole(digits: str) -> "int | Digits":
    """Return a whole number, or its `Digits` if it has more than `MOST_DIGITS`."""
    return int(digits) if len(digits) <= MOST_DIGITS else Digits(digits)


def _short_whole(digits: str) -> int:
    found = any_whole(digits)
    if isinstance(found, Digits):
        raise JsonError(f"numbers must have at most {MOST_DIGITS} digits, got {len(digits)}")
    return found


class JsonError(DataError):
    """A text is not JSON, or more than any file of ours holds."""


def parse_json(
    text: str | bytes,
    *,
    allow_nan: bool = False,
    parse_int: Callable[[str], Any] = _short_whole,
) -> Any:
    """Return the value of a JSON text.

    Args:
        text: The text.
        allow_nan: Take NaN and Infinity.
        parse_int: Makes whole numbers of their digits.

    Raises:
        JsonError: It is not JSON; it says NaN or Infinity without `allow_nan`, holds a number of more
            than `MOST_DIGITS` digits, nests more than `MOST_NESTED` levels deep, or gives a
            key twice.

    Example:
        >>> parse_json('{"a": [1, 2]}')
        {'a': [1, 2]}
        >>> parse_json('{"a": NaN}')
        Traceback (most recent call last):
        misfired.reading.JsonError: not JSON: NaN; write null for what is missing
    """
    try:
        constant = float if allow_nan else _refuse_constant
        value = json.loads(
            text, object_pairs_hook=_once, parse_int=parse_int, parse_constant=constant
        )
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in error.doc.strip() else ""
        raise JsonError(f"broken JSON at {line}column {error.colno}: {error.msg}") from None
    check_depth(value)
    return value


def _refuse_constant(word: str) -> float:
    raise JsonError(f"not JSON: {word}; write null for what is missing")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"field {twice} must be given once, got it twice")
    return row


def check_depth(value: Any) -> None:
    """Raise a `JsonError` for lists and mappings that nest more than `MOST_NESTED` levels deep."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> JsonError:
    return JsonError(f"must nest at most {MOST_NESTED} levels deep, got more")


def is_finite(value: object) -> bool:
    """True of anything but an infinite or undefined number."""
    return not isinstance(value, float) or math.isfinite(value)


@contextmanager
def _named(path: PathLike) -> Iterator[None]:
    """Turn a failed system call into an error of one line that names the file."""
    check_path(path)
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'cannot be read'}") from None


def kind_of(path: PathLike) -> str:
    """Return what stands under a path in words, such as "a folder"."""
    return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "something else")  # noqa: PTH116


def _check_kind(path: PathLike, mode: int) -> None:
    if not stat.S_ISREG(mode):
        got = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(f"{path}: must be a file, got {got}")
