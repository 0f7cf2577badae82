"""Chat templates, rendered in a sandbox with a frozen clock."""

import datetime
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from misfired.errors import TemplateError
from misfired.scoring.trial import how_it_ended, run_trial

#: The day that templates see if they read the clock: always the same, so that runs are comparable.
FROZEN_DATE = datetime.date(2025, 1, 1)
#: Seconds and bytes that a template may use; real ones need a hundredth of a second.
TRIAL_SECONDS, TRIAL_BYTES = 5, 1 << 30
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


class _RefusedError(ValueError):
    """What a template's own `raise_exception` raises."""


def _raise(message: str) -> NoReturn:
    raise _RefusedError(message)


def _tojson(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def environment(date: datetime.date) -> ImmutableSandboxedEnvironment:
    """Return the sandbox that chat templates are rendered in, on a given day."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals |= {"raise_exception": _raise, "strftime_now": date.strftime}
    return made


@functools.lru_cache(maxsize=8)
def _compile(source: str, date: datetime.date) -> jinja2.Template:
    return environment(date).from_string(source)


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template with the variables that models' templates read.

    Args:
        source: Jinja source.
        name: Where it came from, for messages and the manifest: `model`, `plain` or a file.
        date: What `strftime_now` tells the template.
        thinking: True if a template that can switch reasoning on does.
        special: Special tokens of the vocabulary that it was written for, if that is another model's.
    """

    source: str
    name: str = "model"
    bos_token: str = ""
    eos_token: str = ""
    date: datetime.date = FROZEN_DATE
    thinking: bool = False
    special: frozenset[str] = frozenset()

    def render(self, user: str, history: Sequence[Message] = ()) -> str:
        """Return the prompt for one user message after some turns, up to where the answer begins.

        Example:
            >>> ChatTemplate("<s>{{ messages[0]['content'] }}</s>").render("Hello")
            '<s>Hello</s>'

        Raises:
            TemplateError: The template does not parse, does what the sandbox forbids, or refuses.
        """
        try:
            return _compile(self.source, self.date).render(self._variables(user, history))
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise TemplateError(f"chat template ({self.name}): {said}") from None

    def try_out(self, user: str, history: Sequence[Message] = ()) -> None:
        """Render once in a process of its own; what a template refuses or fails at, `render` says.

        Raises:
            TemplateError: The template takes more than `TRIAL_SECONDS` or `TRIAL_BYTES`.
        """
        if self.source != PLAIN:
            variables, date = self._variables(user, history), self.date.isoformat()
            request = {"source": self.source, "date": date, "variables": variables}
            _try_rendering(self.name, json.dumps(request))

    def _variables(self, user: str, history: Sequence[Message]) -> dict[str, Any]:
        return {
            "messages": [*history, {"role": "user", "content": user}],
            "add_generation_prompt": True,
            "enable_thinking": self.thinking,
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
        }


@functools.lru_cache(maxsize=64)
def _try_rendering(name: str, request: str) -> None:
    program = Path(__file__).with_name("trial_render.py")
    done = run_trial(program, str(TRIAL_BYTES), seconds=TRIAL_SECONDS, request=request)
    if done is None:
        problem = f"not rendered within {TRIAL_SECONDS} s"
    elif done.returncode == 4:
        problem = f"needs more than {TRIAL_BYTES >> 20} MiB of memory"
    elif done.returncode:
        problem = f"its renderer died ({how_it_ended(done)})"
    else:
        return
    raise TemplateError(f"chat template ({name}): {problem}")
