"""The key is written nowhere, however a server spells it."""

import base64
import html
import json
import string
import textwrap
import urllib.parse
from collections.abc import Callable
from functools import partial

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import make_suite
from loopback_server import serving
from misfired import score
from misfired.errors import ArgumentError
from misfired.scoring.options import ServerOptions
from misfired.scoring.protocol import GENERATE, LOGIT
from misfired.scoring.server import client
from misfired.scoring.server.client import Client
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import read_reply
from misfired.scoring.server.secret import LEAST_LENGTH, REPLACEMENT, Secrets

PRINTABLE = string.ascii_letters + string.digits + string.punctuation
KEYS = st.text(PRINTABLE, min_size=20, max_size=60).filter(
    # An escaped line break may stand anywhere: a key of such characters alone is not told from them.
    lambda key: sum(char not in "nrtNRT\\=" for char in key) >= LEAST_LENGTH
)


def escaped(text: str) -> str:
    """JSON as some servers write it: every character that is no letter escaped."""
    return "".join(c if c.isalnum() else f"\\u{ord(c):04X}" for c in text)


def numbered(form: str) -> Callable[[str], str]:
    """Every character that is no letter by its number, except those that are not compared."""
    return lambda key: "".join(c if c.isalnum() or c in "\\=" else form.format(ord(c)) for c in key)


