"""Options: frozen dataclasses whose fields carry default, help, panel and check, each stated once.

The parameters of the command line, the keywords of functions like `misfired.run`, and the options page
of the documentation are all made from these fields.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, get_type_hints

from misfired.errors import ArgumentError, check_one_of

__all__ = ["Options", "at_least", "between", "more_than", "one_of", "option", "takes_options"]

#: Raises `ArgumentError` where a value breaks the rule; called with the field's name and its value.
Check = Callable[[str, Any], None]

_Options = TypeVar("_Options", bound="Options")
_Function = TypeVar("_Function", bound=Callable[..., Any])


def option(default: Any, *, help: str, check: Check | None = None, **more: Any) -> Any:  # noqa: A002
    """Return a dataclass field that carries all that is said about an option.

    Args:
        default: Its default; a mapping becomes a copy for each object.
        help: One phrase for the command line and the options page.
        check: Its rule; None, the default of many options, is never checked.
        more: Further metadata for the command line, such as `flag` or `metavar`.
    """
    metadata = {"help": help, "check": check, **more}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the options of a stage; checked when made.

    Raises:
        ArgumentError: A value breaks its field's rule, or two fields contradict each other.
    """

    #: Help panel of the fields that a class defines itself; None for the first panel.
    PANEL: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        for each in fields(self):
            check, value = each.metadata.get("check"), getattr(self, each.name)
            if check is not None and value is not None:
                check(each.name, value)
        self.check_together()

    def check_together(self) -> None:
        """Check rules that involve several fields."""

    @classmethod
    def of(cls: type[_Options], keywords: Mapping[str, Any]) -> _Options:
        """Return options from keywords.

        Raises:
            ArgumentError: Also an unknown keyword.
        """
        known = {each.name for each in fields(cls)}
        for name in keywords:
            if name not in known:
                raise ArgumentError(f"unknown option {name!r}")
        return cls(**keywords)

    @classmethod
    def panels(cls) -> dict[str, str | None]:
        """Return the help panel of each field: that of the class that defines it."""
        found: dict[str, str | None] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Options):
                found |= dict.fromkeys(vars(base).get("__annotations__", {}), base.PANEL)
        return {each.name: each.metadata.get("panel", found[each.name]) for each in fields(cls)}

    def given(self, part: type[Options]) -> list[str]:
        """Return the names of the fields of `part` that differ from their defaults."""
        plain = part()
        return [
            each.name
            for each in fields(part)
            if getattr(self, each.name) != getattr(plain, each.name)
        ]

    def part(self, part: type[_Options]) -> _Options:
        """Return the fields that a base class defines, as an object of that class."""
        return part(**{each.name: getattr(self, each.name) for each in fields(part)})


def at_least(limit: float) -> Check:
    """Return the rule that a number is not below a limit."""

    def check(name: str, value: Any) -> None:
        if not value >= limit:
            raise ArgumentError(f"{name} must be at least {limit}, got {value}")

    return check


def more_than(limit: float) -> Check:
    """Return the rule that a number is above a limit."""

    def check(name: str, value: Any) -> None:
        if not value > limit:
            raise ArgumentError(f"{name} must be more than {limit}, got {value:g}")

    return check


def between(low: float, high: float) -> Check:
    """Return the rule that a number lies strictly between two limits."""

    def check(name: str, value: Any) -> None:
        if not low < value < high:
            raise ArgumentError(f"{name} must be between {low} and {high}, got {value}")

    return check


def one_of(allowed: Iterable[str]) -> Check:
    """Return the rule that a value is one of some words."""
    words = tuple(allowed)

    def check(name: str, value: Any) -> None:
        check_one_of(name, value, words)

    return check


def takes_options(*classes: type[Options]) -> Callable[[_Function], _Function]:
    """Give a function, instead of its `**options`, the fields of option classes as keywords.

    Its signature and annotations then name each keyword with type and default, so that `help`,
    editors and `typing.get_type_hints` see them.
    """

    def decorate(function: _Function) -> _Function:
        hints = get_type_hints(function)
        signature = inspect.signature(function)
        own = [
            each.replace(annotation=hints.get(name, each.annotation))
            for name, each in signature.parameters.items()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        taken = {each.name for each in own}
        keywords = {each.name: each for cls in classes for each in _parameters(cls)}
        parameters = [*own, *(each for name, each in keywords.items() if name not in taken)]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters, return_annotation=hints.get("return", inspect.Signature.empty)
        )
        function.__annotations__ = {each.name: each.annotation for each in parameters} | {
            "return": hints.get("return")
        }
        return function

    return decorate


def _parameters(cls: type[Options]) -> Iterable[inspect.Parameter]:
    hints = get_type_hints(cls)
    for each in fields(cls):
        default = each.default
        if each.default_factory is not dataclasses.MISSING:
            default = each.default_factory()
        yield inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[each.name]
        )
