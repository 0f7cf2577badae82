"""The doctor tells what a server can do before a run is paid for."""

import json

from loopback_server import KEY, free_port, serving
from misfired.scoring.options import ServerOptions
from misfired.scoring.server.examine import examine_server


def test_a_server_that_can_do_all() -> None:
    with serving() as server:
        found = {each.name: each for each in examine_server(server.url, ServerOptions())}
    assert {each.status for each in found.values()} == {"ok"}
    assert found["server"].value == f"{server.url}, model small"
    assert found["log-probabilities"].value.startswith("answer ")
    assert found["fingerprint"].value == "small fp_1"


def test_what_it_cannot_do_is_noted() -> None:
    with serving() as server:
        options = ServerOptions(extra_body={"logprobs": None})
        found = {each.name: each for each in examine_server(server.url, options)}
    assert found["log-probabilities"].status == "note"
    assert found["log-probabilities"].advice == "--protocol generate, or cot"


def test_what_is_broken_is_a_problem(monkeypatch, misfired) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with serving(lambda *_: "broken") as server:
        told = misfired("doctor", server.url, "--api-key-env", "THE_KEY")
    assert told.code == 1
    assert "PROBLEM texts: HTTP 500: no memory; you sent Bearer [API key]" in told.out
    nobody = misfired("doctor", f"http://127.0.0.1:{free_port()}/v1", "--json")
    assert nobody.code == 1
    (row,) = map(json.loads, nobody.out.splitlines())
    assert (row["name"], row["status"]) == ("server", "problem")
    assert "Connection refused" in row["value"]
    named = examine_server(f"http://127.0.0.1:{free_port()}/v1", ServerOptions(server_model="m"))
    assert [(each.name, each.status) for each in named[1:]] == [
        ("texts", "problem"),
        ("log-probabilities", "problem"),
    ]
