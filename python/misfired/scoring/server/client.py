"""Requests to a server: JSON out, JSON in, retried where that can help.

Failures have kinds, since they mean different things: no connection, connection lost, timed out, a
status, a bad answer. None of them says anything of the model.
"""

import json
import os
import queue
import random
import threading
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from urllib3 import exceptions
from urllib3.util import Retry

from misfired.errors import ArgumentError, ServerError
from misfired.scoring.options import ServerOptions
from misfired.web import USER_AGENT, cause_of, connections

Read = TypeVar("Read")
Task = TypeVar("Task")
Result = TypeVar("Result")
#: Seconds within which a connection must stand.
CONNECT_TIMEOUT = 10.0
#: Seconds. A wait is drawn between 0 and a limit that doubles (full jitter), so that requests that
#: failed together do not come back together.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
#: Most seconds that a server's Retry-After is followed.
LONGEST_RETRY_AFTER = 120.0
#: Most bytes of an answer, which has a few kilobytes.
MOST_BYTES = 16 * 1024 * 1024
#: Statuses below 500 that another attempt can change.
RETRIED = frozenset({408, 409, 425, 429})
#: Statuses that every request would get: key, account, address or method are wrong.
FATAL = frozenset({401, 402, 403, 404, 405})
#: Providers' names of the error that their filter blocked a prompt.
BLOCK_CODES = frozenset(
    {"content_filter", "content_policy_violation", "data_inspection_failed", "moderation_blocked"}
)

#: Shorter keys are placeholders ("EMPTY", "ollama"), which may well be words of an answer.
_LEAST_SECRET = 8

_MOST_DETAIL = 200
_NO_RETRY = Retry(0)
_NEVER_CONNECTED = (exceptions.ConnectTimeoutError, exceptions.SSLError, exceptions.ProxyError)


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


class Client:
    """One server, for many threads at once; its address ends with `/v1`.

    Raises:
        ArgumentError: The address cannot be used, or the variable holds no key.
    """

    def __init__(self, url: str, options: ServerOptions) -> None:
        self.url, self.options = check_url(url), options
        self.n_requests = 0
        self.faults: Counter[str] = Counter()
        self._key = None if options.api_key_env is None else _read_key(options.api_key_env)
        self._pool = connections(self.url, options.concurrency)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # Waiting times need no seed: they change when a number comes, never the number.
        self._random = random.Random()  # noqa: S311

    def ask(
        self, path: str, read: Callable[[Any], Read], body: dict[str, Any] | None = None
    ) -> Read:
        """Read the JSON document that answers a GET, or a POST of another document.

        Args:
            path: Behind the address, such as `chat/completions`.
            read: Reads the content, or raises `Fault` for another attempt.
            body: The document to post.

        Raises:
            Fault: The last attempt failed, or no further one can help.
            ServerError: Every request would fail: the key or the address is wrong.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return read(self._exchange(path, body))
            except Fault as fault:
                with self._lock:
                    self.faults[fault.kind] += 1
                if fault.status in FATAL and not fault.is_block:
                    raise ServerError(f"{self.url}/{path}: {fault}") from None
                limit = min(self.options.n_attempts, fault.n_attempts or self.options.n_attempts)
                if attempt >= limit or self._closed.is_set():
                    raise
                most = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 1))
                asked = min(fault.retry_after, LONGEST_RETRY_AFTER)
                self._closed.wait(asked + self._random.uniform(0.0, most))

    def close(self) -> None:
        """End all waits and close the connections."""
        self._closed.set()
        self._pool.clear()

    def _exchange(self, path: str, body: dict[str, Any] | None) -> Any:
        with self._lock:
            self.n_requests += 1
        status, headers, text = self._send(path, body)
        if 300 <= status < 400:
            raise ServerError(f"{self.url}/{path}: HTTP {status}: redirects; name the new address")
        if status >= 400:
            message, code = _error_of(text)
            n_attempts = None if status in RETRIED or status >= 500 else 1
            retry_after = _retry_after(headers.get("Retry-After"))
            raise Fault(f"HTTP {status}", message, status, code, n_attempts, retry_after)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Fault("bad answer", f"not JSON ({error})") from None
        # Halves of characters, which JSON can spell and no file can hold, become question marks.
        return json.loads(json.dumps(content, ensure_ascii=False).encode(errors="replace"))

    def _send(
        self, path: str, body: dict[str, Any] | None
    ) -> tuple[int, urllib3.HTTPHeaderDict, str]:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        deadline = time.monotonic() + self.options.timeout
        try:
            response = self._pool.request(
                "GET" if body is None else "POST",
                f"{self.url}/{path}",
                json=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=self.options.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            text = self._receive(response, deadline).decode(errors="replace")
        except exceptions.ReadTimeoutError:
            raise self._late() from None
        except _NEVER_CONNECTED as error:
            raise Fault("no connection", cause_of(error)) from None
        except exceptions.HTTPError as error:
            raise Fault("connection lost", cause_of(error)) from None
        # A server may repeat the key: nothing that leaves this module holds it.
        if self._key is not None and len(self._key) >= _LEAST_SECRET:
            text = text.replace(self._key, "[API key]")
        return response.status, response.headers, text

    def _receive(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """Return the body, within the deadline even if it comes in drops."""
        content = bytearray()
        try:
            while part := response.read1(65_536):
                content += part
                if time.monotonic() > deadline:
                    raise self._late()
                if len(content) > MOST_BYTES:
                    raise Fault("bad answer", f"more than {MOST_BYTES} bytes")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return bytes(content)

    def _late(self) -> Fault:
        return Fault("timed out", f"no answer within {self.options.timeout:g} s")


def check_url(url: str) -> str:
    """Return the address without a slash at its end.

    Example:
        >>> check_url("http://127.0.0.1:8000/v1/")
        'http://127.0.0.1:8000/v1'

    Raises:
        ArgumentError: It is no http(s) address, or holds a secret; the message does not repeat it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ArgumentError("a server's address must be http(s)://HOST[:PORT]/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ArgumentError(
            "a server's address must hold no user, password or query, which would be written to files; "
            "name an environment variable that holds the key (--api-key-env)"
        )
    return url.rstrip("/")


