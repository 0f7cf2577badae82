"""Chat templates: from a conversation to the text of a prompt."""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from misfired.errors import TemplateError
from misfired.scoring import renderer

#: The day that templates see if they read the clock: always the same, so that runs are comparable.
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
#: What a conversation without tools and documents passes as None, under the names that transformers and
#: llama-cpp-python have for it.
_ABSENT = ("tools", "documents", "functions", "function_call", "tool_choice")


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
            TemplateError: As `render_all`.
        """
        return next(self.render_all([user], history))

    def render_all(self, users: Sequence[str], history: Sequence[Message] = ()) -> Iterator[str]:
        """Yield the prompt for each of several user messages after the same turns.

        Raises:
            TemplateError: The template does not parse, does what the sandbox forbids, refuses, or takes
                more time, memory or text than it may.
        """
        request = {
            "source": self.source,
            "date": self.date.isoformat(),
            "history": list(history),
            "variables": {
                **dict.fromkeys(_ABSENT),
                "add_generation_prompt": True,
                "enable_thinking": self.thinking,
                "bos_token": self.bos_token,
                "eos_token": self.eos_token,
            },
        }
        try:
            if self.source == PLAIN:
                from misfired.scoring.sandbox import render_each  # noqa: PLC0415  loads jinja2

                yield from render_each({**request, "users": users})
            else:
                yield from renderer.render(request, users)
        except TemplateError as error:
            raise TemplateError(f"chat template ({self.name}): {error}") from None
