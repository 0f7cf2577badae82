"""Build all `paper` pairs, reading included: misfired against a plain twin of the same rules.

The twin reads with `json` into dicts and checks nothing; misfired checks every field of every row.
Both run side by side in one process, taking turns, on files that the system has in its cache.

Run: python benches/bench_pairs.py BBQ_FOLDER [--repeats 15]
Goal: at least 5 times faster.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from misfired import build_pairs
from misfired.suites import VETO_CATEGORIES
from reference import veto as twin


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bbq", type=Path, help="folder with BBQ's eight files")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    contenders = {
        "misfired": lambda: build_pairs(arguments.bbq),
        "plain Python": lambda: twin.build_pairs(arguments.bbq, VETO_CATEGORIES),
    }
    results = {name: work() for name, work in contenders.items()}
    assert results["misfired"].to_dicts() == results["plain Python"], "results differ"
    times = {name: [] for name in contenders}
    for _ in range(arguments.repeats):
        for name, work in contenders.items():
            times[name].append(seconds(work)[0])
    for name, taken in times.items():
        print(f"{name:<13} median {statistics.median(taken):.4f} s, min {min(taken):.4f} s")
    ratios = [b / a for a, b in zip(times["misfired"], times["plain Python"], strict=True)]
    print(f"ratio         median {statistics.median(ratios):.1f}, min {min(ratios):.1f}")


if __name__ == "__main__":
    main()
