"""An OpenAI-compatible server on loopback that misbehaves as it is told, and else answers by a rule.

Or, with `upstream`, as a real server does that it stands before.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.server
import json
import math
import socket
import struct
import threading
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

#: Called with the prompt and how often it was asked before; names a fault, or None for an answer.
Plan = Callable[[str, int], str | None]

TEXTS = ("Yes.", "No.", "Yes, it did.", "It cannot be determined.", "Perhaps so")
KEY = "sk-loopback-0123456789abcdef"


def text_for(prompt: str) -> str:
    """The text that the server's model has for a prompt."""
    return TEXTS[zlib.crc32(prompt.encode()) % len(TEXTS)]


def top_tokens_for(prompt: str, n: int) -> list[tuple[str, float]]:
    """Most probable tokens: yes and no forms and others, of probability 0.95 together."""
    digest = zlib.crc32(prompt.encode())
    weights = [1.0 + (digest >> shift) % 7 for shift in range(0, 24, 4)]
    tokens = ("Yes", "No", " yes", "Maybe", "The", "no")
    total = math.fsum(weights) / 0.95
    listed = [(token, math.log(w / total)) for token, w in zip(tokens, weights, strict=True)]
    return sorted(listed, key=lambda token: -token[1])[:n]


class Loopback:
    """A running server; `seen` counts requests by prompt, `received` keeps what came with them."""

    def __init__(
        self,
        plan: Plan = lambda *_: None,
        port: int = 0,
        upstream: str | None = None,
        models_after: float = 0.0,
    ) -> None:
        self.plan, self.upstream = plan, upstream
        self.models_after, self.n_gets, self.retry_after = models_after, 0, "1"
        self.seen: Counter[str] = Counter()
        self.received: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.models = ["small"]
        self.raw = b""
        self.fingerprint: str | None = "fp_1"
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.closed = threading.Event()
        loopback = self

        class Handler(_Handler):
            owner = loopback

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self.http.shutdown()
        self.http.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Loopback

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.owner.n_gets += 1
        self.owner.closed.wait(self.owner.models_after)
        self._send(200, {"data": [{"id": name} for name in self.owner.models]})

    def do_POST(self) -> None:
        owner = self.owner
        self.body = body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.prompt = prompt = body.get("prompt") or body["messages"][-1]["content"]
        with owner.lock:
            n_before = owner.seen[prompt]
            owner.seen[prompt] += 1
            owner.received.append((dict(self.headers), body))
            owner.at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.at_once)
        try:
            fault = owner.plan(prompt, n_before)
            if fault is None:
                self._send(200, self._proper())
            else:
                getattr(self, f"_{fault}")()
        finally:
            with owner.lock:
                owner.at_once -= 1

    def _proper(self) -> dict[str, Any]:
        if self.owner.upstream is None:
            return _answer(self.body, self.prompt, self.owner.fingerprint)
        request = urllib.request.Request(  # noqa: S310
            self.owner.upstream + self.path.removeprefix("/v1"),
            json.dumps(self.body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return dict(json.load(response))

    def _send(self, status: int, content: dict[str, Any], **headers: str) -> None:
        self._send_raw(json.dumps(content).encode(), status, **headers)

    def _send_raw(self, payload: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _error(
        self, status: int, message: str = "", code: str | None = None, **headers: str
    ) -> None:
        self._send(status, {"error": {"message": message, "code": code}}, **headers)

    def _reset(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _limited(self) -> None:
        self._error(429, "too many requests", Retry_After=self.owner.retry_after)

    def _limited_until(self) -> None:
        self._error(429, Retry_After=email.utils.formatdate(time.time() + 2, usegmt=True))

    def _broken(self) -> None:
        self._error(500, f"no memory; you sent {self.headers['Authorization']}")

    def _slow(self) -> None:
        self.owner.closed.wait(10.0)
        self.close_connection = True

    def _dripping(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                self.wfile.write(b" ")
                self.wfile.flush()
                self.owner.closed.wait(0.05)
        self.close_connection = True

    def _malformed(self) -> None:
        self._send_raw(b'{"choices": [{"message": {"content": "Yes')

    def _raw(self) -> None:
        self._send_raw(self.owner.raw)

    def _bytes(self) -> None:
        """The whole response, status line included."""
        self.close_connection = True
        self.wfile.write(self.owner.raw)

    def _no_choice(self) -> None:
        self._send(200, {"choices": []})

    def _empty(self) -> None:
        self._send(200, _answer(self.body, self.prompt, self.owner.fingerprint, text=""))

    def _block(self) -> None:
        self._send(
            200, _answer(self.body, self.prompt, self.owner.fingerprint, finish="content_filter")
        )

    def _block_prompt(self) -> None:
        self._error(400, "The prompt was filtered.", code="content_filter")

    def _refusal(self) -> None:
        self._send(
            200, _answer(self.body, self.prompt, self.owner.fingerprint, refusal="I must decline.")
        )

    def _moved(self) -> None:
        self._send(307, {}, Location="http://127.0.0.1:1/v1")

    def _too_long(self) -> None:
        self._error(400, "the prompt is too long", code="context_length_exceeded")

    def _unauthorised(self) -> None:
        self._error(401, f"wrong key: {self.headers['Authorization']}")


def _answer(
    body: dict[str, Any],
    prompt: str,
    fingerprint: str | None,
    *,
    text: str | None = None,
    finish: str = "stop",
    refusal: str | None = None,
) -> dict[str, Any]:
    text = text_for(prompt) if text is None else text
    if body.get("logprobs"):
        listed = top_tokens_for(prompt, body.get("top_logprobs", body["logprobs"]))
        text, finish = listed[0][0], "length"
        entry = [{"token": token, "logprob": logp, "bytes": None} for token, logp in listed]
    logprobs: dict[str, Any] | None = None
    if "prompt" in body:
        if body.get("logprobs"):
            logprobs = {"top_logprobs": [dict(listed)], "tokens": [text]}
        choice: dict[str, Any] = {"text": text}
    else:
        if body.get("logprobs"):
            logprobs = {"content": [{**entry[0], "top_logprobs": entry}]}
        message = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
        choice = {"message": message}
    return {
        "model": body["model"],
        "system_fingerprint": fingerprint,
        "choices": [{**choice, "index": 0, "finish_reason": finish, "logprobs": logprobs}],
        "usage": {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())},
    }


@contextlib.contextmanager
def serving(
    plan: Plan = lambda *_: None, upstream: str | None = None, models_after: float = 0.0
) -> Iterator[Loopback]:
    """A server for the time of the block."""
    loopback = Loopback(plan, upstream=upstream, models_after=models_after)
    try:
        yield loopback
    finally:
        loopback.close()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
