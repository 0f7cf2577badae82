"""Match all scenarios of BBQ, and sides of up to 2,000 distinct texts.

Contender: a plain Python twin (edit table, equal texts compared once) with scipy's
`linear_sum_assignment`. Both get the same rows in memory and run in turns in one process.

Run: python benches/bench_matching.py BBQ_FOLDER [--repeats 3]
Goal: at least 20 times faster than the twin on BBQ.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from misfired import match_pairs
from reference import matching as twin
from suites.test_matching import PEOPLE, bbq_sides, frame


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def by_twin(left, right):
    sides = [twin.groups(side, lambda row: row[0]) for side in (left, right)]
    total = 0
    for group in sides[0].keys() & sides[1].keys():
        texts = [[(row[1], row[2:]) for row in side[group]] for side in sides]
        total += sum(cost for cost, _, _ in twin.match(*texts, None))
    return total


def on_bbq(folder, repeats):
    left, right = bbq_sides(folder)
    frames = frame(left), frame(right)
    times = {"misfired": [], "twin": []}
    for _ in range(repeats):
        taken, pairs = seconds(lambda: match_pairs(*frames, by="group", text="text", people=PEOPLE))
        times["misfired"].append(taken)
        taken, _ = seconds(lambda: by_twin(left, right))
        times["twin"].append(taken)
    ratios = [b / a for a, b in zip(times["misfired"], times["twin"], strict=True)]
    print(f"BBQ: {len(left)} against {len(right)} rows, {len(pairs)} pairs")
    for name, taken in times.items():
        print(f"{name:<9} median {statistics.median(taken):.4f} s, min {min(taken):.4f} s")
    print(f"ratio     median {statistics.median(ratios):.1f}, min {min(ratios):.1f}")


def growth(n, rng):
    def side():
        rows = rng.integers(0, 400, (n, 90))
        return pl.DataFrame({"group": 0, "text": [" ".join(f"w{x}" for x in row) for row in rows]})

    left, right = side(), side()
    taken, pairs = seconds(lambda: match_pairs(left, right, by="group", text="text"))
    print(f"{n:>5} rows a side, 90 tokens each: {taken:8.3f} s, {len(pairs)} pairs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bbq", type=Path, help="folder of BBQ's files")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    on_bbq(arguments.bbq, arguments.repeats)
    rng = np.random.default_rng(0)
    for n in (20, 50, 200, 500, 1000, 2000):
        growth(n, rng)


if __name__ == "__main__":
    main()
