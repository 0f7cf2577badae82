"""Requests: one prompt as the body that a server gets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from misfired.errors import ArgumentError
from misfired.prompts.shots import Shot
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import turns

#: Top tokens asked for: the most that OpenAI, llama-server and vLLM give.
N_TOP = 20
#: A prompt that no filter blocks, to see how a server answers.
TRIAL = "The lamp stands on the table. Does the lamp stand on the table?"
#: Fields that decide what is asked.
_FIXED = ("messages", "prompt", "model", "stream", "n")


@dataclass(frozen=True)
class RequestTemplate:
    """The template of all requests of a run.

    Args:
        model: The model's name at the server.
        protocol: One that generates, or one that reads first tokens.
        seed: Sent as `seed`.
        plain: True sends the prompt to `completions` as plain text (base models), False to
            `chat/completions` as a message.
        shots: Demonstrations, as turns before the prompt.
        extra_body: More fields; null removes a field.

    Raises:
        ArgumentError: A server cannot serve the protocol, or an extra field is fixed.
    """

    model: str
    protocol: Protocol
    seed: int = 0
    plain: bool = False
    shots: Sequence[Shot] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.protocol.name
        if self.protocol.reading == "whole_form":
            raise ArgumentError(
                "protocol must have reading 'first_token' (logit) or 'text' (generate, cot) with a server, "
                f"got {name!r}, which scores whole forms"
            )
        if self.protocol.prefix:
            raise ArgumentError(
                "protocol must have no prefix with a server, such as logit, generate or cot, got "
                f"{name!r}, which begins the model's answer for it"
            )
        for odd in (key for key in self.extra_body if not isinstance(key, str)):
            raise ArgumentError(f"extra_body must have texts as names, got {odd!r}")
        for fixed in filter(self.extra_body.__contains__, _FIXED):
            raise ArgumentError(f"extra_body must not hold {', '.join(_FIXED)}, got {fixed!r}")
        try:
            json.dumps(dict(self.extra_body), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(f"extra_body must be JSON in UTF-8, got {error}") from None

    @property
    def path(self) -> str:
        """Path of requests, behind the address."""
        return "completions" if self.plain else "chat/completions"

    def body(self, text: str, system: str | None = None) -> dict[str, Any]:
        """Return the body that asks one prompt.

        Example:
            >>> from misfired.scoring.protocol import BARE
            >>> body = RequestTemplate("small", BARE).body("Is it?")
            >>> body["messages"], body["top_logprobs"]
            ([{'role': 'user', 'content': 'Is it?'}], 20)
        """
        protocol = self.protocol
        message = protocol.user_message(text)
        texts = [shot.text for shot in self.shots]
        answers = [protocol.demonstrated(shot.answer) for shot in self.shots]
        history = list(turns(protocol, texts, answers, system))
        asked: dict[str, Any]
        if self.plain:
            asked = {"prompt": ChatTemplate(PLAIN, "plain").render(message, history)}
        else:
            asked = {"messages": [*history, {"role": "user", "content": message}]}
        body = {"model": self.model, **asked, "temperature": 0, "seed": self.seed}
        if protocol.generates:
            body |= {"max_tokens": protocol.n_generate, "stop": list(protocol.stop) or None}
        elif self.plain:
            body |= {"max_tokens": 1, "logprobs": N_TOP}
        else:
            body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": N_TOP}
        body |= self.extra_body
        return {name: value for name, value in body.items() if value is not None}
