"""Attempts that fail: each has a kind that is counted, and says if another attempt can help."""

from dataclasses import dataclass
from typing import Any

#: Providers' names of the error that their filter blocked a prompt.
BLOCK_CODES = frozenset(
    {"content_filter", "content_policy_violation", "data_inspection_failed", "moderation_blocked"}
)
_MOST_DETAIL = 200


@dataclass(eq=False)
class Fault(Exception):  # noqa: N818  an attempt that failed need not be an error of the run
    """An attempt that failed.

    Attributes:
        kind: Counted under this name: `no connection`, `connection lost`, `timed out`,
            `HTTP <status>`, `bad answer`.
        detail: What the server or the system says.
        status: The HTTP status, 0 if none came.
        code: The provider's name of the error, "" if it gave none.
        n_attempts: Most attempts for this kind of failure; None sets no limit of its own.
        retry_after: Seconds that the server asked to wait.
    """

    kind: str
    detail: str = ""
    status: int = 0
    code: str = ""
    n_attempts: int | None = None
    retry_after: float = 0.0

    def __str__(self) -> str:
        detail = " ".join(self.detail.split())
        if len(detail) > _MOST_DETAIL:
            detail = detail[: _MOST_DETAIL - 3] + "..."
        return f"{self.kind}: {detail}" if detail else self.kind

    @property
    def is_block(self) -> bool:
        """True if the provider's filter kept the prompt from the model."""
        return self.code.casefold() in BLOCK_CODES


def described(content: Any, otherwise: str) -> tuple[str, str]:
    """Return message and code of an error, in the shapes that servers use.

    Example:
        >>> described({"error": {"message": "too long", "code": "context"}}, "")
        ('too long', 'context')
        >>> described({"detail": "Not Found"}, ""), described(["?"], "")
        (('Not Found', ''), ("['?']", ''))
    """
    error = content
    if isinstance(content, dict):
        error = content.get("error") or content.get("errors") or content
    if isinstance(error, list) and error and isinstance(error[0], dict):
        error = error[0]
    if not isinstance(error, dict):
        return str(error), ""
    words = ("message", "detail", "error_message", "error_msg", "status_msg", "exception")
    told = (error[word] for word in words if not isinstance(error.get(word), dict | None))
    said, kind = next(filter(None, told), otherwise), error.get("code") or error.get("type")
    return str(said), str(kind or "")
