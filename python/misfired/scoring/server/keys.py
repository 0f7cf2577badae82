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
from misfired.scoring.server.request import TRIAL, RequestTemplate

#: Reasons that say nothing of the model and may pass: the provider's filter, a text that a busy server
#: left empty.
_PASSING = frozenset({"blocked", "empty"})


@dataclass(frozen=True)
class Keys:
    """Keys of answers to requests of one form.

    Attributes:
        url: The server's address.
        form: The form of all requests.
    """

    url: str
    form: RequestTemplate

    def of(self, prompt: Mapping[str, Any], fingerprint: str | None) -> bytes:
        """The key of an answer that came with a fingerprint.

        Args:
            prompt: A row as `build_prompts` gives it.
            fingerprint: What the server called itself.
        """
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


def ask_identity(client: Client, form: RequestTemplate) -> Identity:
    """Ask a harmless question for what the server calls itself now.

    Raises:
        ServerError: It does not answer.
    """
    try:
        return client.post(form.path, form.body(TRIAL), read_identity)
    except Fault as fault:
        raise ServerError(
            f"{client.url}: asked for its fingerprint, which the cache needs: {fault}"
        ) from None


def is_kept(answer: Row) -> bool:
    """Whether an answer is the model's own, and so the same another time."""
    return answer["outcome"] != "error" and answer["reason"] not in _PASSING
