"""Run misfired for long and at large: memory, open files and threads must stay flat.

    python tools/soak.py                  # 20,000 prompts, 200 runs, 300,000 pairs
    python tools/soak.py --scale 0.02     # the same parts, smaller, in less than a minute

Asks the shipped organism, on one thread. Each part runs in a process of its own, whose memory, handles and
threads are read after every tenth of its work (Linux: /proc). Flat means: from the third tenth to the last,
memory grows by at most 16 MB, and neither handles nor threads grow. Prints a table in Markdown; exit code 1
if a part is not flat.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from misfired import build_outcomes, read_answers, run, score, summarize
from misfired.suites.organism import build_organism_suite, models

#: What each part does at scale 1.
SIZES = {"prompts": 20_000, "runs": 200, "pairs": 300_000}
#: Pairs of each of many runs; times that all pairs are read and summarised.
N_PAIRS_OF_A_RUN, N_READ = 8, 10
#: Tenths of the work until caches and pools are filled, and what memory may grow by from there on.
N_WARM, MOST_GROWN = 3, 16e6

Sample = dict[str, float]


def sample() -> Sample:
    """Return resident memory in bytes, open handles and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "handles": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "threads": sum(1 for _ in Path("/proc/self/task").iterdir()),
    }


class Tenths:
    """Samples after every tenth of the work."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def __call__(self, n_done: int, n: int) -> None:
        while len(self.samples) < 10 * n_done // n:
            self.samples.append(sample())


def many_pairs(n: int) -> pl.DataFrame:
    """Return the organism's pairs again and again, under names of their own, until there are `n`."""
    suite = build_organism_suite()
    copies = [
        suite.with_columns(
            pl.format("{}_{}", name, pl.lit(copy)).alias(name) for name in ("id", "scenario")
        )
        for copy in range(-(-n // len(suite)))
    ]
    return pl.concat(copies).head(n)


def soak_prompts(n: int, folder: Path, tenths: Tenths) -> None:
    """Ask `n` prompts in one run, which writes a run folder."""
    pairs = many_pairs(n // 2)
    options: dict[str, Any] = {"priming": ["none"], "n_threads": 1}
    found = score(models()["instruct"], pairs, out=folder / "run", progress=tenths, **options)
    assert len(found.answers) == 2 * len(pairs)


def soak_runs(n: int, folder: Path, tenths: Tenths) -> None:
    """Make `n` runs in one process, each with a model that is loaded and closed, and a folder."""
    pairs = many_pairs(N_PAIRS_OF_A_RUN)
    for number in range(n):
        out = folder / f"{number}"
        run(models()["instruct"], pairs, out=out, n_threads=1, n_resamples=100)
        tenths(number + 1, n)


def soak_pairs(n: int, folder: Path, tenths: Tenths) -> None:
    """Read the answers of `n` pairs from a file and summarise them, again and again."""
    pairs = many_pairs(n)
    sides = [
        pairs.select(
            "id", "category", "scenario",
            priming=pl.lit("none"), condition=pl.lit(side), expected=f"expected_{side}",
            answer=pl.when(pl.int_range(pl.len()) % every > 0).then(f"expected_{side}"),
        )
        for side, every in (("stereotyped", 5), ("contrast", 9))
    ]  # fmt: skip
    answered = pl.col("answer").is_not_null()
    outcome = pl.when(answered).then(pl.lit("correct")).otherwise(pl.lit("unparseable"))
    answers = pl.concat(sides).with_columns(outcome=outcome, reason=pl.lit(None, pl.String))
    answers.write_parquet(folder / "answers.parquet")
    del pairs, sides, answers
    for number in range(N_READ):
        outcomes = build_outcomes(read_answers(folder / "answers.parquet"))
        assert len(outcomes) == n
        summarize(outcomes, n_resamples=1000)
        tenths(number + 1, N_READ)


PARTS: dict[str, Callable[[int, Path, Tenths], None]] = {
    "prompts": soak_prompts,
    "runs": soak_runs,
    "pairs": soak_pairs,
}


def is_flat(samples: list[Sample]) -> bool:
    """True if nothing grows once the process is warm."""
    warm, last = samples[N_WARM - 1], samples[-1]
    few = all(last[name] <= warm[name] for name in ("handles", "threads"))
    return few and last["memory"] - warm["memory"] <= MOST_GROWN


def row(part: str, n: int, seconds: float, samples: list[Sample]) -> str:
    """Return a row of the table: what the third tenth and the last one show."""
    warm, last = samples[N_WARM - 1], samples[-1]
    memory = f"{warm['memory'] / 1e6:.0f} | {last['memory'] / 1e6:.0f}"
    counts = " | ".join(f"{warm[name]:.0f}, {last[name]:.0f}" for name in ("handles", "threads"))
    return f"| {n:,} {part} | {seconds:.0f} | {memory} | {counts} | {'yes' if is_flat(samples) else 'NO'} |"


def main() -> None:
    """Run all parts, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all sizes")
    parser.add_argument("--part", choices=PARTS, help="this part only, in this process, as JSON")
    parser.add_argument("--n", type=int, help="size of that part")
    asked = parser.parse_args()
    if asked.part:
        tenths, started = Tenths(), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            PARTS[asked.part](asked.n, Path(folder), tenths)
        print(json.dumps([time.perf_counter() - started, tenths.samples]))
        return
    print("| part | seconds | MB at 3/10 | MB at the end | handles | threads | flat |")
    print("|---|---:|---:|---:|---:|---:|---|", flush=True)
    flat = True
    for part, size in SIZES.items():
        n = max(20, int(size * asked.scale))
        command = [sys.executable, __file__, "--part", part, "--n", str(n)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603  this very file
        seconds, samples = json.loads(told)
        print(row(part, n, seconds, samples), flush=True)
        flat &= is_flat(samples)
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
