"""Threads of the core: they survive a fork, stop at Ctrl-C, and are bounded."""

import subprocess
import sys

import pytest

from misfired.errors import ArgumentError
from misfired.stats import bootstrap, permutation_test, power

DATA = "codes = ([True, False, False, True] * 30, [True, True, False, True] * 30); "
SCENARIO = "scenario = [i // 4 for i in range(120)]; "


def run_child(program: str) -> str:
    """Run a program that would hang if what it tests were broken."""
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_child_after_a_fork_computes_what_its_parent_does():
    program = (
        "import os; from misfired.stats import bootstrap; " + DATA + SCENARIO +
        "ask = lambda n: bootstrap(*codes, scenario=scenario, n_threads=n, n_resamples=500)['mar'].high\n"
        "before = ask(None), ask(2)\n"
        "for depth in range(2):\n"
        "    child = os.fork()\n"
        "    if child:\n"
        "        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or (ask(None), ask(2)) != before)\n"
        "os._exit((ask(None), ask(2)) != before)"
    )  # fmt: skip
    run_child(program)


ENDLESS = {
    "bootstrap": "bootstrap(*codes, scenario=scenario, n_resamples=10**8)",
    "studentised": "bootstrap(*codes, scenario=scenario, method='studentised', n_resamples=10**8)",
    "permutation_test": "permutation_test([codes[0], codes[1]], [codes[1], codes[1]], scenario=scenario, "
    "measure='mar', n_resamples=10**8)",
    "power": "power(0.2, 0.1, n_scenarios=50, pairs_per_scenario=4, correlation=0.1, "
    "n_simulations=10**8)",
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_ctrl_c_stops_what_would_take_minutes(name):
    program = (
        "import os, signal, threading; from misfired.stats import *; " + DATA + SCENARIO +
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        f"try:\n    {ENDLESS[name]}\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', bootstrap(*codes, scenario=scenario, n_resamples=9)['mar'].value)"
    )  # fmt: skip
    # The next call is not told to stop.
    assert run_child(program).startswith("stopped ")


@pytest.mark.parametrize("n_threads", [0, -1, 1025, 2**64])
def test_thread_counts_are_bounded(n_threads):
    flags = [True, False], [True, True]
    for ask in (
        lambda: bootstrap(*flags, n_threads=n_threads),
        lambda: permutation_test(*flags, n_threads=n_threads),
        lambda: power(
            0.2, 0.1, n_scenarios=9, pairs_per_scenario=4, correlation=0.1, n_simulations=2,
            n_threads=n_threads,
        ),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"n_threads must be (in|from) \d"):
            ask()
