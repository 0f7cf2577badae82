"""Protocols that users write: TOML files, read and checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from misfired.errors import ArgumentError, DataError
from misfired.files import read_toml
from misfired.scoring.protocol import Protocol

_TYPES = {"str": str, "int": int, "bool": bool}
_FIELDS = {field.name: str(field.type) for field in dataclasses.fields(Protocol)}
_REQUIRED = [
    field.name for field in dataclasses.fields(Protocol) if field.default is dataclasses.MISSING
]


def read_protocol(path: Path | str) -> Protocol:
    """Read a protocol from a TOML file with the fields of `Protocol`.

    ```toml
    name = "paper"
    version = "1"
    instruction = "Answer the question with yes or no."
    reading = "first_token"

    [answers]
    yes = ["Yes", "yes"]
    no = ["No", "no"]
    ```

    Raises:
        DataError: The file cannot be read, is no TOML, or a field is missing, unknown, of another
            type or outside its limits.
    """
    path = Path(path)
    content = read_toml(path)
    try:
        return Protocol(**_fields(content))
    except ArgumentError as error:
        raise DataError(f"{path}: {error}") from None


def _fields(content: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(content.keys() - _FIELDS.keys())
    if unknown:
        raise ArgumentError(f"unknown field {unknown[0]!r}, not one of {', '.join(_FIELDS)}")
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise ArgumentError(f"field {missing[0]!r} is missing")
    return {name: _typed(name, value) for name, value in content.items()}


def _typed(name: str, value: Any) -> Any:
    if name == "answers":
        if not isinstance(value, dict):
            raise ArgumentError("answers is no table of lists")
        return {answer: _texts(f"answers.{answer}", forms) for answer, forms in value.items()}
    if name == "stop":
        return _texts(name, value)
    expected = _TYPES[_FIELDS[name]]
    if type(value) is not expected:
        raise ArgumentError(f"{name} is {value!r}, a value of type {expected.__name__} needed")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ArgumentError(f"{name} is {value!r}, a list of texts needed")
    return tuple(value)
