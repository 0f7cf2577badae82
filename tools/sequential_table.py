"""Write docs/sequential.md: coverage, errors and length of runs that end early, on simulated data.

python tools/sequential_table.py            # the page in docs/, about 6 minutes of one core
python tools/sequential_table.py --quick    # a tenth of the simulations, to the terminal
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from coverage_table import ACCURACY, CORRELATIONS, sizes, table
from misfired.runs.plan import block_size
from misfired.stats._arrays import resample
from misfired.stats.options import SamplingOptions
from misfired.stats.sequential import MEASURE, HalfWidth, Settled

N_SCENARIOS, LEAST, LEVEL = 199, 40, 0.95
RATES, POINTS = (0.05, 0.15), (2.0, 3.0, 5.0)
#: Points of MAR between two models, and what `--until-decided` is given.
EFFECTS, DECIDED = (0, 2, 5, 10), 2.0
TEXT = Path(__file__).with_name("sequential_text.md")
PAGE = Path(__file__).parents[1] / "docs" / "sequential.md"

Array = np.ndarray
Interval = tuple[float | None, float | None, float | None]


class Benchmark(NamedTuple):
    """One simulated suite, its scenarios in the order in which they are asked."""

    scenario: Array  # of each pair
    ends: Array  # pairs up to the end of each scenario

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Benchmark":
        n_pairs = rng.permutation(sizes(N_SCENARIOS))
        scenario = np.repeat(np.arange(N_SCENARIOS, dtype=np.uint32), n_pairs)
        return cls(scenario, np.cumsum(n_pairs))

    def answer(self, rng: np.random.Generator, rates: Array) -> Array:
        """Return the outcome codes of a model that misfires at the rates of its scenarios."""
        n = len(self.scenario)
        wrong, contrast = rng.random(n) < rates[self.scenario], rng.random(n) < ACCURACY
        return (2 * wrong + ~contrast).astype(np.uint8)

    def interval(self, series: Array, asked: int, method: str | None, alpha: float) -> Interval:
        """Return value, low and high of MAR, or of the difference of two series."""
        n = self.ends[asked - 1]
        options = SamplingOptions(
            method=method, confidence_level=1 - alpha, n_resamples=1, n_threads=1
        )
        groups = (self.scenario[:n], np.zeros(n, np.uint32))
        weights = np.array([[1.0, -1.0][: len(series)]])
        codes = np.ascontiguousarray(series[:, :n])
        return resample(codes, groups, weights, [MEASURE], options).estimate(0, 0, 0)[:3]


def looks() -> list[int]:
    """Return the scenarios asked at each look."""
    step = block_size(N_SCENARIOS)
    return [n for n in (*range(step, N_SCENARIOS, step), N_SCENARIOS) if n >= LEAST]


@cache
def beta_draws(mean: float, correlation: float) -> Array:
    scale = (1 - correlation) / correlation
    rng = np.random.default_rng(1)
    return np.sort(rng.beta(mean * scale, (1 - mean) * scale, 200_000))


def rates_at(mean: float, correlation: float, places: Array) -> Array:
    """Return the rates of scenarios at these places, 0 to 1, of their distribution."""
    if correlation == 0:
        return np.full(len(places), mean)
    draws = beta_draws(mean, correlation)
    return draws[(places * len(draws)).astype(int)]


def until(rate: float, correlation: float, n: int) -> dict[float, Array]:
    """Return for each points, and for 0, which asks all: covered, scenarios asked, in percent."""
    rng = np.random.default_rng(2026)
    found = defaultdict(list)
    for _ in range(n):
        suite = Benchmark.draw(rng)
        series = suite.answer(rng, rates_at(rate, correlation, rng.random(N_SCENARIOS)))[None]
        waiting = {*POINTS, 0.0}
        for asked in looks():
            _, low, high = suite.interval(series, asked, None, 1 - LEVEL)
            last = asked == N_SCENARIOS
            ended = {p for p in waiting if last or HalfWidth(points=p).met(low, high)}
            for p in ended:
                found[p].append((low <= 100 * rate <= high, asked / N_SCENARIOS))
            waiting -= ended
    return {points: 100 * np.mean(rows, axis=0) for points, rows in found.items()}


def decided(rate: float, effect: int, correlation: float, shared: bool, n: int) -> Counter:
    """Return how often runs ended in each way, the share asked, and what one look at the end finds."""
    rng = np.random.default_rng(2026)
    rule = Settled(points=DECIDED, base=pl.DataFrame(), n_scenarios=tuple(looks()))
    found = Counter()
    for _ in range(n):
        suite = Benchmark.draw(rng)
        places = rng.random(N_SCENARIOS)
        others = places if shared else rng.random(N_SCENARIOS)
        means = (rate + effect / 100, rate)
        drawn = zip(means, (others, places), strict=True)
        series = np.stack([suite.answer(rng, rates_at(m, correlation, p)) for m, p in drawn])
        for k, alpha in zip(rule.n_scenarios, rule.alphas, strict=True):
            ended = None
            if alpha >= rule.LEAST_ALPHA:
                _, low, high = suite.interval(series, k, "t", alpha)
                ended = rule.met(low, high)
            if ended is not None:
                break
        found[ended] += 1
        found["share"] += k / N_SCENARIOS
        _, low, high = suite.interval(series, N_SCENARIOS, "t", 1 - LEVEL)
        found["one look"] += low > 0 or high < 0
    return Counter({key: 100 * value / n for key, value in found.items()})


def until_tables(n: int) -> list[str]:
    cells = [(rate, correlation) for rate in RATES for correlation in CORRELATIONS]
    found = [until(*cell, n) for cell in cells]
    heads = ["points", *(f"{100 * rate:.0f} %, {rho}" for rate, rho in cells)]
    titles = (
        "`--until`: coverage of the last interval, percent",
        "`--until`: scenarios asked, percent",
    )
    return [
        table(title, heads, [
            [f"{p:g}" if p else "all asked", *(f"{cell[p][k]:.{1 - k}f}" for cell in found)]
            for p in (*POINTS, 0.0)
        ])
        for k, title in enumerate(titles)
    ]  # fmt: skip


def decided_table(n: int) -> str:
    heads = ["MAR", "difference", "scenario rates", "correlation"]
    heads += ["`different`", "`alike`", "not settled", "scenarios asked", "one look: different"]
    rows = []
    for rate in RATES:
        for effect in EFFECTS:
            for shared, correlation in ((False, 0.0), (True, 0.1), (False, 0.1), (False, 0.3)):
                # The error is what matters most, so its rows are the most exact.
                found = decided(rate, effect, correlation, shared, n if effect else 5 * n)
                kind = "-" if not correlation else "shared" if shared else "independent"
                shares = (found["different"], found["alike"], found[None])
                cells = [*(f"{x:.1f}" for x in shares), f"{found['share']:.0f}"]
                cells.append(f"{found['one look']:.1f}")
                rows.append([f"{100 * rate:.0f} %", f"{effect}", kind, f"{correlation}", *cells])
    return table(f"`--until-decided {DECIDED:g}`: percent of runs", heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    n = 200 if quick else 2_000
    start = time.process_time()
    parts = until_tables(n)
    print(f"--until: {time.process_time() - start:.0f} s", file=sys.stderr)
    parts.append(decided_table(n))
    seconds = time.process_time() - start
    page = "\n".join([TEXT.read_text().format(n=n, seconds=seconds), *parts])
    if quick:
        print(page)
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
