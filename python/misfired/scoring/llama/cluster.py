"""Connections to a Ray cluster: a wrong address fails within seconds."""

import functools
import os
import socket
import threading
from importlib import import_module
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from misfired.background import Background, next_of
from misfired.errors import ArgumentError

#: Seconds within which an address must answer, and a cluster be connected or started.
PROBE_SECONDS, MOST_SECONDS = 2.0, 120.0
_RULE = "ray must be local, auto or the address HOST:PORT of a running cluster"

_connecting = threading.Lock()


def connect(address: str) -> Any:
    """Return Ray, connected to a cluster; with `local`, to one that it starts on this machine.

    Raises:
        ArgumentError: Ray is not installed, or no cluster answers at the address.
    """
    _check_address(address)
    try:
        import ray  # noqa: PLC0415  an optional extra
    except ImportError:
        raise ArgumentError("ray must be installed: pip install 'misfired[ray]'") from None
    with _connecting:
        if not ray.is_initialized():
            try:
                _check_head(address)
                _start(ray, None if address == "local" else address)
            except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
                lines = str(error).splitlines() or [type(error).__name__]
                raise ArgumentError(f"{_RULE}, got {address!r} ({lines[0]})") from None
    return ray


def _start(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one, in a thread that stays: where it ends, a local cluster ends."""
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def hold() -> None:
        try:
            ray.init(address, log_to_driver=False, configure_logging=False)
        except BaseException as error:
            ended.put(error)
            return
        ended.put(None)
        threading.Event().wait()

    threading.Thread(target=hold, name="misfired-ray", daemon=True).start()
    error = next_of(ended, MOST_SECONDS)
    if error is not None:
        raise error


def _check_address(address: str) -> None:
    """Refuse an address at which nothing speaks gRPC, before Ray tries for a quarter of an hour."""
    if address in {"local", "auto"}:
        return
    try:
        parts = urlsplit(address if "://" in address else f"gcs://{address}")
        host, port = parts.hostname, parts.port or (10001 if parts.scheme == "ray" else None)
    except ValueError:
        host = port = None
    if not host or not port:
        raise ArgumentError(f"{_RULE}, got {address!r}")
    asked = Background(functools.partial(_speaks_http2, host, port))
    try:
        if not asked.ends_within(PROBE_SECONDS):
            raise TimeoutError("no answer")
        if not asked.result():
            raise ConnectionError("what listens there is no cluster")
    except OSError as error:
        said = error.strerror or str(error)
        raise ArgumentError(f"{_RULE}, got {address!r} ({said})") from None


def _check_head(address: str) -> None:
    """Refuse an address at which no head of a cluster answers; what Ray may have renamed is not asked."""
    client = getattr(import_module("ray._raylet"), "GcsClient", None)
    if client is None or address in {"local", "auto"} or "://" in address:
        return
    asked = Background(functools.partial(client, address=address))
    if not asked.ends_within(PROBE_SECONDS):
        raise ConnectionError("no head of a cluster answers there")
    asked.result()


def _speaks_http2(host: str, port: int) -> bool:
    """True if a server answers as gRPC does: with settings of HTTP/2 (RFC 9113, section 3.4)."""
    with socket.create_connection((host, port), PROBE_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") not in {"", "0"}:
            return True
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        header = b""
        while len(header) < 9 and (part := connection.recv(9 - len(header))):
            header += part
    return len(header) == 9 and header[3] == 4
