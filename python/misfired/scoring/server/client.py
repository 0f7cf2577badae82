"""Requests to a server: JSON out, JSON in, retried where that can help.

Failures have kinds, since they mean different things: no connection, connection lost, timed out, a
status, a bad answer. None of them says anything of the model.
"""

import json
import os
import random
import sys
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import urllib3
from urllib3 import exceptions
from urllib3.util import Retry

from misfired.background import wait
from misfired.errors import ArgumentError, MisfiredError, ServerError
from misfired.scoring.options import ServerOptions
from misfired.scoring.server.fault import Fault, described
from misfired.scoring.server.secret import Secrets, members
from misfired.web import (
    TRANSPORT_ERRORS,
    USER_AGENT,
    Deadline,
    cause_of,
    connections,
    proxy_secrets,
)

Read = TypeVar("Read")
#: Seconds within which a connection must stand.
CONNECT_TIMEOUT = 10.0
#: Seconds. A wait is drawn between 0 and a limit that doubles (full jitter), so that requests that
#: failed together do not come back together.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
#: Most seconds that a server's Retry-After is followed.
LONGEST_RETRY_AFTER = 120.0
#: Most bytes of an answer, which has a few kilobytes.
MOST_BYTES = 16 * 1024 * 1024
#: Statuses of an answer; others below 300 promise one, or a part.
ANSWERED = frozenset({200, 201, 203})
#: Statuses below 500 that another attempt can change.
RETRIED = frozenset({408, 409, 425, 429})
#: Statuses that every request would get: key, account, address or method are wrong.
FATAL = frozenset({401, 402, 403, 404, 405})
_NO_RETRY = Retry(0)
_NEVER_CONNECTED = (exceptions.ConnectTimeoutError, exceptions.SSLError, exceptions.ProxyError)
#: What reading content of any shape can raise.
_UNREADABLE = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


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
        self._secrets = Secrets([*([self._key] if self._key else []), *proxy_secrets(self.url)])
        told = {
            "address": self.url,
            "server_model": options.server_model or "",
            "extra_body": json.dumps(options.extra_body, default=str),
        }
        for name in filter(lambda name: self._secrets.found_in(told[name]), told):
            rule = "must not hold the API key, which would be written to files"
            raise ArgumentError(f"{name} {rule}")
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
                return self._attempt(path, read, body)
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
                wait(self._closed, asked + self._random.uniform(0.0, most))

    def close(self) -> None:
        """End all waits and close the connections."""
        self._closed.set()
        self._pool.clear()

    def _attempt(self, path: str, read: Callable[[Any], Read], body: dict[str, Any] | None) -> Read:
        """Ask once. Everything that a server says leaves through here, without the key."""
        try:
            try:
                found = read(self._exchange(path, body))
                if isinstance(found, dict):
                    # Reading joins the parts of a text, and decodes bytes.
                    texts = {name: each for name, each in found.items() if isinstance(each, str)}
                    found.update({name: self._secrets.clean(texts[name]) for name in texts})
                return found
            except (Fault, MisfiredError):
                raise
            except _UNREADABLE as error:
                raise Fault("bad answer", f"unreadable ({type(error).__name__})") from None
        except Fault as fault:
            fault.detail = self._secrets.clean(fault.detail)
            raise fault from None
        except ServerError as error:
            raise ServerError(self._secrets.clean(str(error))) from None

    def _exchange(self, path: str, body: dict[str, Any] | None) -> Any:
        with self._lock:
            self.n_requests += 1
        status, headers, text = self._send(path, body)
        if 300 <= status < 400:
            raise ServerError(f"{self.url}/{path}: HTTP {status}: redirects; name the new address")
        content, problem = self._decode(text)
        if status >= 400:
            message, code = described(content, text) if problem is None else (text, "")
            n_attempts = None if status in RETRIED or status >= 500 else 1
            retry_after = _retry_after(headers.get("Retry-After"))
            raise Fault(f"HTTP {status}", message, status, code, n_attempts, retry_after)
        if status not in ANSWERED:
            raise Fault(f"HTTP {status}", text, status)
        if problem is not None:
            raise Fault("bad answer", f"not JSON ({problem})")
        return content

    def _decode(self, text: str) -> tuple[Any, str | None]:
        """Return the JSON document of a text without the key, and what is wrong with it."""
        try:
            return self._secrets.cleaned(json.loads(text, object_pairs_hook=members)), None
        except json.JSONDecodeError as error:
            return None, str(error)
        except RecursionError:
            return None, "nested too deep"
        except ValueError:
            return None, f"a number of more than {sys.get_int_max_str_digits()} digits"

    def _send(
        self, path: str, body: dict[str, Any] | None
    ) -> tuple[int, urllib3.HTTPHeaderDict, str]:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        patience = self.options.timeout
        connect = min(CONNECT_TIMEOUT, patience)
        with Deadline(patience) as deadline:
            try:
                response = self._pool.request(
                    "GET" if body is None else "POST",
                    f"{self.url}/{path}",
                    json=body,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=connect, read=patience),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
                content = _receive(response)
            except TRANSPORT_ERRORS as error:
                if deadline.expired or isinstance(error, exceptions.ReadTimeoutError):
                    raise self._late() from None
                never = isinstance(error, _NEVER_CONNECTED)
                kind = "no connection" if never else "connection lost"
                raise Fault(kind, cause_of(error)) from None
        if deadline.expired:
            # A body without a length ends where the connection does.
            raise self._late()
        return response.status, response.headers, content.decode("utf-8-sig", errors="replace")

    def _late(self) -> Fault:
        return Fault("timed out", f"no answer within {self.options.timeout:g} s")


def _receive(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the body of a response."""
    content = bytearray()
    try:
        while part := response.read1(65_536):
            content += part
            if len(content) > MOST_BYTES:
                raise Fault("bad answer", f"more than {MOST_BYTES} bytes")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(content)


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
        is_http = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = is_http and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise ArgumentError("a server's address must be http(s)://HOST[:PORT]/v1, without spaces")
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


def _retry_after(value: str | None) -> float:
    """Return the seconds of a Retry-After header, which gives seconds or a date."""
    try:
        return float(_NO_RETRY.parse_retry_after(value or "0"))
    except (exceptions.HTTPError, OverflowError, TypeError, ValueError):
        # A number or a date that none can be.
        return 0.0
