"""How much memory it takes to read a suite, beside the size of its file.

An invented suite is written as Parquet, JSONL and CSV, and each file is read in a process of its own.

    python benches/bench_read.py --megabytes 200
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from invented import invented_pairs
from misfired import write_suite

READ = """
import json, sys, time
from misfired import read_suite

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

before, started = peak(), time.perf_counter()
frame = read_suite(sys.argv[1])
seconds = time.perf_counter() - started
print(json.dumps({
    "frame_mib": round(frame.estimated_size("mb")),
    "peak_over_start_mib": round(peak() - before),
    "seconds": round(seconds, 1),
}))
"""


def make_suite(n_bytes: int, n_characters: int) -> pl.DataFrame:
    """Pairs whose prompts have so many characters each, about so many bytes as JSONL."""
    n_pairs = n_bytes // (2 * n_characters + 430)
    text = "The baker from Norvik met a baker from Sandel in front of a house. " * n_characters
    number = pl.int_range(n_pairs)
    return pl.select(**invented_pairs("read@1.0.0", number, text[:n_characters]), number=number)


def main() -> None:
    """Read files of long prompts and of short ones in each format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for n_characters in (4000, 300):
            suite = make_suite(options.megabytes * 1_000_000, n_characters)
            for suffix in ("parquet", "jsonl", "csv"):
                file = Path(name) / f"suite.{suffix}"
                write_suite(suite, file)
                command = [sys.executable, "-c", READ, str(file)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  our own text
                about = {"format": suffix, "prompt_characters": n_characters}
                size = {"file_mib": round(file.stat().st_size / 2**20)}
                print(json.dumps({**about, **size, **json.loads(done.stdout)}), flush=True)


if __name__ == "__main__":
    main()