SPELLINGS = {
    "as it is": str,
    "upper case": str.upper,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON in JSON": lambda key: json.dumps(json.dumps(key))[1:-1],
    "JSON with slashes escaped": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON, all escaped": escaped,
    "repr": repr,
    "repr of bytes": lambda key: repr(key.encode()),
    "percent": lambda key: urllib.parse.quote(key, safe=""),
    "percent twice": lambda key: urllib.parse.quote(urllib.parse.quote(key, safe=""), safe=""),
    "HTML": html.escape,
    "HTML in JSON": lambda key: json.dumps(html.escape(key))[1:-1],
    "broken lines": lambda key: "\n    ".join(textwrap.wrap(key, 7, break_on_hyphens=False)),
    "broken lines, escaped": lambda key: "\\n".join(key[n : n + 5] for n in range(0, len(key), 5)),
    "broken lines, HTML": lambda key: "<wbr>".join(textwrap.wrap(key, 7, break_on_hyphens=False)),
    "soft hyphens": "\u00ad".join,
    "UTF-16, read as bytes": "\0".join,
    "marks of direction": "\u200e".join,
    "in colours": lambda key: "\x1b[1;31m".join((key[:5], key[5:])),
    "wide letters": lambda key: "".join(chr(ord(c) + 0xFEE0) for c in key),
    "C": numbered("\\{:03o}"),
    "Rust": numbered("\\u{{{:x}}}"),
    "Perl": numbered("\\x{{{:04x}}}"),
    "Python": numbered("\\U{:08x}"),
    "percent, as old browsers": numbered("%u{:04X}"),
    "mail": numbered("={:02X}"),
    "HTML, numbers": lambda key: "".join(f"&#{ord(c):07d}" for c in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "Basic": lambda key: base64.b64encode(f"me:{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=40)
@given(key=KEYS)
@example(key=r"n\n\\r/\t%41&amp;\u0041")
@example(key="sk-ab/cd+efghijklmnop")
@example(key="41abcdef%2")
def test_no_spelling_of_a_key_is_left(spelling, key):
    text = f"Refused: {SPELLINGS[spelling](key)} (sent)"
    cleaned = Secrets([key]).clean(text)
    assert REPLACEMENT in cleaned
    left = cleaned.replace(REPLACEMENT, "")
    # What is left over may be the first or last letters of an encoding, never half of the key.
    assert len(left) <= len("Refused:  (sent)") + 12
    assert Secrets([key]).clean(cleaned) == cleaned


@given(KEYS, st.text(max_size=200))
def test_texts_without_the_key_are_left_alone(key, text):
    if key.lower()[:5] not in text.lower():
        assert Secrets([key]).clean(text) == text or len(text) >= len(key) // 2


def test_half_of_a_key_is_found_and_a_placeholder_is_none():
    assert (
        Secrets(["sk-abcdefghijklmnop"]).clean("key sk-abcdefghij... is") == "key [API key]... is"
    )
    assert Secrets(["EMPTY", "ollama"]).clean("EMPTY ollama") == "EMPTY ollama"


def test_documents_are_cleaned_in_names_values_and_numbers():
    secrets = Secrets(["1234567890"])
    told = {"a 1234567890": [1234567890, 12, None, True], "b": {"c": "x\ud800"}}
    assert secrets.cleaned(told) == {"a [API key]": ["[API key]", 12, None, True], "b": {"c": "x?"}}


KEY = 'sk-ab/cd+"e\\f&gh%ijklmnop'


def echoes(key: str) -> dict[str, bytes]:
    """Raw responses that repeat a key, in every place that HTTP and JSON have."""
    php = json.dumps(key).replace("/", "\\/").replace("+", "\\u002B")
    error = f'{{"error":{{"message":{php},"code":{php},"type":{php}}}}}'
    answer = json.dumps({"choices": [{"message": {"content": "@"}, "finish_reason": "stop"}]})
    answer = answer.replace('"@"', php)

    def response(status: str, body: str, *headers: str) -> bytes:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *headers, "", ""]
        return "\r\n".join(head).encode() + body.encode()

    ok = "HTTP/1.1 200 OK\r\n"
    return {
        "status line": f"Authorization: Bearer {key}\r\n\r\n".encode(),
        "reason": response(f"500 {key}", ""),
        "error": response("400 Bad", error),
        "error, retried": response("503 Busy", error),
        "error that ends the run": response("401 No", error),
        "error, no JSON": response("400 Bad", f"<p>{html.escape(key)}</p>"),
        "error, cut JSON": response("400 Bad", error[:-3]),
        "answer": response("200 OK", answer),
        "finish_reason": response("200 OK", answer.replace('"stop"', php)),
        "name": response("200 OK", f"{{{php}: 1}}"),
        "error in 200": response("200 OK", error),
        "chunk length": f"{ok}Transfer-Encoding: chunked\r\n\r\n{key}\r\n".encode(),
        "header": response("200 OK", answer, f"X-Echo Bearer {key}"),
        "length": f"{ok}Content-Length: {key}\r\n\r\nYes".encode(),
        "encoding": response("200 OK", answer, f"Content-Encoding: {key}"),
        "retry after": response("429 Slow", error, f"Retry-After: {key}"),
        "redirect": response("307 T", "", f"Location: http://127.0.0.1:1/{key}"),
        "fingerprint": response("200 OK", answer[:-1] + f', "model": {php}}}'),
    }


@pytest.mark.parametrize("place", echoes(KEY))
def test_a_key_that_a_server_repeats_stays_here(place, monkeypatch, tmp_path, misfired):
    monkeypatch.setenv("THE_KEY", KEY)
    monkeypatch.setattr(client, "LONGEST_RETRY_AFTER", 0.01)
    pairs = make_suite(2)
    pairs.write_parquet(tmp_path / "suite.parquet")
    with serving(lambda *_: "bytes") as server:
        server.raw = echoes(KEY)[place]
        told = misfired(
            *("score", server.url, "--suite", tmp_path / "suite.parquet", "-o", tmp_path / "run"),
            *("--protocol", "generate", "--api-key-env", "THE_KEY", "--n-attempts", "2"),
            *("--cache", tmp_path / "cache", "--server-model", "m"),
        )
    shown = told.out + told.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (KEY, KEY[3:], json.dumps(KEY)[1:-1], json.dumps(json.dumps(KEY))[1:-1]):
        assert secret not in shown
        assert all(secret.encode() not in path.read_bytes() for path in files)
    if (tmp_path / "run" / "answers.parquet").exists():
        rows = pl.read_parquet(tmp_path / "run" / "answers.parquet").to_dicts()
        assert KEY[3:] not in "".join(f"{value}" for row in rows for value in row.values())


PARTS = [{"type": "text", "text": KEY[n : n + 5]} for n in range(0, len(KEY), 5)]
BYTES = [
    {"token": "token_id:5", "bytes": list(KEY.encode()), "logprob": -0.1},
    {"token": "Yes", "logprob": -3.0},
]


@pytest.mark.parametrize(
    ("protocol", "choice"),
    [
        (GENERATE, {"message": {"content": PARTS}}),
        (LOGIT, {"text": "x", "logprobs": {"content": [{**BYTES[0], "top_logprobs": BYTES}]}}),
    ],
    ids=["parts of a text", "bytes of a token"],
)
def test_a_key_that_reading_puts_together_is_taken_out(protocol, choice, monkeypatch):
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    read = partial(read_reply, protocol=protocol, expected="yes")
    with serving(lambda *_: "raw") as server:
        server.raw = json.dumps({"choices": [choice]}).encode()
        asked = Client(server.url, ServerOptions(api_key_env="LOOPBACK_KEY"))
        row = asked.ask("chat/completions", read, {"prompt": "?"})
    assert KEY not in row.values()
    assert REPLACEMENT in row.values()


def test_numbers_that_are_computed_stay_numbers(monkeypatch):
    """A key of digits, here the first of the mass, is no part of them."""
    monkeypatch.setenv("LOOPBACK_KEY", "9487743516593")
    listed = [{"token": "Yes", "logprob": -0.1}, {"token": "No", "logprob": -3.125}]
    choice = {"message": {}, "logprobs": {"content": [{**listed[0], "top_logprobs": listed}]}}
    with serving(lambda *_: "raw") as server:
        server.raw = json.dumps({"choices": [choice]}).encode()
        asked = Client(server.url, ServerOptions(api_key_env="LOOPBACK_KEY"))
        read = partial(read_reply, protocol=LOGIT, expected="yes")
        assert isinstance(asked.ask("chat/completions", read, {"prompt": "?"})["mass"], float)


def test_a_key_in_an_option_is_refused(monkeypatch):
    monkeypatch.setenv("THE_KEY", "sk-0123456789")
    for options, name in (
        ({"extra_body": {"key": "sk-0123456789"}}, "extra_body"),
        ({"server_model": "sk-0123456789"}, "server_model"),
    ):
        with pytest.raises(ArgumentError, match=f"{name} must not hold the API key") as caught:
            Client("http://127.0.0.1:1/v1", ServerOptions(api_key_env="THE_KEY", **options))
        assert "0123456789" not in str(caught.value)


def test_the_password_of_a_proxy_is_a_secret(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:pass%2Fword123@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    one = Client("http://models.invalid/v1", ServerOptions(n_attempts=1))
    assert one._secrets.clean("you sent pass/word123") == "you sent [API key]"
    with pytest.raises(Fault) as caught:
        one.ask("chat/completions", dict, {})
    assert "word123" not in str(caught.value)


def test_a_run_with_a_clean_server_is_the_same_with_a_key(monkeypatch):
    monkeypatch.setenv("THE_KEY", KEY)
    pairs = make_suite(4)
    with serving() as server:
        plain, keyed = (
            score(server.url, pairs, protocol="generate", api_key_env=name).answers
            for name in (None, "THE_KEY")
        )
    assert plain.equals(keyed)
