"""Parameters of commands: made from the fields of option dataclasses, and words that several share."""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape

from misfired.options import Entry, Options, entries, set_signature

__all__ = [
    "Json", "ModelFile", "ModelName", "Out", "OutIfAny", "Ray", "SuiteFile", "group", "split_words",
    "takes",
]  # fmt: skip

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A GGUF model file.", show_default=False)
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A GGUF model file, or a server's address: http(s)://HOST[:PORT]/v1.",
        show_default=False,
    ),
]
SuiteFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A suite: .parquet, .jsonl or .csv.", show_default=False),
]
_OUT = typer.Option(
    "-o", "--out", help="Run folder. Created if missing; an interrupted run resumes."
)
Out = Annotated[Path, _OUT]
OutIfAny = Annotated[Path | None, _OUT]
Ray = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster that does the work; local starts one.",
        rich_help_panel="Devices",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def split_words(text: str) -> list[str]:
    """Return the words of a comma-separated option.

    Example:
        >>> split_words("none, cue")
        ['none', 'cue']
    """
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in split_words(text))
    except ValueError:
        raise typer.BadParameter(f"must be numbers with commas between, got {text!r}") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"must be JSON, got {text!r} ({error})") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"must be a JSON object, got {text!r}")
    return value


def takes(
    *classes: type[Options],
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    defaults: Mapping[str, tuple[Any, str]] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command: its `**options` are fields of option classes, its help its docstring.

    Args:
        classes: Option classes; a parameter of the function itself stands before a field of its name.
        only: The fields that are taken. Default: all.
        exclude: Fields that are not taken.
        defaults: Other defaults for fields, each with the words that help shows for it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = {
            name: each.replace(annotation=_escaped(hints[name]))
            for name, each in inspect.signature(command).parameters.items()
            if each.kind is not inspect.Parameter.VAR_KEYWORD
        }
        taken = {
            name: _parameter(entry, (defaults or {}).get(name))
            for name, entry in entries(*classes).items()
            if name not in exclude and (not only or name in only)
        }

        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            command(**given)

        # typer reads signature and annotations, and would follow `__wrapped__` past both.
        del wrapper.__wrapped__
        wrapper.__doc__ = _help(command.__doc__ or "")
        set_signature(wrapper, (own | taken | own).values(), {})
        return wrapper

    return decorate


def group(about: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(help=about, rich_markup_mode="rich", add_completion=False)


def _parameter(entry: Entry, changed: tuple[Any, str] | None) -> inspect.Parameter:
    kind, parser = _spelling(entry.annotation)
    default: Any = entry.default
    if isinstance(default, Mapping):
        default = json.dumps(default)
    elif parser is split_words and default is not None:
        default = ", ".join(map(str, default))
    default, shown = changed or (
        default,
        "" if default in (None, "{}") or default is False else str(default),
    )
    # typer would put the default on a line of its own.
    shown = f" [dim]{escape(f'[default: {shown}]')}[/dim]" if shown else ""
    info = typer.Option(
        entry.flag,
        help=escape(entry.metadata["help"]) + shown,
        rich_help_panel=entry.panel,
        metavar=entry.metadata.get("metavar", "A,B" if parser is split_words else None),
        parser=parser,
        show_default=False,
    )
    return inspect.Parameter(
        entry.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind | None if default is None else kind, info],
    )


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


def _escaped(annotation: Any) -> Any:
    """Return the type of a parameter with a help in which no [bracket] is markup."""
    kind, *infos = get_args(annotation)
    info = copy.copy(infos[0])
    info.help = escape(info.help or "")
    return Annotated[kind, info]


def _help(docstring: str) -> str:
    """Return a docstring as typer's help: paragraphs on one line each, examples as they are."""
    paragraphs = []
    for paragraph in escape(inspect.cleandoc(docstring)).split("\n\n"):
        title, *lines = paragraph.split("\n")
        if title == "Examples:":
            # Markup keeps the indent, which rich would otherwise take away.
            examples = [f"[cyan]{line}[/cyan]" for line in lines]
            paragraphs.append("\n".join([title, *examples]))
        else:
            paragraphs.append(" ".join([title, *lines]))
    return "\n\n".join(paragraphs)
