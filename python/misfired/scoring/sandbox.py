"""The sandbox that chat templates are rendered in: a frozen clock, nothing of this machine in reach."""

import datetime
import functools
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class RefusalError(ValueError):
    """What a template's own `raise_exception` raises."""


def _raise(message: str) -> NoReturn:
    raise RefusalError(message)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as transformers and llama-cpp-python do: without HTML escapes, with these options."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


class _Generation(Extension):
    """`{% generation %}`, by which training finds the model's own text; the tags render to nothing."""

    tags = {"generation"}  # noqa: RUF012  Jinja's own name for it

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=8)
def _compile(source: str, date: str) -> jinja2.Template:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
        loader=jinja2.BaseLoader(),
    )
    # The same conversation has the same prompt: nothing is drawn.
    del made.filters["random"], made.globals["lipsum"]
    made.filters["tojson"] = _tojson
    clock = datetime.date.fromisoformat(date).strftime
    made.globals |= {"raise_exception": _raise, "strftime_now": clock}
    return made.from_string(source)


def render_each(request: dict[str, Any]) -> Iterator[str]:
    """Yield the prompt of each user message of a request.

    A request holds the template's `source`, the `date` that it sees (ISO), `variables`, the `history` of
    the conversation as messages, and `users`: the texts that stand last in it, one for each prompt.

    Raises:
        Exception: Anything, since the template decides.
    """
    template = _compile(request["source"], request["date"])
    for user in request["users"]:
        messages = [*request["history"], {"role": "user", "content": user}]
        yield template.render(request["variables"], messages=messages)
