"""An address at which no cluster is fails at once, in one line."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from helpers import make_suite
from loopback_server import free_port
from misfired import ArgumentError, score, write_suite
from misfired.scoring.llama import cluster

SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """The address of a server that says one thing, or nothing, to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if answer is not None:
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


def refused(address: str) -> str:
    began = time.monotonic()
    with pytest.raises(ArgumentError, match="ray must be local, auto or the address") as caught:
        score("model.gguf", make_suite(2), ray=address)
    assert time.monotonic() - began < 5
    assert repr(address) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "address", ["nonsense", "", "127.0.0.1:99999", "127.0.0.1:port", ":6379", "[::1:6379", "local:"]
)
def test_what_is_no_address(address):
    refused(address)


def test_nobody_listens():
    assert "Connection refused" in refused(f"127.0.0.1:{free_port()}")
    assert "Connection refused" in refused(f"ray://127.0.0.1:{free_port()}")


def test_something_else_listens(monkeypatch):
    with listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as address:
        assert "what listens there is no cluster" in refused(address)
    with listening(b"") as address:
        monkeypatch.setattr(cluster, "PROBE_SECONDS", 0.2)
        said = refused(address)
        assert "no answer" in said or "timed out" in said


def test_a_name_that_is_none():
    refused("no.such.host.invalid:6379")


@pytest.mark.ci
def test_another_service_that_speaks_as_ray_does():
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with listening(SETTINGS) as address:
        # Importing Ray is not its answer: a busy machine takes long for it.
        assert "no head of a cluster answers there" in refused(address)


@pytest.mark.slow
@pytest.mark.model
def test_ctrl_c_ends_a_run_on_a_cluster(small_model, tmp_path):
    """Within a second, and with it the cluster that the run has started."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    write_suite(make_suite(4000), tmp_path / "suite.parquet")
    options = ("--suite", tmp_path / "suite.parquet", "-o", tmp_path / "run", "--ray", "local")
    process = subprocess.Popen(
        [sys.executable, "-m", "misfired", "run", small_model, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    with process:
        for line in process.stderr:
            if line.endswith("scoring\n"):
                break
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - began < 1.5
