"""Ctrl-C ends every command within a second, with code 130 and no traceback; answers so far are kept."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers import make_suite
from loopback_server import serving
from misfired import write_suite
from misfired.runs.folder import JOURNAL

#: Seconds: the promise is one, and a busy machine adds some.
MOST_SECONDS = 1.0


def start(code_or_command, *arguments, **options) -> subprocess.Popen:
    """A process that hears SIGINT, whatever the one that started it does with it."""
    return subprocess.Popen(
        [sys.executable, *map(str, (*code_or_command, *arguments))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        **options,
    )


def interrupted(process: subprocess.Popen, times: int = 1) -> tuple[float, str]:
    """Interrupt it; return the seconds until it ends, and what it says."""
    began = time.monotonic()
    assert process.poll() is None, process.communicate()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    try:
        _, said = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("Ctrl-C did not end it within 20 s")
    return time.monotonic() - began, said


def until(condition, seconds=30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def suite(tmp_path) -> Path:
    write_suite(make_suite(20), tmp_path / "suite.parquet")
    return tmp_path / "suite.parquet"


def ends_well(process, times=1, *, may_be_python=False):
    seconds, said = interrupted(process, times)
    if may_be_python and process.returncode == -signal.SIGINT and "misfired/cli" not in said:
        return  # Python was starting, and had not come to the command.
    assert process.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in said
    assert seconds < MOST_SECONDS


WAITS = {"slow": (), "limited": (), "dripping": ("--timeout", "60")}


@pytest.mark.parametrize(("fault", "times"), [("slow", 1), ("limited", 3), ("dripping", 1)])
def test_a_server_that_does_not_answer(fault, times, suite, tmp_path):
    """Five answers, then none: waiting for a reply, a Retry-After, or the next byte."""

    def plan(prompt: str, _: int) -> str | None:
        return None if len(server.seen) <= 5 else fault

    with serving(plan) as server:
        server.retry_after = "100"
        process = start(
            ("-m", "misfired", "run", server.url, "--suite", suite, "-o", tmp_path / "run"),
            *("--protocol", "generate", "--concurrency", "4", "--priming", "none", *WAITS[fault]),
        )
        until(lambda: len(server.seen) >= 9)
        time.sleep(0.2)
        ends_well(process, times)
    assert (tmp_path / "run" / JOURNAL).read_bytes().count(b"\n") == 5


def test_a_server_that_is_asked_for_its_models(suite, tmp_path):
    """Before the first prompt it is the main thread that waits."""
    with serving(models_after=20.0) as server:
        process = start(
            ("-m", "misfired", "run", server.url, "--suite", suite, "-o", tmp_path / "run")
        )
        until(lambda: server.n_gets)
        ends_well(process)


def test_a_download(tmp_path):
    with serving(models_after=20.0) as server:
        process = start(("-m", "misfired", "bbq", "fetch", tmp_path, "--base-url", server.url))
        until(lambda: server.n_gets)
        ends_well(process)


#: What a main thread may wait in, beyond what this package waits for itself.
BLOCKED = {
    "a lock": "import polars, threading; l = threading.Lock(); l.acquire(); go(); l.acquire()",
    "a queue": "import polars, queue; go(); queue.SimpleQueue().get()",
    "a thread": (
        "import polars, threading, time; t = threading.Thread(target=time.sleep, args=(30,)); "
        "t.start(); go(); t.join()"
    ),
    "a pool at the end": (
        "from concurrent.futures import ThreadPoolExecutor as P; import time; p = P(1); "
        "p.submit(time.sleep, 30); go(); time.sleep(30)"
    ),
    "a child": "import polars, subprocess; go(); subprocess.Popen(['sleep', '30']).wait()",
    "an import": "go(); import slow_module",
    "a callback that swallows it": "go()\ntry:\n time.sleep(30)\nexcept BaseException: pass\ntime.sleep(30)",
    "a pipe": "import polars, os; r, w = os.pipe(); go(); os.read(r, 1)",
}


_ALIKE = {"a queue", "a thread", "a pipe", "an import"}


@pytest.mark.parametrize(
    "waits", [pytest.param(w, marks=pytest.mark.ci if w in _ALIKE else ()) for w in BLOCKED]
)
def test_whatever_the_main_thread_waits_in(waits, tmp_path):
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(30)\n")
    code = f"""
import sys, time
from misfired import cli
def go():
    sys.stdout.write('go\\n'); sys.stdout.flush()
def work(_):
    exec({BLOCKED[waits]!r}, {{"go": go, "time": time}})
cli._run = work
cli.main()
"""
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    process = start(("-c", code), env={**os.environ, "PYTHONPATH": paths})
    assert process.stdout.readline() == "go\n"
    time.sleep(0.1)
    ends_well(process)


@pytest.mark.ci
def test_early_in_a_command(suite, tmp_path):
    """While modules are imported and files are read."""
    for delay in (0.2, 0.35, 0.5, 0.8):
        process = start(
            ("-m", "misfired", "run", "http://127.0.0.1:9/v1", "--suite", suite),
            *("-o", tmp_path / "run", "--server-model", "m"),
        )
        time.sleep(delay)
        if process.poll() is None:
            ends_well(process, may_be_python=True)


def test_a_process_that_ignores_it_goes_on(tmp_path):
    code = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from misfired import cli\n"
        "def work(_):\n print('go', flush=True); time.sleep(0.8); return 0\n"
        "cli._run = work; cli.main()"
    )
    process = start(("-c", code))
    assert process.stdout.readline() == "go\n"
    interrupted(process)
    assert process.returncode == 0


def test_signals_are_left_as_they_were(misfired):
    before = signal.getsignal(signal.SIGINT)
    n_threads = threading.active_count()
    misfired("--version")
    assert signal.getsignal(signal.SIGINT) is before
    until(lambda: threading.active_count() <= n_threads)
    with contextlib.suppress(ValueError):
        assert signal.set_wakeup_fd(-1) == -1
