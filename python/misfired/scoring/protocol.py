"""Protocols: how a question is put to a model and how its answer is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from misfired.errors import ArgumentError


@dataclass(frozen=True)
class Protocol:
    """A way to ask and to read, small enough to print into a manifest.

    Attributes:
        name: One word.
        version: Changes whenever a text or a form changes.
        instruction: Put before the prompt in the user message, an empty line between.
        answers: For each answer the surface forms that count as it. Forms are texts as they would
            stand right after the prompt; the first token of each is scored.
    """

    name: str
    version: str
    instruction: str
    answers: dict[str, tuple[str, ...]] = field(hash=False)

    def user_message(self, text: str) -> str:
        """Instruction and prompt as one message."""
        return f"{self.instruction}\n\n{text}" if self.instruction else text

    def to_json(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "name": self.name,
            "version": self.version,
            "instruction": self.instruction,
            "answers": {answer: list(forms) for answer, forms in self.answers.items()},
        }


#: First-token scoring after a short instruction.
LOGIT = Protocol(
    name="logit",
    version="1",
    instruction="Read the text and answer the question that follows it with yes or no only.",
    answers={
        "yes": ("Yes", "yes", "YES", " Yes", " yes", " YES"),
        "no": ("No", "no", "NO", " No", " no", " NO"),
    },
)

#: The same forms, nothing put before the prompt: for models with a closed vocabulary.
BARE = Protocol(name="logit-bare", version="1", instruction="", answers=LOGIT.answers)

PROTOCOLS = {protocol.name: protocol for protocol in (LOGIT, BARE)}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Example:
        >>> get_protocol("logit").version
        '1'

    Raises:
        ArgumentError: There is none.
    """
    if name not in PROTOCOLS:
        raise ArgumentError(f"protocol is {name!r}, not one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
