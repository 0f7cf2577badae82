"""Fuzz planner, token join, answer parser, model files, readers and servers' replies for some minutes.

    python tools/fuzz.py --minutes 10

Each target gets the same share of the time. It is run in rounds of ever new random cases by its own
test runner (proptest, hypothesis), which shrinks a failing case and keeps it for the next run. At the
first failure the program ends with that runner's report and exit code 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Seconds that a round should take, and cases of the first one, by which its speed is found.
ROUND_SECONDS = 45.0
FIRST_CASES = 100

PLANNER = (
    "plan::tests::each_output_sees_its_own_sequence_and_nothing_else",
    "plan::tests::a_solo_sequence_goes_through_the_kernels_that_it_goes_through_alone",
    "generate::schedule::tests::every_prompt_gets_the_text_that_it_gets_alone",
)


class FailedError(Exception):
    """A case that fails; the message is the runner's report."""


@dataclass
class Spent:
    """What a target was given."""

    target: str
    n_cases: int = 0
    seconds: float = 0.0


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(  # noqa: S603  our own test runners
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FailedError(done.stdout)
    return done.stdout


def planner(n_cases: int) -> int:
    """The same number of cases for each property; returns how many in all."""
    command = ["cargo", "test", "--release", "-q", "-p", "misfired-llama", "--lib", "--", "--exact"]
    said = run([*command, *PLANNER], PROPTEST_CASES=str(n_cases))
    if f"{len(PLANNER)} passed" not in said:
        raise FailedError(f"not every property of the planner was found\n{said}")
    return n_cases * len(PLANNER)


def properties(module: str) -> Callable[[int], int]:
    """The properties of a test module, each in turn."""

    def cases(n_cases: int) -> int:
        options = ["-q", "--hypothesis-profile=fuzz", "--hypothesis-show-statistics"]
        said = run(
            [sys.executable, "-m", "pytest", *options, f"tests/fuzz/{module}.py"],
            MISFIRED_FUZZ_CASES=str(n_cases),
        )
        found = [int(n) for n in re.findall(r"(\d+) passing", said)]
        if not found or " skipped" in said:
            raise FailedError(said)
        return sum(found)

    return cases


TARGETS: dict[str, Callable[[int], int]] = {
    "planner": planner,
    "join": properties("test_fuzz_join"),
    "parser": properties("test_fuzz_parser"),
    "gguf": properties("test_fuzz_gguf"),
    "readers": properties("test_fuzz_readers"),
    "replies": properties("test_fuzz_replies"),
}


def fuzz(name: str, seconds: float) -> Spent:
    """Run rounds until the time is spent."""
    TARGETS[name](1)  # builds what has to be built
    spent = Spent(name)
    n_cases = FIRST_CASES
    while spent.seconds < seconds:
        start = time.monotonic()
        spent.n_cases += TARGETS[name](n_cases)
        took = time.monotonic() - start
        spent.seconds += took
        n_cases = max(1, int(n_cases * min(ROUND_SECONDS, max(seconds - spent.seconds, 1)) / took))
        print(f"{name}: {spent.n_cases:,} cases in {spent.seconds:.0f} s", file=sys.stderr)
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="default: all")
    options = parser.parse_args()
    names = options.target or [*TARGETS]
    try:
        for spent in [fuzz(name, 60 * options.minutes / len(names)) for name in names]:
            print(
                f"{spent.target:8} {spent.n_cases:>10,} cases {spent.seconds:6.0f} s, none failed"
            )
    except FailedError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
