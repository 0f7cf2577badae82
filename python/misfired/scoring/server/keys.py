"""Under which keys the answers of a server are cached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from misfired import _core
from misfired.errors import ServerError
from misfired.scoring.backend import Row
from misfired.scoring.cache import key_of
from misfired.scoring.server.client import Client, Fault
from misfired.scoring.server.reply import Identity, read_identity
from misfired.scoring.server.request import TRIAL, Form

#: Reasons that say nothing of the model and may pass: the provider's filter, a text that a busy server
#: left empty.
_PASSING = frozenset({"blocked", "empty"})


@dataclass(frozen=True)
class Keys:
    """Keys of prompts, for a server that calls itself as it did when the run was opened.

    Attributes:
        url: The server's address.
        form: The form of all requests.
        identity: What the server called itself.
    """

    url: str
    form: Form
    identity: Identity

    @classmethod
    def ask(cls, client: Client, form: Form) -> Keys:
        """Ask a harmless question for what the server calls itself now.

        Raises:
            ServerError: It does not answer.
        """
        try:
            identity = client.post(form.path, form.body(TRIAL), read_identity)
        except Fault as fault:
            raise ServerError(
                f"{client.url}: asked for its fingerprint, which the cache needs: {fault}"
            ) from None
        return cls(client.url, form, identity)

    def of(self, prompts: Mapping[int, Mapping[str, Any]]) -> dict[int, bytes]:
        """Under what the answers of such a server may be known."""
        told = self.identity.fingerprint
        return {row: self.of_answer(prompt, told) for row, prompt in prompts.items()}

    def of_answer(self, prompt: Mapping[str, Any], fingerprint: str | None) -> bytes:
        """Under what an answer is kept that came with this fingerprint."""
        return key_of(
            {
                "server": self.url,
                "path": self.form.path,
                "fingerprint": fingerprint,
                "body": self.form.body(prompt["text"], prompt["system"]),
                "protocol": self.form.protocol.to_json(),
                "expected": prompt["expected"],
                "misfired": _core.__version__,
            }
        )


def is_kept(answer: Row) -> bool:
    """Whether an answer is the model's own, and so the same another time."""
    return answer["outcome"] != "error" and answer["reason"] not in _PASSING
