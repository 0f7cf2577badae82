"""What is sent: one prompt as the body of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from misfired.errors import ArgumentError
from misfired.prompts.shots import Shot
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import PLAIN, ChatTemplate
from misfired.scoring.tokens import turns

#: Tokens listed at a position; the most that OpenAI, llama-server and vLLM give.
N_TOP = 20

#: A prompt that no filter minds, to see how a server answers.
TRIAL = "The lamp stands on the table. Does the lamp stand on the table?"

#: What cannot be changed without changing what is asked.
_FIXED = ("messages", "prompt", "model", "stream", "n")


@dataclass(frozen=True)
class RequestTemplate:
    """The template of all requests of a run.

    Args:
        model: The model's name at the server.
        protocol: How to ask: one that generates, or one that reads first tokens.
        seed: Sent as `seed`.
        plain: Whether the prompt goes to `completions` as plain text (base models), not to
            `chat/completions` as a message.
        shots: Demonstrations, shown as turns before the prompt.
        extra_body: Further fields; null takes a field away.

    Raises:
        ArgumentError: The protocol needs what a server does not promise, or a field is fixed.
    """

    model: str
    protocol: Protocol
    seed: int = 0
    plain: bool = False
    shots: Sequence[Shot] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        protocol = self.protocol
        if protocol.reading == "whole_form":
            raise ArgumentError(
                f"protocol {protocol.name!r} scores whole forms, of which a server tells nothing: use "
                "one with reading 'first_token' (logit) or 'text' (generate, cot)"
            )
        if protocol.prefix:
            raise ArgumentError(
                f"protocol {protocol.name!r} begins the model's answer for it, which servers do not "
                "promise to continue: use logit, generate or cot"
            )
        for name in _FIXED:
            if name in self.extra_body:
                raise ArgumentError(f"extra_body holds {name!r}, which is not free to choose")

    @property
    def path(self) -> str:
        """Where requests go."""
        return "completions" if self.plain else "chat/completions"

    def body(self, text: str, system: str | None = None) -> dict[str, Any]:
        """The body that asks one prompt.

        Example:
            >>> from misfired.scoring.protocol import BARE
            >>> body = RequestTemplate("small", BARE).body("Is it?")
            >>> body["messages"], body["top_logprobs"]
            ([{'role': 'user', 'content': 'Is it?'}], 20)
        """
        body = {
            "model": self.model,
            **self._prompt(self.protocol.user_message(text), system),
            "temperature": 0,
            "seed": self.seed,
            **self._limits(),
            **self.extra_body,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _prompt(self, message: str, system: str | None) -> dict[str, Any]:
        texts = [shot.text for shot in self.shots]
        answers = [self.protocol.demonstrated(shot.answer) for shot in self.shots]
        history = list(turns(self.protocol, texts, answers, system))
        if self.plain:
            return {"prompt": ChatTemplate(PLAIN, "plain").render(message, history)}
        return {"messages": [*history, {"role": "user", "content": message}]}

    def _limits(self) -> dict[str, Any]:
        if self.protocol.generates:
            stop = {"stop": list(self.protocol.stop)} if self.protocol.stop else {}
            return {"max_tokens": self.protocol.n_generate, **stop}
        if self.plain:
            return {"max_tokens": 1, "logprobs": N_TOP}
        return {"max_tokens": 1, "logprobs": True, "top_logprobs": N_TOP}
