"""Addresses, keys, proxies, and options that make no sense."""

import contextlib
import socket
import threading
import time
from functools import partial

import pytest

from helpers import make_suite
from loopback_server import KEY, free_port, serving
from misfired import ArgumentError, ServerError, score, write_suite
from misfired.runs.many import run_many
from misfired.scoring.options import ServerOptions
from misfired.scoring.protocol import GENERATE
from misfired.scoring.server import client
from misfired.scoring.server.client import Client, _retry_after, check_url
from misfired.scoring.server.fault import Fault
from misfired.scoring.server.reply import read_reply

PAIRS = make_suite(2)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "http://",
        "host/v1",
        "http://host:port/v1",
        "http://[::1/v1",
        "https://user:secret@host/v1",
        "https://host/v1?api-key=secret",
        "https://host/v1#secret",
        "http://host/v1\nX-Header: secret",
        "http://the host/v1",
        "http://host\x1b[2J/v1",
    ],
)
def test_addresses_that_are_none_or_hold_a_secret(url: str) -> None:
    with pytest.raises(ArgumentError, match="a server's address must") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "  ", "two words", "sk-\u00fc", "sk-1\nHost: x"])
def test_keys_that_cannot_be_sent(value, monkeypatch) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("THE_KEY", value)
    with pytest.raises(ArgumentError, match="environment variable THE_KEY") as caught:
        Client("http://127.0.0.1:1/v1", ServerOptions(api_key_env="THE_KEY"))
    assert value is None or not value.strip() or value not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("soon", 0.0), (None, 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_seconds_of_a_retry_after_header(header, seconds) -> None:
    assert _retry_after(header) == seconds


def test_without_the_option_no_key_is_sent(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as server:
        score(server.url, PAIRS, protocol="generate")
        assert not any("Authorization" in headers for headers, _ in server.received)


def test_no_server_there() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(ServerError, match=f"{url}/models: no connection: Connection refused"):
        score(url, PAIRS)
    with pytest.raises(ServerError, match="10 prompts in a row failed"):
        score(url, make_suite(20), server_model="small")


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with (
        serving(lambda *_: "moved") as server,
        pytest.raises(ServerError, match="HTTP 307: redirects; name the new address"),
    ):
        score(server.url, PAIRS, protocol="generate")


def test_an_answer_without_end_is_cut_off(monkeypatch) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 50)
    with serving() as server:
        one = Client(server.url, ServerOptions(n_attempts=1))
        with pytest.raises(Fault, match="bad answer: more than 50 bytes"):
            one.ask("chat/completions", dict, {"model": "m", "messages": [{"content": "?"}]})
        one.close()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("[" * 100_000, "nested too deep"),
        ("9" * 5000, "a number of more than 4300 digits"),
        ('{"a": 1', "Expecting"),
        ("\xff", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_what_python_cannot_parse_is_a_bad_answer(sent: str, said: str) -> None:
    with serving(lambda *_: "raw") as server:
        server.raw = sent.encode("latin-1")
        one = Client(server.url, ServerOptions(n_attempts=1))
        with pytest.raises(Fault, match=rf"bad answer: not JSON \({said}"):
            one.ask("chat/completions", dict, {"model": "m", "messages": [{"content": "?"}]})
        one.close()


def test_half_a_character_does_not_stop_a_run(tmp_path) -> None:
    with serving(lambda *_: "raw") as server:
        message = r'{"role": "assistant", "content": "Yes \ud83d."}'
        server.raw = f'{{"choices": [{{"message": {message}, "finish_reason": "stop"}}]}}'.encode()
        answers = score(server.url, PAIRS, protocol="generate", out=tmp_path).answers
    assert set(answers["text"]) == {"Yes ?."}


def test_a_proxy_of_the_environment_is_used(monkeypatch) -> None:
    with serving() as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1").replace("//", "//me:word@"))
        monkeypatch.setenv("no_proxy", "")
        elsewhere = "http://models.invalid/v1"
        answers = score(elsewhere, PAIRS, protocol="generate", server_model="small").answers
        assert set(answers["outcome"]) <= {"correct", "wrong", "abstained", "unparseable"}
        assert server.received[0][0]["proxy-authorization"].startswith("Basic ")
        monkeypatch.setenv("no_proxy", "models.invalid")
        with pytest.raises(ServerError, match="no connection"):
            score(elsewhere, PAIRS, protocol="generate")


def test_several_models_are_listed_one_is_taken(tmp_path) -> None:
    with serving() as server:
        assert score(server.url, PAIRS).manifest["settings"]["server"]["model"] == "small"
        server.models = ["small", "large"]
        with pytest.raises(
            ArgumentError,
            match=r"server_model must be given, got none of 2 models \(small, large\)",
        ):
            score(server.url, PAIRS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "fast"}, "mode must go with a model file"),
        ({"n_gpu_layers": 1}, "n_gpu_layers must go with a model file"),
        ({"template": "own.jinja"}, "with a server, which renders its own; got 'own.jinja'"),
        ({"ray": "local"}, "ray must go with a model file"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"n_attempts": 0}, "n_attempts must be at least 1, got 0"),
        ({"timeout": 0.0}, "timeout must be more than 0, got 0"),
        ({"price": (1.0, -1.0)}, "price must be two numbers of 0 to"),
        ({"extra_body": {"stream": True}}, "extra_body must not hold messages, .*, got .stream."),
        ({"protocol": "json"}, "begins the model's answer"),
    ],
)
def test_options_that_make_no_sense_with_a_server(options, said) -> None:
    with serving() as server, pytest.raises(ArgumentError, match=said):
        score(server.url, PAIRS, **options)


