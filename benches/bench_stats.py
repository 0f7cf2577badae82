"""Resampling against the usual ways, side by side: the honest baselines of numpy and scipy.

    python benches/bench_stats.py              # the table
    python benches/bench_stats.py --plot       # also docs/stats-cost.svg

2,032 pairs in 199 scenarios, all measures. Contenders take turns, so that a busy machine slows all
of them alike; the minimum of several rounds counts. Baselines:

(a) index matrix of pairs: rng.integers((B, n)), the four outcomes as float columns gathered with
    it and summed, ratios, quantiles;
(b) scipy.stats.bootstrap on cluster sums, percentile, once for each measure;
(c) multinomial weights on cluster sums: rng.multinomial(G, 1/G, B) @ counts, ratios, quantiles.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats as scipy_stats

from misfired import _core
from misfired.stats import bootstrap
from misfired.stats.measures import MEASURES

ROOT = Path(__file__).parents[1]
N_PAIRS, N_SCENARIOS, B = 2032, 199, 10_000


def data(n_scenarios: int = N_SCENARIOS, n_series: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    n_pairs = round(N_PAIRS * n_scenarios / N_SCENARIOS)
    scenario = rng.integers(0, n_scenarios, n_pairs - n_scenarios)
    scenario = np.sort(np.concatenate([scenario, np.arange(n_scenarios)])).astype(np.uint32)
    codes = rng.choice(4, p=[0.8, 0.05, 0.1, 0.05], size=(n_series, n_pairs)).astype(np.uint8)
    return codes, scenario


def flags(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return codes < 2, codes % 2 == 0


CODES, SCENARIO = data()
COUNTS = np.stack(
    [np.bincount(SCENARIO[CODES[0] == k], minlength=N_SCENARIOS) for k in range(4)], axis=1
)


def measures(totals: np.ndarray) -> np.ndarray:
    a, b, c, d = totals.T.astype(float)
    n = a + b + c + d
    rows = (c / (a + c), c / n, b / (a + b), b / n, (a + b) / n, (a + c) / n, (c - b) / n)
    return 100 * np.stack(rows)


def index_matrix() -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, N_PAIRS, (B, N_PAIRS))
    columns = [(CODES[0] == k).astype(float) for k in range(4)]
    totals = np.stack([column[drawn].sum(1) for column in columns], axis=1)
    return np.quantile(measures(totals), [0.025, 0.975], axis=1)


def scipy_bootstrap() -> list[object]:
    def statistic(k: int) -> Callable[..., np.ndarray]:
        def value(*counts: np.ndarray, axis: int = -1) -> np.ndarray:
            totals = np.stack([x.sum(axis) for x in counts], axis=-1)
            return measures(totals)[k]

        return value

    options = {"n_resamples": B, "method": "percentile", "paired": True, "vectorized": True}
    samples = tuple(COUNTS.T)
    return [
        scipy_stats.bootstrap(samples, statistic(k), rng=0, **options).confidence_interval
        for k in range(len(MEASURES))
    ]


def multinomial_weights(n: int = B) -> np.ndarray:
    rng = np.random.default_rng(0)
    weights = rng.multinomial(N_SCENARIOS, np.full(N_SCENARIOS, 1 / N_SCENARIOS), n)
    return np.quantile(measures(weights @ COUNTS), [0.025, 0.975], axis=1)


def ours(method: str | None = "percentile", n: int = B, n_threads: int | None = None) -> object:
    return bootstrap(
        *flags(CODES[0]), scenario=SCENARIO, method=method, n_resamples=n, n_threads=n_threads
    )


def sweep() -> object:
    """25 models x 2 primings x 9 slices, BCa."""
    codes, scenario = data(n_series=50)
    category = (scenario * 8 // N_SCENARIOS).astype(np.uint32)
    return _core.resample(
        codes, scenario, category, np.eye(50), paired=True, measures=list(MEASURES),
        unit="scenario", by_category=True, stratified=False, method="bca", confidence_level=0.95,
        n_resamples=B, seed=0, n_threads=None,
    )  # fmt: skip


def best(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def seconds_of(run: Callable[[], object]) -> float:
    return best({"run": run}, 3)["run"]


def peak_memory(n: int) -> float:
    """Growth of the peak resident set in MiB while n resamples run in a fresh process."""
    # VmHWM begins anew with the program; ru_maxrss would inherit the peak of this process.
    program = (
        "import re, pathlib, bench_stats as b; b.ours('bca', n=10_000);"
        "status = lambda: pathlib.Path('/proc/self/status').read_text();"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status())[1]);"
        f"before = peak(); b.ours('bca', n={n}); print(peak() - before)"
    )
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, check=True, capture_output=True, cwd=ROOT / "benches")  # noqa: S603
    return int(answer.stdout) / 1024


def line(name: str, seconds: float, against: str = "") -> None:
    print(f"{name:<38}{1000 * seconds:>10.1f} ms  {against}", flush=True)


def compare(rounds: int) -> float:
    contenders: dict[str, Callable[[], object]] = {
        "(a) index matrix": index_matrix,
        "(b) scipy.stats.bootstrap": scipy_bootstrap,
        "(c) multinomial weights": multinomial_weights,
        "misfired percentile": ours,
        "misfired bca": lambda: ours("bca"),
        "misfired studentised": lambda: ours("studentised"),
        "misfired default": lambda: ours(None),
        "misfired bca, 1 thread": lambda: ours("bca", n_threads=1),
    }
    print(f"B = {B:,}, {N_PAIRS:,} pairs, {N_SCENARIOS} scenarios, 7 measures, one model\n")
    times = best(contenders, rounds)
    for name, seconds in times.items():
        others = (other for other in times if other.startswith("("))
        ratios = "  ".join(f"{other[:3]} {times[other] / seconds:.0f}x" for other in others)
        line(name, seconds, ratios if name.startswith("misfired") else "")
    return times["(c) multinomial weights"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    c = compare(arguments.rounds)
    print()
    seconds = seconds_of(sweep)
    line("sweep 25 x 2 x 9, bca", seconds, f"(c) x 450 = {450 * c:.0f} s: {450 * c / seconds:.0f}x")
    seconds = seconds_of(lambda: ours("bca", 1_000_000))
    line("B = 1,000,000, bca", seconds, f"(c) x 100 = {100 * c:.0f} s: {100 * c / seconds:.0f}x")
    print("\npeak memory beyond that of B = 10,000")
    for n in (100_000, 1_000_000, 4_000_000):
        print(f"B = {n:>9,}: {peak_memory(n):>6.1f} MiB", flush=True)
    if arguments.plot:
        plot()


def plot() -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "misfired"
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), constrained_layout=True)
    sizes = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
    for method in ("percentile", "bca", "studentised"):
        times = [seconds_of(lambda n=n, m=method: ours(m, n)) for n in sizes]
        axes[0].loglog(sizes, times, marker="o", label=method)
    times = [seconds_of(lambda n=n: multinomial_weights(n)) for n in sizes[:5]]
    axes[0].loglog(sizes[:5], times, "k--", marker="o", label="numpy, (c)")
    axes[0].set(xlabel="resamples", ylabel="seconds", title="199 scenarios")
    axes[0].legend(fontsize="small")
    units = [25, 50, 100, 200, 400, 800, 1600, 3200]
    times = []
    for n in units:
        codes, scenario = data(n)
        run = lambda c=codes, s=scenario: bootstrap(*flags(c[0]), scenario=s, method="bca")  # noqa: E731
        times.append(seconds_of(run))
    axes[1].loglog(units, times, marker="o")
    axes[1].set(xlabel="scenarios", title="B = 10,000, bca")
    threads = [1, 2]
    times = [seconds_of(lambda t=t: ours("bca", 200_000, t)) for t in threads]
    axes[2].plot(threads, times, marker="o")
    axes[2].set(xlabel="threads", xticks=threads, ylim=(0, None), title="B = 200,000, bca")
    figure.savefig(ROOT / "docs" / "stats-cost.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
