"""Connections over HTTP that end in time, through the proxy of the environment; what went wrong with one."""

import contextlib
import http.client
import math
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

from misfired._core import __version__
from misfired.background import Background
from misfired.errors import ArgumentError

USER_AGENT = f"misfired/{__version__}"

#: What urllib3 raises, and lets through where a server breaks HTTP in a way of its own.
TRANSPORT_ERRORS = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
_PROXY_RULE = "must be http(s)://[USER:PASSWORD@]HOST[:PORT]"
_here = threading.local()


class Deadline:
    """Ends the connections of this thread when a time is over, whatever they wait for.

    A socket's own time-out counts from byte to byte, so that a server that sends one now and then is
    never late.

    Example:
        >>> with Deadline(60.0) as deadline:
        ...     deadline.expired
        False
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.extend(seconds)

    def extend(self, seconds: float) -> None:
        """Begin the time anew."""
        self.end = time.monotonic() + seconds

    def __enter__(self) -> "Deadline":
        self._outer = _current()
        _here.deadline = self
        _watchman.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watchman.remove(self)
        _here.deadline = self._outer
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> None:
        """Shut a connection down when the time is over; a second handle outlives its wrapping in TLS."""
        with self._lock:
            self._sockets.append(socket.socket(fileno=socket.dup(connection.fileno())))
            if self.expired:
                _shut(self._sockets)

    def expire(self) -> None:
        """Shut down what is watched."""
        with self._lock:
            self.expired = True
            _shut(self._sockets)


class _Watchman:
    """One thread that waits for the earliest of all deadlines: a thread for each would cost more."""

    def __init__(self) -> None:
        self._watched: set[Deadline] = set()
        self._changed, self._wakes = threading.Condition(), math.inf
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            self._watched.add(deadline)
            if self._thread is None or not self._thread.is_alive():
                # A process that was forked from this one has no thread of it.
                self._thread = threading.Thread(
                    target=self._keep_watch, name="misfired-deadlines", daemon=True
                )
                self._thread.start()
            elif deadline.end < self._wakes:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        with self._changed:
            self._watched.discard(deadline)

    def _keep_watch(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                over = [deadline for deadline in self._watched if deadline.end <= now]
                self._watched.difference_update(over)
                if not over:
                    self._wakes = min((each.end for each in self._watched), default=math.inf)
                    self._changed.wait(min(self._wakes - now, threading.TIMEOUT_MAX))
            for deadline in over:
                deadline.expire()


_watchman = _Watchman()


def _shut(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _current() -> Deadline | None:
    return getattr(_here, "deadline", None)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        if (deadline := _current()) is None:
            return super()._new_conn()
        # Nothing ends the look-up of a name, and each address has a time-out of its own.
        begun = Background(super()._new_conn)
        if not begun.ends_within(deadline.end - time.monotonic()):
            deadline.expire()
            raise ConnectTimeoutError(self, "no connection in time")
        deadline.watch(connection := begun.result())
        return connection

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None and (deadline := _current()) is not None:
            deadline.watch(self.sock)
        super().request(*arguments, **options)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def connections(url: str, n_kept: int = 1) -> urllib3.PoolManager:
    """Return connections to a server; `n_kept` stay open between requests.

    Raises:
        ArgumentError: The environment names a proxy that cannot be used.
    """
    proxy = _proxy_for(url)
    if proxy is None:
        pool = urllib3.PoolManager(maxsize=n_kept)
    else:
        user = urllib.parse.unquote(f"{proxy.username}:{proxy.password or ''}")
        headers = urllib3.make_headers(proxy_basic_auth=user) if proxy.username else None
        address = proxy._replace(netloc=proxy.netloc.rpartition("@")[2], path="").geturl()
        pool = urllib3.ProxyManager(address, maxsize=n_kept, proxy_headers=headers)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


def proxy_secrets(url: str) -> Iterator[str]:
    """Yield the password of the proxy to a server, if it has one."""
    proxy = _proxy_for(url)
    if proxy is not None and proxy.password:
        yield from {proxy.password, urllib.parse.unquote(proxy.password)}


def _proxy_for(url: str) -> urllib.parse.SplitResult | None:
    """Return the proxy that the environment names for a server; `HOST:PORT` alone means HTTP."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return None
    name = f"environment variable {parts.scheme}_proxy"
    try:
        known = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        usable = known.scheme in {"http", "https"} and bool(known.hostname) and known.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = proxy.rpartition("@")[2][:80]
        raise ArgumentError(f"{name} {_PROXY_RULE}, got {shown!r}")
    return known


def cause_of(error: BaseException) -> str:
    """Return the system's own words for an error, without urllib3's object addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__ if not str(error) else str(error)
