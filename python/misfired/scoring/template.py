"""Chat templates: rendered in a sandbox, with a frozen clock, from what the GGUF holds."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from misfired.errors import TemplateError
from misfired.scoring.llama.guard import try_rendering

#: The day that templates which read the clock are shown; the same for everybody, so that runs compare.
FROZEN_DATE = datetime.date(2025, 1, 1)

#: For base models: no roles, an answer cue at the end of each question.
PLAIN = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %} {{ message['content'] }}\n\n"
    "{% else %}{{ message['content'] }}\n\n{{ 'Answer:' if message['role'] == 'user' }}"
    "{% endif %}{% endfor %}"
)

#: A turn of a conversation: `role` and `content`.
Message = dict[str, str]

#: Ends a reasoning block that a template has opened, as Qwen 3's template does by itself.
CLOSED_REASONING = "\n</think>\n\n"


def opens_reasoning(text: str) -> bool:
    """Whether a text ends inside a reasoning block.

    Example:
        >>> opens_reasoning("<|Assistant|><think>"), opens_reasoning("<think></think>")
        (True, False)
    """
    return text.rfind("<think>") > text.rfind("</think>")


class _RefusedError(Exception):
    """What a template's own `raise_exception` raises."""


def _raise(message: str) -> NoReturn:
    raise _RefusedError(message)


def _tojson(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


@functools.lru_cache(maxsize=8)
def _compile(source: str, date: datetime.date) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = date.strftime
    return environment.from_string(source)


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template with the variables that models' templates read.

    Args:
        source: Jinja source.
        name: Where it came from, for messages and the manifest: `model`, `plain` or a file.
        bos_token: Text of the beginning-of-sequence token.
        eos_token: Text of the end-of-text token.
        date: What `strftime_now` tells the template.
        thinking: Whether a template that can switch reasoning on does.
        special: Special tokens of the vocabulary that it was written for, where that is another
            model's.
    """

    source: str
    name: str = "model"
    bos_token: str = ""
    eos_token: str = ""
    date: datetime.date = FROZEN_DATE
    thinking: bool = False
    special: frozenset[str] = frozenset()

    def render(self, user: str, history: Sequence[Message] = ()) -> str:
        """The prompt for one user message, up to where the answer begins.

        Args:
            user: The message.
            history: The turns before it.

        Example:
            >>> template = ChatTemplate("<s>{{ messages[0]['content'] }}</s>")
            >>> template.render("Hello")
            '<s>Hello</s>'

        Raises:
            TemplateError: The template does not parse, does what the sandbox forbids, or refuses.
        """
        try:
            return _compile(self.source, self.date).render(self._variables(user, history))
        except (
            jinja2.TemplateError,
            _RefusedError,
            ArithmeticError,
            TypeError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split())
            raise TemplateError(
                f"chat template ({self.name}): {type(error).__name__}: {reason}"
            ) from None

    def try_out(self, user: str, history: Sequence[Message] = ()) -> None:
        """Render once in a process of its own, with bounded time and memory.

        Raises:
            TemplateError: The template takes more than five seconds or 1 GiB.
        """
        if self.source != PLAIN:
            try_rendering(self.source, self.name, json.dumps(self._variables(user, history)))

    def _variables(self, user: str, history: Sequence[Message]) -> dict[str, Any]:
        return {
            "messages": [*history, {"role": "user", "content": user}],
            "add_generation_prompt": True,
            "enable_thinking": self.thinking,
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
        }
