"""JSON answers inside a text, strict first, then with the slips that models make."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_KEYS = {"answer", "final_answer", "final answer", "finalanswer"}
_LENIENT = re.compile(
    r"\{\s*[\"']?(?:final[_ ]?)?answer[\"']?\s*[:=]\s*"
    r"(?:\"(?P<double>[^\"{}]*)\"|'(?P<single>[^'{}]*)'|(?P<bare>[^\"'{},]*))\s*,?\s*(?:\}|$)",
    re.IGNORECASE,
)
_UNCLOSED = re.compile(r"\{\s*[\"']?(?:final[_ ]?)?answer[\"']?\s*(?::\s*[\"']?[^\"'{}]*)?$", re.I)


@dataclass(frozen=True)
class Found:
    """A JSON answer: where it stands and what it holds; `...` if it is cut off or contradicts itself."""

    start: int
    end: int
    value: Any


def find_json(text: str) -> list[Found]:
    """Every JSON object of the text that has an answer, in order, outermost only.

    Example:
        >>> [found.value for found in find_json('{"answer": "no"} then {"answer": "yes"}')]
        ['no', 'yes']
    """
    found = []
    place = text.find("{")
    while place >= 0:
        record = _strict(text, place) or _lenient(text, place)
        if record is not None:
            found.append(record)
        place = text.find("{", record.end if record else place + 1)
    return found


def _strict(text: str, place: int) -> Found | None:
    values: list[Any] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values.extend(value for key, value in pairs if key.strip().lower() in _KEYS)
        return dict(pairs)

    try:
        _, end = json.JSONDecoder(object_pairs_hook=keep).raw_decode(text, place)
    except (ValueError, RecursionError):
        return None
    if not values:
        return None
    agree = all(value == values[0] for value in values)
    return Found(place, end, values[0] if agree else ...)


def _lenient(text: str, place: int) -> Found | None:
    match = _LENIENT.match(text, place)
    if match is None:
        cut_off = _UNCLOSED.match(text, place)
        return Found(place, cut_off.end(), ...) if cut_off else None
    value = next(group for group in match.group("double", "single", "bare") if group is not None)
    if match["bare"] is not None:
        if not match.group().endswith("}"):
            return Found(place, match.end(), ...)
        value = {"null": None, "none": None}.get(value.strip().lower(), value.strip())
    return Found(place, match.end(), value)
