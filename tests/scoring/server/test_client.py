"""Addresses, keys, proxies, and options that make no sense."""

import pytest

from helpers import make_suite
from loopback_server import KEY, free_port, serving
from misfired import ArgumentError, ServerError, score, write_suite
from misfired.runs.many import run_many
from misfired.scoring.options import ServerOptions
from misfired.scoring.server import client
from misfired.scoring.server.client import Client, _retry_after, check_url
from misfired.scoring.server.fault import Fault

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


def test_no_server_there(monkeypatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.001)
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


@pytest.mark.parametrize("sent", ["[" * 100_000, "9" * 5000, '{"a": 1', "\xff", ""])
def test_what_python_cannot_parse_is_a_bad_answer(sent: str) -> None:
    with serving(lambda *_: "raw") as server:
        server.raw = sent.encode("latin-1")
        one = Client(server.url, ServerOptions(n_attempts=1))
        with pytest.raises(Fault, match="bad answer: not JSON"):
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
        monkeypatch.setattr(client, "FIRST_WAIT", 0.001)
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
        ({"price": (1.0, -1.0)}, "price must be two numbers of at least 0"),
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