def test_options_of_a_server_make_no_sense_with_a_file() -> None:
    with pytest.raises(ArgumentError, match=r"timeout must go with a server.*, got model\.gguf"):
        score("model.gguf", PAIRS, timeout=1.0)


def test_several_servers_in_turn(tmp_path) -> None:
    with serving() as one, serving() as other:
        runs = run_many([one.url, other.url], PAIRS, out=tmp_path, protocol="generate")
    ports = [server.http.server_port for server in (one, other)]
    assert list(runs) == [f"127.0.0.1-{port}" for port in ports]
    assert all((tmp_path / name / "summary.json").exists() for name in runs)


def test_explain_is_for_files(misfired, tmp_path) -> None:
    write_suite(PAIRS, tmp_path / "pairs.parquet")
    told = misfired(
        "score", "http://127.0.0.1:1/v1", "--suite", tmp_path / "pairs.parquet", "--explain"
    )
    assert told.code == 2
    assert "--explain must have a model file, a server gives no tokens" in told.err


DRIPS = {
    "headers": b"HTTP/1.1 200 OK\r\nX-A: ",
    "a chunk's extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "a body without a length": b"HTTP/1.1 200 OK\r\n\r\n",
    "the status line": b"HTTP/1.",
}


@contextlib.contextmanager
def raw_server(talk):
    """A server that hands each connection to a function, which need not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection):
            with connection, contextlib.suppress(OSError):
                talk(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        listening.shutdown(socket.SHUT_RDWR)


def dripping(start, part=b"1"):
    def talk(connection):
        connection.sendall(start)
        for _ in range(500):
            connection.sendall(part)
            time.sleep(0.02)

    return talk


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_look_up_of_a_name_is_part_of_the_time(scheme, monkeypatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hangs.wait(5.0))
    one = Client(f"{scheme}://slow.example/v1", ServerOptions(timeout=0.2, n_attempts=1))
    began = time.monotonic()
    with pytest.raises(Fault, match=r"^timed out: no answer within 0.2 s$"):
        one.ask("chat/completions", dict, {})
    assert time.monotonic() - began < 1.5
    hangs.set()


@pytest.mark.parametrize(
    "talk",
    [
        *(pytest.param(dripping(start), id=name) for name, start in DRIPS.items()),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="endless 100 Continue"),
        pytest.param(lambda _: time.sleep(2), id="silence"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_time_out_is_a_total(talk, scheme) -> None:
    """Over TLS the drip comes in the handshake, before any HTTP."""
    if scheme == "https" and talk.__name__ == "talk":
        # A record of a handshake that announces 16 kB and brings a byte now and then.
        talk = dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
    with raw_server(talk) as url:
        options = ServerOptions(timeout=0.3, n_attempts=1)
        one = Client(url.replace("http", scheme), options)
        began = time.monotonic()
        with pytest.raises(Fault, match=r"timed out: no answer within 0.3 s|no connection: "):
            one.ask("chat/completions", dict, {})
        assert time.monotonic() - began < 1.5
        one.close()


def answering(payload: bytes):
    def talk(connection):
        connection.recv(65_536)
        connection.sendall(payload)

    return talk


BODY = b'{"choices": []}'
ODD = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n" + BODY,
    "length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + BODY,
    "chunk length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "huge chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "status": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of 5,000 digits": b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
    "status 99": b"HTTP/1.1 99 OK\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "accepted": b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
    "a part": b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\n{}",
    "1,000 headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "long header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "deep error": b"HTTP/1.1 500 Oops\r\n\r\n" + b"[" * 100_000,
    "deep error, closed": b"HTTP/1.1 500 Oops\r\n\r\n" + b"[" * 900 + b"]" * 900,
    "deep answer": b"HTTP/1.1 200 OK\r\n\r\n" + b'{"choices":' * 900 + b"1" + b"}" * 900,
    "Retry-After of 5,000 digits": b"HTTP/1.1 429 Slow\r\nRetry-After: "
    + b"9" * 5000
    + b"\r\n\r\n",
    "Retry-After in the year 99999": (
        b"HTTP/1.1 429 Slow\r\nRetry-After: Wed, 21 Oct 99999 07:28:00 GMT\r\n\r\n"
    ),
    "error as a list": b'HTTP/1.1 400 Bad\r\n\r\n[{"error": [1, {}]}]',
    "error of nothing": b'HTTP/1.1 400 Bad\r\n\r\n{"error": {"message": null, "code": []}}',
    "keys that are none": b'HTTP/1.1 200 OK\r\n\r\n{"choices": {"0": {}}}',
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_responses_are_faults(kind) -> None:
    with raw_server(answering(ODD[kind])) as url:
        one = Client(url, ServerOptions(timeout=5, n_attempts=1))
        with pytest.raises(Fault) as caught:
            one.ask("chat/completions", partial(read_reply, protocol=GENERATE, expected="yes"), {})
        said = str(caught.value)
        assert "\n" not in said
        assert len(said) < 260
        one.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("9" * 5000, 0.0), ("Wed, 21 Oct 99999 07:28:00 GMT", 0.0), ("-5", 0.0)],
)
def test_a_retry_after_that_no_number_holds(header, seconds) -> None:
    assert _retry_after(header) == seconds


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:3128", "ftp://me:word@h:1", "http://", "http://h:port", "h:x"]
)
def test_a_proxy_that_cannot_be_used_is_named(proxy, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ArgumentError, match="environment variable http_proxy must be") as caught:
        Client("http://models.invalid/v1", ServerOptions())
    assert "word" not in str(caught.value)


def test_a_proxy_without_a_scheme_is_one_of_http(monkeypatch) -> None:
    with serving() as server:
        monkeypatch.setenv("http_proxy", server.url.removeprefix("http://").removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "")
        one = Client("http://models.invalid/v1", ServerOptions())
        assert one.ask("models", dict) == {"data": [{"id": "small"}]}
        one.close()
