"""Parameters of commands: made from the fields of option dataclasses, and words that several share."""

import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape
from typer import Argument, Option
from typer.models import OptionInfo

from misfired.errors import DataError
from misfired.options import Entry, Options, entries, set_keywords
from misfired.reading import parse_json
from misfired.text import shown

_Command = TypeVar("_Command", bound=Callable[..., None])

SuiteFile = Annotated[Path, Argument(metavar="FILE", help="A suite: .parquet, .jsonl or .csv.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]


def split_words(text: str) -> list[str]:
    """Return the words of a comma-separated option."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in split_words(text))
    except ValueError:
        raise typer.BadParameter(f"must be numbers with commas between, got {text!r}") from None


def whole_number(text: Any) -> Any:
    """Return a whole number of the command line; defaults pass as they are."""
    if not isinstance(text, str):
        return text
    digits = re.fullmatch(r"([+-]?[0-9][0-9_]*)(?:\.0*)?", text.strip())
    if digits is None:
        raise typer.BadParameter(f"must be a whole number in digits, got {shown(text, 60)!r}")
    if len(digits[1]) > _MOST_DIGITS:
        raise typer.BadParameter(f"must have at most {_MOST_DIGITS} digits, got {len(digits[1])}")
    return int(digits[1].replace("_", ""))


def finite_number(text: Any) -> Any:
    """Return a number of the command line; defaults pass as they are."""
    if not isinstance(text, str):
        return text
    try:
        number = float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number, got {shown(text, 60)!r}") from None
    if not math.isfinite(number):
        raise typer.BadParameter(f"must be a finite number, got {shown(text, 60)!r}")
    return number


#: Parsers of numbers, whose failures name rule and value, and what help shows for them.
_NUMBERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    int: (whole_number, "<int>"),
    float: (finite_number, "<float>"),
}
_MOST_DIGITS = 25


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except DataError as error:
        raise typer.BadParameter(f"must be JSON, got {shown(text, 60)!r} ({error})") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"must be a JSON object, got {text!r}")
    return value


def takes(
    *classes: type[Options],
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    unset: Mapping[str, str] | None = None,
) -> Callable[[_Command], _Command]:
    """Make a function a command: its `**options` are fields of option classes, its help its docstring.

    `only` these fields are taken (default: all), none of `exclude`. Those in `unset` have a default of
    None here, each with the words that help shows for it.
    """

    def decorate(command: _Command) -> _Command:
        keywords = {
            name: _parameter(entry, (unset or {}).get(name))
            for name, entry in entries(*classes).items()
            if name not in exclude and (not only or name in only)
        }
        set_keywords(command, keywords)
        _parse_numbers(command)
        command.__doc__ = _help(command.__doc__ or "")
        return command

    return decorate


def _parse_numbers(command: Callable[..., None]) -> None:
    """Give each option that is a number its parser, also those that a command defines itself."""
    for name, annotation in get_type_hints(command, include_extras=True).items():
        default = inspect.signature(command).parameters[name].default if name != "return" else None
        infos = [*getattr(annotation, "__metadata__", ()), default]
        kinds = get_args(annotation)[:1] if infos[:-1] else (annotation,)
        members = {*kinds, *(each for kind in kinds for each in get_args(kind))} - {NoneType}
        kind = next((each for each in members if each in _NUMBERS), None)
        if kind is None or len(members - {kind, *kinds}) > 0:
            continue
        for info in infos:
            if isinstance(info, OptionInfo) and info.parser is None:
                info.parser, metavar = _NUMBERS[kind]
                info.metavar = info.metavar or metavar


def group() -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(rich_markup_mode="rich", add_completion=False)


def plain(command: Any) -> Any:
    """Return a command whose help shows no type beside flags and arguments: their names say enough."""
    for each in command.get_params(typer.Context(command)):
        if getattr(each, "is_flag", False):
            each.metavar = ""
        elif each.param_type_name == "argument":
            each.display_type_rich = lambda **_: None
    for each in getattr(command, "commands", {}).values():
        plain(each)
    return command


def _parameter(entry: Entry, words: str | None) -> tuple[Any, Any]:
    """Return type and default of an option for typer; `words` stand for a default of None."""
    kind, parser = _spelling(entry.annotation)
    default: Any = entry.default if words is None else None
    if isinstance(default, Mapping):
        default = json.dumps(default)
    elif parser in (split_words, _numbers) and default is not None:
        default = ", ".join(map(str, default))
    shown = words or ("" if default in (None, "{}") or default is False else str(default))
    info = Option(
        entry.flag,
        # typer would put the default on a line of its own.
        help=escape(entry.metadata["help"])
        + (f" [dim]{escape(f'[default: {shown}]')}[/dim]" if shown else ""),
        rich_help_panel=entry.panel,
        metavar=entry.metadata.get("metavar", "A,B" if parser is split_words else None),
        parser=parser,
        show_default=False,
    )
    return Annotated[kind | None if default is None else kind, info], default


def _spelling(annotation: Any) -> tuple[Any, Callable[[str], Any] | None]:
    """Return how a type is given on the command line: as which type, and what parses it."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        kinds = [_spelling(each) for each in members if each is not NoneType]
        return next((each for each in kinds if each != (str, None)), kinds[0])
    if annotation in (bool, int, float, Path) or origin is list:
        return annotation, None
    if origin is tuple:
        return (str, _numbers) if Ellipsis in members else (annotation, None)
    return str, {Mapping: _json_object, Sequence: split_words}.get(origin)


def _help(docstring: str) -> str:
    """Return a docstring as typer's help: paragraphs on one line each, examples as they are."""
    paragraphs = []
    for paragraph in escape(inspect.cleandoc(docstring)).split("\n\n"):
        title, *lines = paragraph.split("\n")
        if title == "Examples:":
            # Markup keeps the indent, which rich would otherwise take away.
            paragraphs.append("\n".join([title, *(f"[cyan]{line}[/cyan]" for line in lines)]))
        else:
            paragraphs.append(" ".join([title, *lines]))
    return "\n\n".join(paragraphs)