def _read_key(name: str) -> str:
    key = os.environ.get(name, "").strip()
    if not key:
        raise ArgumentError(f"environment variable {name} must hold an API key, got none")
    if not (key.isascii() and key.isprintable() and " " not in key):
        rule = "only printable ASCII, no spaces"
        raise ArgumentError(f"environment variable {name} must hold {rule}")
    return key


def _error_of(text: str) -> tuple[str, str]:
    """Return message and code of an error, in the shapes that servers use."""
    try:
        content = json.loads(text)
    except ValueError:
        return text, ""
    error = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(error, dict):
        return str(error), ""
    message = error.get("message") or error.get("detail") or text
    return str(message), str(error.get("code") or error.get("type") or "")


def _retry_after(value: str | None) -> float:
    """Return the seconds of a Retry-After header, which gives seconds or a date."""
    try:
        return float(_NO_RETRY.parse_retry_after(value or "0"))
    except (exceptions.InvalidHeader, OverflowError):
        return 0.0


def in_parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], n_threads: int
) -> Iterator[Result]:
    """Yield `work(task)` of every task, in the order in which they end.

    Threads, unlike asyncio, also work where an event loop runs already (notebooks). They are daemons:
    whoever stops iterating does not wait for requests that nobody reads.

    Raises:
        BaseException: `work` raised it; no further task begins.

    Example:
        >>> sorted(in_parallel(abs, [3, -1, -2], 2))
        [1, 2, 3]
    """
    waiting = deque(tasks)
    n_tasks = len(waiting)
    ended: queue.SimpleQueue[tuple[Result, None] | tuple[None, BaseException]] = queue.SimpleQueue()
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                task = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put((work(task), None))
            except BaseException as error:
                stopped.set()
                ended.put((None, error))

    for _ in range(min(n_threads, n_tasks)):
        threading.Thread(target=serve, name="misfired-server", daemon=True).start()
    try:
        for _ in range(n_tasks):
            result, error = ended.get()
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        stopped.set()
