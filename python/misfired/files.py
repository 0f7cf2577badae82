"""Files: hashed in pieces, read as strict TOML, and written whole or not at all."""

import copy
import dataclasses
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

from misfired.errors import ArgumentError, DataError

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

    If the block fails, `path` stays as it was and nothing is left behind.

    Raises:
        OSError: The folder is missing or cannot be written; the message names `path`.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        DataError: It cannot be read, or is no TOML; the message names the file.
    """
    try:
        content: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}") from None
    return content


def read_struct(path: Path, kind: type[Content]) -> Content:
    """Return the content of a TOML file as a dataclass or a msgspec struct.

    The fields of `kind` are the schema: every key must be a field, every value must have its type.

    Raises:
        DataError: The file cannot be read, or a key is missing, unknown, of another type or outside
            its limits; the message names file, key, rule and value.
    """
    content = read_toml(path)
    problem: object = None
    # msgspec refuses unknown keys of structs, but ignores those of dataclasses.
    if dataclasses.is_dataclass(kind):
        problem = _unknown_key(content, dataclasses.fields(kind))
    if problem is None:
        try:
            return msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            refused = isinstance(error.__cause__, ArgumentError)
            problem = error.__cause__ if refused else _in_words(str(error), content, kind)
    raise DataError(f"{path}: {problem}")


def _unknown_key(table: dict[str, Any], fields: Iterable[Any], where: str = "") -> str | None:
    known = [field.name for field in fields]
    unknown = next((key for key in table if key not in known), None)
    return unknown and f"unknown key {where + unknown!r}, must be one of {', '.join(known)}"


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
    expected = re.match(r"Expected `([^`]+)`(.*), got", problem)
    if expected is None:
        return f"{name}: {problem}"
    types = [_RULES.get(one, one) for one in expected[1].split(" | ") if one != "null"]
    return f"{name} must be {' or '.join(types)}{expected[2]}, got {value!r}"


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


def read_table(path: Path) -> pl.DataFrame:
    """Return a table from a .parquet, .jsonl or .csv file.

    Raises:
        DataError: The file has another suffix, or cannot be read.
    """
    try:
        if path.suffix == ".jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)
        if path.suffix in {".csv", ".parquet"}:
            return pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    raise DataError(f"{path}: must be a .csv, .jsonl or .parquet file")


def file_sha256(*paths: Path) -> str:
    """Return the SHA-256 of one file, or of several as if they were one, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
