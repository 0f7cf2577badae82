"""Options of a study with people."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from misfired.errors import ArgumentError
from misfired.options import Options, at_least, option, seeds, within

LOCAL = frozenset(("127.0.0.1", "localhost", "::1"))
"""Addresses that only this machine can reach."""

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared, not bound


#: Pages lie at the root of the server, so an address in a link has no path.
_URL = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?/?", re.ASCII | re.IGNORECASE)


def _url(name: str, value: str) -> None:
    if not _URL.fullmatch(value):
        raise ArgumentError(f"{name} must be http(s)://HOST[:PORT] without a path, got {value!r}")


def _port(name: str, value: Any) -> None:
    within(0, 65535)(name, value)


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Options):
    """What a study asks, and whom."""

    PANEL: ClassVar[str | None] = "Study"

    n_pairs: int = option(
        100, help="Pairs drawn, balanced over categories, then scenarios.", check=at_least(1)
    )
    foils: float = option(
        1.0,
        help="Share of pairs, 0 to 1, that also get a false question about each story (right answer: no).",
        check=within(0, 1),
    )
    core: int | None = option(
        None,
        help="Pairs among them that every annotator gets. Default: 10, or all if there are fewer.",
        check=at_least(0),
    )
    annotators: int = option(5, help="Links to make, one for each person.", check=at_least(1))
    ratings: int | None = option(
        None,
        help="Annotators who get each pair outside the core. Default: as many as give everyone 35 pairs.",
        check=at_least(1),
    )
    attention: int = option(6, help="Attention items for each annotator.", check=within(0, 36))
    gap: int | None = option(
        None,
        help="Least distance, in questions, of two about one pair. Default: 8, or the largest possible.",
        check=at_least(1),
    )
    max_failures: int | None = option(
        None,
        help="Exclude annotators who fail more attention items than this. Default: exclude nobody.",
        check=at_least(0),
    )
    seed: int = option(0, help="Same seed, same draw; links are random.", check=seeds)

    @property
    def n_core(self) -> int:
        """Pairs of the core."""
        return min(10, self.n_pairs) if self.core is None else self.core

    def check_together(self) -> None:
        """Refuse counts that contradict each other."""
        super().check_together()
        for name, most in (
            ("core", "n_pairs"),
            ("ratings", "annotators"),
            ("max_failures", "attention"),
        ):
            value, limit = getattr(self, name), getattr(self, most)
            if value is not None and value > limit:
                raise ArgumentError(f"{name} must be at most {most} {limit}, got {value}")


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """Where the pages of a study are served."""

    PANEL: ClassVar[str | None] = "Server"

    host: str = option(
        "127.0.0.1", help="Address to listen on; any other can be reached by others."
    )
    port: int = option(8765, help="Port to listen on; 0 takes a free one.", check=_port)
    url: str | None = option(
        None,
        help="Address in the links, such as that of a proxy with HTTPS.",
        metavar="URL",
        check=_url,
    )

    @property
    def is_everywhere(self) -> bool:
        """True if the server listens on every address of the machine."""
        return self.host in _EVERYWHERE

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach the server."""
        return self.host.lower() in LOCAL
