"""Options: frozen dataclasses whose fields carry default, help, panel and check, each stated once.

Parameters of commands, keywords of functions like `misfired.run`, and docs/options.md are made from them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, partial
from inspect import Parameter
from typing import Any, ClassVar, TypeVar, get_type_hints

from misfired.errors import ArgumentError, check_one_of
from misfired.types import check_type, checks_types

#: Raises `ArgumentError` where a value breaks the rule; called with the field's name and its value.
Check = Callable[[str, Any], None]

_Options = TypeVar("_Options", bound="Options")
_Function = TypeVar("_Function", bound=Callable[..., Any])


def option(default: Any, *, help: str, check: Check | None = None, **more: Any) -> Any:  # noqa: A002
    """Return a dataclass field that carries all that is said about an option.

    `help` is one phrase; `check` is not called with None, the default of many options; `more` is for
    the command line, such as `flag` or `metavar`. Each object gets a copy of a default mapping.
    """
    metadata = {"help": help, "check": check, **more}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the options of a stage; raises `ArgumentError` when made where a rule or type is broken."""

    #: Help panel of the fields that a class defines itself; None for the first panel.
    PANEL: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        hints = _hints(type(self))  # type: ignore[arg-type]  # Classes can be hashed.
        for each in fields(self):
            check, value = each.metadata.get("check"), getattr(self, each.name)
            check_type(each.name, value, hints[each.name])
            if check is not None and value is not None:
                check(each.name, value)
        self.check_together()

    def check_together(self) -> None:
        """Check rules that involve several fields."""

    @classmethod
    def of(cls: type[_Options], keywords: Mapping[str, Any]) -> _Options:
        """Return options from keywords; raise `ArgumentError` also for an unknown one."""
        if unknown := [name for name in keywords if name not in cls.panels()]:
            raise ArgumentError(f"unknown option {unknown[0]!r}")
        return cls(**keywords)

    @classmethod
    def take(cls: type[_Options], keywords: dict[str, Any]) -> _Options:
        """Return options from the keywords that name them, and remove those."""
        own = cls.panels().keys() & keywords.keys()
        return cls(**{name: keywords.pop(name) for name in own})

    @classmethod
    def panels(cls) -> dict[str, str | None]:
        """Return the help panel of each field: that of the class that defines it, or its own."""
        found: dict[str, str | None] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Options):
                found |= dict.fromkeys(vars(base).get("__annotations__", {}), base.PANEL)
        return {each.name: each.metadata.get("panel", found[each.name]) for each in fields(cls)}

    def given(self, part: type[Options]) -> list[str]:
        """Return the names of the fields of `part` that differ from their defaults."""
        plain, own = vars(part()), vars(self)
        return [name for name in plain if own[name] != plain[name]]

    def part(self, part: type[_Options]) -> _Options:
        """Return the fields that a base class defines, as an object of that class."""
        return part(**{each.name: getattr(self, each.name) for each in fields(part)})


def _rule(holds: Callable[[Any], bool], words: str) -> Check:
    def check(name: str, value: Any) -> None:
        if not holds(value):
            raise ArgumentError(f"{name} must be {words}, got {value}")

    return check


#: The highest number that an option takes, unless it says another: no study is larger.
MOST = 1_000_000_000


def at_least(limit: float, most: float = MOST) -> Check:
    """Return the rule that a number is not below a limit, nor above `most`."""
    low = _rule(lambda value: value >= limit, f"at least {limit}")
    return partial(_both, low, _at_most(most))


def more_than(limit: float, most: float = MOST) -> Check:
    """Return the rule that a number is above a limit, and at most `most`."""
    low = _rule(lambda value: value > limit, f"more than {limit}")
    return partial(_both, low, _at_most(most))


def _at_most(limit: float) -> Check:
    return _rule(lambda value: value <= limit, f"at most {limit}")


def _both(first: Check, second: Check, name: str, value: Any) -> None:
    first(name, value)
    second(name, value)


def seeds(name: str, value: Any) -> None:
    """Refuse a seed that is negative, or that 64 bits do not hold."""
    within(0, 2**64 - 1)(name, value)


def between(low: float, high: float) -> Check:
    """Return the rule that a number lies strictly between two limits."""
    return _rule(lambda value: low < value < high, f"between {low} and {high}")


def within(low: float, high: float) -> Check:
    """Return the rule that a number is one of two limits or lies between them."""
    return _rule(lambda value: low <= value <= high, f"in {low} to {high}")


def one_of(allowed: Iterable[str]) -> Check:
    """Return the rule that a value is one of some words."""
    return partial(check_one_of, allowed=tuple(allowed))


@dataclass(frozen=True)
class Entry:
    """An option as the command line, a signature and the options page need it.

    `name` is that of the field and keyword, `annotation` its type; `panel` is None for the first help
    panel; `metadata` holds what `option` was given, `help` above all.
    """

    name: str
    annotation: Any
    default: Any
    panel: str | None
    metadata: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """The word of the command line, such as `--n-shots`."""
        return str(self.metadata.get("flag", f"--{self.name.replace('_', '-')}"))


def entries(*classes: type[Options]) -> dict[str, Entry]:
    """Return the options of several classes by name; the first class that has a name decides."""
    found: dict[str, Entry] = {}
    for cls in classes:
        hints, panels = get_type_hints(cls), cls.panels()
        for each in fields(cls):
            name, made = each.name, each.default_factory
            default = each.default if made is dataclasses.MISSING else made()
            found.setdefault(name, Entry(name, hints[name], default, panels[name], each.metadata))
    return found


def takes_options(*classes: type[Options]) -> Callable[[_Function], _Function]:
    """Give a function the fields of option classes as keywords, instead of its `**options`.

    `help`, editors and `typing.get_type_hints` then see each keyword with type and default.
    """

    def decorate(function: _Function) -> _Function:
        taken = entries(*classes).values()
        set_keywords(function, {each.name: (each.annotation, each.default) for each in taken})
        return checks_types(function)

    return decorate


@cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls)


def set_keywords(function: Callable[..., Any], keywords: Mapping[str, tuple[Any, Any]]) -> None:
    """Give a function keywords, each of a type and a default, in its signature instead of `**options`.

    A parameter of the function itself stands before a keyword of its name.
    """
    hints = get_type_hints(function, include_extras=True)
    own = {
        name: each.replace(annotation=hints.get(name, each.annotation))
        for name, each in inspect.signature(function).parameters.items()
        if each.kind is not Parameter.VAR_KEYWORD
    }
    more = {
        name: Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in keywords.items()
        if name not in own
    }
    parameters = [*own.values(), *more.values()]
    annotations = {each.name: each.annotation for each in parameters}
    function.__annotations__ = annotations | {"return": hints.get("return")}
    signature = inspect.Signature(parameters, return_annotation=hints.get("return"))
    function.__signature__ = signature  # type: ignore[attr-defined]
