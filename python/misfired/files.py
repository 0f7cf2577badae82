"""Files: hashed in pieces, read as strict TOML, and written whole or not at all."""

import contextlib
import copy
import dataclasses
import errno
import hashlib
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

from misfired.errors import ArgumentError, DataError, MisfiredError
from misfired.reading import (
    MOST_NESTED,
    JsonError,
    check_depth,
    check_file,
    check_path,
    kind_of,
    opened,
    read_text,
    shown,
)

Content = TypeVar("Content")

#: What msgspec's names of types are called in TOML.
_RULES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text",
}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it once the block has succeeded.

    If the block fails, `path` stays as it was and nothing is left behind. What a killed process left of
    an earlier attempt is removed.

    Raises:
        DataError: `path` is there, and is no file: a folder, a pipe or a device.
        OSError: The folder is missing or cannot be written, or the disk is full; the message names
            `path`.
    """
    check_path(path)
    target = Path(path)
    if target.exists():
        check_file(target)
    try:
        clear_leftovers(target.parent, [target.name])
        temporary, descriptor = _temporary(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        with _system_errors(target):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _temporary(target: Path) -> tuple[Path, int]:
    """Make a file, and hold it as long as it is open, which ends with its process."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _is_free(descriptor)
        if temporary.exists():
            return temporary, descriptor
        # Taken for a leftover before it was held.
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Hold an open file and return True; False if another process holds it, or where none can."""
    try:
        import fcntl  # noqa: PLC0415  not on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def is_leftover(file: Path, names: Iterable[str]) -> bool:
    """True if a file is one that `replacing` makes beside a file of these names.

    Example:
        >>> is_leftover(Path("run/.manifest.json.7b287516.part"), ["manifest.json"])
        True
    """
    found = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.part", file.name)
    return found is not None and found[1] in names


def clear_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left in a folder while they replaced files of these names."""
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        if not is_leftover(file, names) or file.is_symlink() or not file.is_file():
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(file, os.O_RDWR)
            try:
                if _is_free(descriptor):
                    file.unlink()
            finally:
                os.close(descriptor)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, and those above it, unless it is there.

    Raises:
        DataError: Something else stands there.
        OSError: It cannot be made.
    """
    check_path(path)
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise DataError(f"{path}: must be a folder, got {kind_of(folder)}") from None
    return folder


@contextmanager
def _system_errors(target: Path) -> Iterator[None]:
    """Name the target where a system call fails, also one of polars, which tells it in its own words."""
    try:
        yield
    except MisfiredError:
        raise
    except (OSError, pl.exceptions.PolarsError) as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = getattr(error, "errno", None) or (int(found[1]) if found else errno.EIO)
        raise OSError(number, os.strerror(number), str(target)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        DataError: It cannot be read, or is no TOML; the message names the file.
    """
    text = read_text(path)
    try:
        content: dict[str, Any] = msgspec.toml.decode(text)
        check_depth(content)
    except RecursionError:
        raise DataError(f"{path}: must nest at most {MOST_NESTED} levels deep, got more") from None
    except JsonError as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError as error:
        # A number of thousands of digits has a message of its own, with advice on Python's limit.
        is_toml = isinstance(error, msgspec.DecodeError)
        said = f"not TOML: {error}" if is_toml else "a number has too many digits"
        raise DataError(f"{path}: {said}") from None
    for key, number in _numbers(content):
        if not math.isfinite(number):
            raise DataError(f"{path}: {key} must be a finite number, got {number}")
    return content


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number with a decimal point, and its key."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _numbers(each, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _numbers(each, f"{name}[{place}]")


def read_struct(path: Path, kind: type[Content]) -> Content:
    """Return the content of a TOML file as a dataclass or a msgspec struct.

    The fields of `kind` are the schema: every key must be a field, every value must have its type.

    Raises:
        DataError: The file cannot be read, or a key is missing, unknown, of another type or outside
            its limits; the message names file, key, rule and value.
    """
    return as_struct(read_toml(path), kind, path)


def as_struct(content: Mapping[str, Any], kind: type[Content], source: object) -> Content:
    """Return a mapping as `kind`, with the errors of `read_struct`, which name the source."""
    problem: object = None
    # msgspec refuses unknown keys of structs, but ignores those of dataclasses.
    if dataclasses.is_dataclass(kind):
        problem = _unknown_key(content, dataclasses.fields(kind))
    if problem is None:
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            refused = isinstance(error.__cause__, ArgumentError)
            own = copy.deepcopy(dict(content))  # to try its keys
            problem = error.__cause__ if refused else _in_words(str(error), own, kind)
        except RecursionError:
            problem = f"must nest at most {MOST_NESTED} levels deep, got more"
    raise DataError(f"{source}: {problem}")


def _unknown_key(table: Mapping[str, Any], fields: Iterable[Any], where: str = "") -> str | None:
    known = [field.name for field in fields]
    unknown = next((key for key in table if key not in known), None)
    return unknown and f"unknown key {shown(where + unknown)}, must be one of {', '.join(known)}"


def _in_words(error: str, content: dict[str, Any], kind: Any) -> str | None:
    """Say what msgspec refused with the key path that stands in the file."""
    problem, _, path = error.partition(" - at `$")
    name = ""
    value: Any = content
    schema: Any = msgspec.inspect.type_info(kind)
    for told, place in re.findall(r"\.([^.\[`]+)|\[([^\]]+)\]", path):
        key = _refused_key(error, content, value, kind) if place == "..." else told
        schema = _inside(schema, key)
        name += f".{key}" if key else f"[{place}]"
        value = value[key or int(place)]
    name = name.removeprefix(".")
    where = f"{name}." if name else ""
    if "unknown field" in problem:
        return _unknown_key(value, schema.fields, where)
    if "missing required" in problem:
        return f"key {where + problem.split('`')[1]!r} is missing"
    expected = re.match(r"Expected `([^`]+)`(.*?)(, got .*)?$", problem)
    if expected is None:
        return f"{name}: {problem}"
    types = [_RULES.get(one, one) for one in expected[1].split(" | ") if one != "null"]
    return f"{name} must be {' or '.join(types)}{expected[2]}, got {shown(value)}"


def _refused_key(error: str, content: Any, table: dict[str, Any], kind: Any) -> str:
    """Find the key of a table that msgspec's path leaves out: alone, it gives the same error."""
    every = copy.copy(table)
    for key, value in every.items():
        table.clear()
        table[key] = value
        try:
            msgspec.convert(content, kind)
        except msgspec.ValidationError as again:
            if str(again) == error:
                break
    return key


def _inside(schema: Any, key: str) -> Any:
    """Return msgspec's description of what lies under a key, or in a list."""
    for one in getattr(schema, "types", (schema,)):
        fields = {field.encode_name: field.type for field in getattr(one, "fields", ())}
        if key in fields:
            return fields[key]
        for inner in ("value_type", "item_type"):
            if hasattr(one, inner):
                return getattr(one, inner)
    return None


def file_sha256(*paths: Path) -> str:
    """Return the SHA-256 of one file, or of several as if they were one, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with opened(path) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
