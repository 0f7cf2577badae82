"""What a user says of a server beyond its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from misfired.errors import ArgumentError


@dataclass(frozen=True)
class ServerOptions:
    """How a server is reached and what it costs.

    Attributes:
        server_model: The model's name there; None takes the only one that the server has.
        api_key_env: Name of the environment variable that holds the API key; None sends none.
        concurrency: Requests that are under way at once.
        timeout: Seconds in which an answer must be there.
        n_attempts: How often a prompt is asked at most.
        price: Of a million prompt tokens and of a million generated ones, in any currency.
        extra_body: Further fields of every request; null takes one away.

    Raises:
        ArgumentError: A number is outside its limits.
    """

    server_model: str | None = None
    api_key_env: str | None = None
    concurrency: int = 8
    timeout: float = 120.0
    n_attempts: int = 6
    price: tuple[float, float] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("concurrency", self.concurrency), ("n_attempts", self.n_attempts)):
            if value < 1:
                raise ArgumentError(f"{name} is {value}, at least 1 needed")
        if not self.timeout > 0:
            raise ArgumentError(f"timeout is {self.timeout:g}, more than 0 seconds needed")
        if self.price is not None and not (len(self.price) == 2 and min(self.price) >= 0):
            raise ArgumentError(f"price is {self.price}, two numbers of at least 0 needed")

    @property
    def given(self) -> list[str]:
        """Names of the options that differ from their defaults."""
        plain = ServerOptions()
        return [
            each.name
            for each in fields(self)
            if getattr(self, each.name) != getattr(plain, each.name)
        ]
