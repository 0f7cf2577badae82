"""Types of arguments, checked where a function or an option is given them.

A wrong type would else come out far below, in the words of another library.
"""

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from misfired.errors import ArgumentError

_Function = TypeVar("_Function", bound=Callable[..., Any])


def is_flag(value: Any) -> bool:
    """True if a value is a flag of Python or of NumPy.

    Example:
        >>> is_flag(True), is_flag(1)
        (True, False)
    """
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


#: A type as it is annotated, its name in messages, and the test of a value.
_PLAIN: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number", lambda value: isinstance(value, Integral) and not is_flag(value)),
    float: ("a number", lambda value: isinstance(value, Real) and not is_flag(value)),
    str: ("text", lambda value: isinstance(value, str)),
    bool: ("true or false", is_flag),
    type(None): ("None", lambda value: value is None),
}


#: Names of classes that their own name does not tell well.
_NAMES: dict[Any, str] = {
    Callable: "a function",
    Collection: "a collection",
    os.PathLike: "a path",
}


def check_type(name: str, value: Any, annotation: Any) -> None:
    """Raise an `ArgumentError` if a value has none of the types of an annotation.

    Plain types, classes and unions of them are checked; any other annotation allows everything. A flag
    is no number, and numbers of NumPy are as good as Python's.

    Example:
        >>> check_type("n_threads", 2, int | None)
        >>> check_type("n_threads", 0.5, int | None)
        Traceback (most recent call last):
        misfired.errors.ArgumentError: n_threads must be a whole number or None, got 0.5
    """
    rules = _rules(annotation)
    if rules and not any(holds(value) for _, holds in rules):
        words = " or ".join(dict.fromkeys(word for word, _ in rules))
        shown = repr(value) if type(value) in _PLAIN or isinstance(value, Real) else _kind(value)
        raise ArgumentError(f"{name} must be {words}, got {shown}")


def checks_types(function: _Function) -> _Function:
    """Give a function the check of its arguments, by the annotations of its signature."""

    @functools.cache
    def annotations() -> dict[str, Any]:
        # At the first call, since a module may still be on its way when it decorates.
        hints = get_type_hints(call)
        return {name: hints.get(name, Any) for name in inspect.signature(call).parameters}

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        known = annotations()
        for name, value in [*zip(known, args, strict=False), *keywords.items()]:
            check_type(name, value, known.get(name, Any))
        return function(*args, **keywords)

    return typing.cast("_Function", call)


@functools.cache
def _rules(annotation: Any) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    """Return the name and test of each type of an annotation; none where not all are known."""
    parts = get_args(annotation) if _is_union(annotation) else (annotation,)
    found = [_PLAIN[part] if part in _PLAIN else _class_rule(part) for part in parts]
    return tuple(rule for rule in found if rule) if all(found) else ()


def _class_rule(part: Any) -> tuple[str, Callable[[Any], bool]] | None:
    kind = get_origin(part) or part
    if kind is Sequence:  # Of any library, such as a column of pandas; a text would be its letters.
        return "a sequence", lambda v: hasattr(v, "__len__") and not isinstance(v, str | bytes)
    if not isinstance(kind, type) or kind in (Any, object):  # Any is a class since Python 3.11.
        return None
    return _NAMES.get(kind, _class_name(kind)), lambda value: isinstance(value, kind)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (typing.Union, types.UnionType)


def _kind(value: Any) -> str:
    return _class_name(type(value))


def _class_name(kind: type) -> str:
    """Name a class, with its library where another one has the same: "a pandas DataFrame"."""
    library = kind.__module__.partition(".")[0]
    return f"a {library} {kind.__name__}" if kind.__name__ == "DataFrame" else f"a {kind.__name__}"
