"""Write docs/coverage.md: coverage of intervals and level of tests on simulated clustered data.

python tools/coverage_table.py            # the table in docs/, about 6 minutes on 2 cores
python tools/coverage_table.py --quick    # a tenth of the simulations, to the terminal
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from misfired import _core
from misfired.stats.options import INTERVAL_METHODS

RATES_ONLY = {"logit", "wilson", "clopper_pearson"}
DESIGNS = (199, 25)
RATES = (0.05, 0.15)
CORRELATIONS = (0.0, 0.1, 0.3, 0.5)
PRIMED = 0.1
ACCURACY = 0.9
N_RESAMPLES = 999
TEXT = Path(__file__).with_name("coverage_text.md")


def sizes(n_scenarios: int) -> np.ndarray:
    """4 to 20 pairs a scenario, evenly."""
    return np.resize(np.arange(4, 21, dtype=np.uint32), n_scenarios)


def coverage(n_scenarios: int, rate: float, correlation: float, unit: str, n: int) -> np.ndarray:
    return _core.coverage(
        sizes(n_scenarios), mar=rate, primed=PRIMED, accuracy_contrast=ACCURACY,
        correlation=correlation, methods=list(INTERVAL_METHODS), unit=unit, confidence_level=0.95,
        n_simulations=n, n_resamples=N_RESAMPLES, seed=2026, n_threads=None,
    )  # fmt: skip


def rejections(n_scenarios: int, share: float, correlation: float, n: int) -> np.ndarray:
    return _core.power(
        sizes(n_scenarios), gain=share, loss=share, correlation=correlation, alpha=0.05,
        alternative="two-sided", n_simulations=n, seed=2026, n_threads=None,
    )  # fmt: skip


def table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", "| " + " | ".join(columns) + " |"]
    lines.append("|---" * len(columns) + "|")
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])


def cells() -> list[tuple[float, float]]:
    return [(rate, correlation) for rate in RATES for correlation in CORRELATIONS]


def interval_tables(n_scenarios: int, unit: str, n: int) -> list[str]:
    found = np.stack([coverage(n_scenarios, *cell, unit, n) for cell in cells()])
    heads = [f"{100 * rate:.0f} %, {correlation}" for rate, correlation in cells()]
    tables = []
    for question, name in enumerate(("MAR", "change in MAR")):
        rows = []
        for k, method in enumerate(INTERVAL_METHODS):
            if question and method in RATES_ONLY:
                continue
            block = found[:, k, question]
            share = 100 * block[:, 0] / n
            missing = 100 * block[:, 3] / n
            width = block[:, 4].sum() / max((n - block[:, 3]).sum(), 1)
            shown = [
                f"{c:.1f}" + (f" ({m:.1f})" if m >= 0.05 else "")
                for c, m in zip(share, missing, strict=True)
            ]
            rows.append([method, f"{share.mean():.1f}", *shown, f"{width:.1f}"])
        title = f"{name}, {n_scenarios} scenarios, unit {unit}"
        tables.append(table(title, ["method", "mean", *heads, "width"], rows))
    return tables


def level_table(n: int) -> str:
    heads = [f"{s} scenarios, {c}" for s in DESIGNS for c in CORRELATIONS]
    rows = []
    for share in RATES:
        found = np.array([rejections(s, share, c, n) for s in DESIGNS for c in CORRELATIONS])
        for k, test in enumerate(("McNemar exact", "McNemar mid-p", "cluster sign-flip")):
            rows.append([test, f"{100 * share:.0f} %", *(f"{100 * x:.1f}" for x in found[:, k])])
    return table("Type I error at 5 %, two-sided", ["test", "b/n = c/n", *heads], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    n, n_tests = (200, 1_000) if quick else (2_000, 20_000)
    start = time.process_time()
    parts = []
    for n_scenarios in DESIGNS:
        for unit in ("scenario", "pair"):
            parts += interval_tables(n_scenarios, unit, n)
            print(f"{n_scenarios} {unit}: {time.process_time() - start:.0f} s", file=sys.stderr)
    parts.append(level_table(n_tests))
    seconds = time.process_time() - start
    head = TEXT.read_text().format(n=n, n_tests=n_tests, n_resamples=N_RESAMPLES, seconds=seconds)
    page = "\n".join([head, *parts])
    if quick:
        print(page)
    else:
        (Path(__file__).parents[1] / "docs" / "coverage.md").write_text(page)


if __name__ == "__main__":
    main()
