"""`fetch_bbq` against a server on loopback that misbehaves in every way a server can."""

import contextlib
import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from misfired import ArgumentError, DataError, FetchError, fetch_bbq
from misfired.suites import BBQ_CATEGORIES, bbq
from misfired.suites import fetch as fetching

CONTENT = bytes(range(256)) * 2000
HALF = len(CONTENT) // 2


def endless(connection):
    """More than any file has."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b"x" * 10_000)


def claimed(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n" + b"x" * 10_000)


def dripping(start):
    """A byte now and then, for ever, after a beginning."""

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + start)
        for _ in range(1000):
            connection.sendall(b"1")
            time.sleep(0.02)

    return drip


SLOW = {
    "headers": dripping(b"X-A: "),
    "body": dripping(b"Content-Length: 1000000\r\n\r\n"),
    "body without a length": dripping(b"\r\n"),
    "chunk extension": dripping(b"Transfer-Encoding: chunked\r\n\r\n5;"),
    "one byte a connection": lambda connection: connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx"
    ),
}


class Server:
    """Serves `content`; `cuts` are the bytes after which the next responses break off."""

    def __init__(self):
        self.bytes = None
        self.content, self.cuts, self.statuses = CONTENT, [], []
        self.ranges = True
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/data"

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        if self.bytes is not None:
            request.close_connection = True
            with contextlib.suppress(OSError):
                self.bytes(request.connection)
            return
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(self.content):
            request.send_error(416)
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@pytest.fixture
def server(monkeypatch):
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(bbq._GIT_BLOBS, "Age", blob)
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def fetch(server, folder, **options):
    return fetch_bbq(folder, base_url=server.url, categories=["Age"], **options)


def test_a_file_arrives_whole_and_is_not_fetched_again(server, tmp_path):
    calls = []
    folder = tmp_path / "new" / "bbq"
    [file] = fetch(server, folder, progress=lambda *call: calls.append(call))
    assert file == folder / "Age.jsonl"
    assert file.read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["Age.jsonl"]
    assert calls[0] == ("Age", 0, len(CONTENT))
    assert calls[-1] == ("Age", len(CONTENT), len(CONTENT))
    assert fetch(server, folder) == [file]
    assert server.requests == [("/data/Age.jsonl", None)]


def test_a_cut_connection_is_resumed(server, tmp_path):
    server.cuts = [HALF, 1000]
    [file] = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]


def test_a_later_call_goes_on_where_the_earlier_one_stopped(server, tmp_path):
    (tmp_path / "Age.jsonl.part").write_bytes(CONTENT[:HALF])
    fetch(server, tmp_path)
    assert server.requests == [("/data/Age.jsonl", f"bytes={HALF}-")]


def test_a_complete_part_is_taken(server, tmp_path):
    (tmp_path / "Age.jsonl.part").write_bytes(CONTENT)
    [file] = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    server.cuts = [HALF]
    [file] = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(server, tmp_path):
    (tmp_path / "Age.jsonl.part").write_bytes(b"x" * HALF)
    [file] = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT


def test_other_content_is_refused_and_nothing_is_left(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(FetchError, match=r"Age.jsonl: git blob must be \w{40}, got \w{40}"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_always_cuts_is_given_up_and_the_part_kept(server, tmp_path):
    server.cuts = [HALF] + [0] * 10
    with pytest.raises(FetchError, match="connection cut, 4 times in a row"):
        fetch(server, tmp_path)
    assert (tmp_path / "Age.jsonl.part").read_bytes() == CONTENT[:HALF]
    assert not (tmp_path / "Age.jsonl").exists()


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(FetchError, match=r"Age.jsonl: HTTP 404"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1


def test_a_server_error_is_retried_a_few_times(server, tmp_path):
    server.statuses = [503, 500]
    [file] = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT
    file.unlink()
    server.statuses = [503] * 4
    with pytest.raises(FetchError, match=r"HTTP 503 .*, 4 times in a row"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("sent", [endless, claimed])
def test_more_bytes_than_any_file_has_end_it(sent, server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_BYTES", 1_000_000)
    server.bytes = sent
    with pytest.raises(FetchError, match=r"Age.jsonl: must be at most 1000000 bytes, got"):
        fetch(server, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", SLOW)
def test_a_server_that_is_too_slow_is_given_up(kind, server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "WINDOW_SECONDS", 0.2)
    server.bytes = SLOW[kind]
    began = time.monotonic()
    with pytest.raises(FetchError, match="4 times in a row"):
        fetch(server, tmp_path)
    assert time.monotonic() - began < 5


def test_a_slow_server_that_is_fast_enough_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "WINDOW_SECONDS", 0.4)

    def steady(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT))
        for start in range(0, len(CONTENT), 50_000):
            connection.sendall(CONTENT[start : start + 50_000])
            time.sleep(0.1)

    server.bytes = steady
    [file] = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_that_is_a_link_is_refused(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    part = tmp_path / "Age.jsonl.part"
    part.symlink_to(victim)
    with pytest.raises(DataError, match=r"Age.jsonl.part: must be a file, got a link"):
        fetch(server, tmp_path)
    assert victim.read_text() == "precious"
    part.unlink()
    part.symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match="must be a file"):
        fetch(server, tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("length", ["abc", "9" * 5000, "-1", "1_0", "\u0661"])
def test_a_length_that_is_none(length, server, tmp_path):
    server.bytes = lambda connection: connection.sendall(
        f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + CONTENT
    )
    try:
        [file] = fetch(server, tmp_path)
    except FetchError:
        return
    assert file.read_bytes() == CONTENT


def test_nobody_listens(server, tmp_path):
    server.http.server_close()
    with pytest.raises(FetchError, match="refused, 4 times in a row"):
        fetch(server, tmp_path)


def test_another_file_in_the_place_is_not_overwritten(server, tmp_path):
    (tmp_path / "Age.jsonl").write_text("mine")
    with pytest.raises(DataError, match=r"Age.jsonl: git blob .* move it away"):
        fetch(server, tmp_path)
    assert (tmp_path / "Age.jsonl").read_text() == "mine"
    assert server.requests == []


def test_arguments(tmp_path):
    with pytest.raises(
        ArgumentError, match="base_url must be http:// or https://, got 'file:///etc'"
    ):
        fetch_bbq(tmp_path, base_url="file:///etc")
    with pytest.raises(ArgumentError, match=r"category must be one of Age, .*, got 'Agee'"):
        fetch_bbq(tmp_path, categories=["Agee"])


def test_the_pinned_blobs_are_those_of_the_original_files(test_data):
    # The other files of the test data are regenerated, so their blobs differ.
    original = "Age Disability_status Nationality Physical_appearance Religion Sexual_orientation"
    for category in original.split():
        assert (
            fetching.git_blob(test_data / "bbq" / f"{category}.jsonl") == bbq._GIT_BLOBS[category]
        )
    assert len(BBQ_CATEGORIES) == 11


@pytest.mark.parametrize("name", ["Age.jsonl", "Age.jsonl.part"])
def test_a_pipe_in_the_place_is_refused_at_once(server, tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}: must be a file, got a pipe"):
        fetch(server, tmp_path)
