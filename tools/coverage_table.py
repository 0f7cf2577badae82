"""Write docs/coverage.md: coverage of intervals and level of tests on simulated clustered data.

python tools/coverage_table.py            # the table in docs/, about 10 minutes on 2 cores
python tools/coverage_table.py --quick    # a tenth of the simulations, to the terminal
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from coverage_joint import joint_table
from coverage_margins import margin_table
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


#: Sizes of scenarios: evenly from 4 to 20, as VETO's, or from 1 to 60 in equal ratios, as BBQ's.
SIZES = {"4 to 20": np.arange(4, 21), "1 to 60": np.round(np.geomspace(1, 60, 20))}


def sizes(n_scenarios: int, kind: str = "4 to 20") -> np.ndarray:
    return np.resize(SIZES[kind].astype(np.uint32), n_scenarios)


def coverage(
    pairs: np.ndarray,
    rate: float,
    correlation: float,
    n: int,
    *,
    unit: str = "scenario",
    accuracy: float = ACCURACY,
    methods: tuple[str, ...] = INTERVAL_METHODS,
) -> np.ndarray:
    return _core.coverage(
        pairs, mar=rate, primed=PRIMED, accuracy_contrast=accuracy,
        correlation=correlation, methods=list(methods), unit=unit, confidence_level=0.95,
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
    pairs = sizes(n_scenarios)
    found = np.stack([coverage(pairs, *cell, n, unit=unit) for cell in cells()])
    heads = [f"{100 * rate:.0f} %, {correlation}" for rate, correlation in cells()]
    tables = []
    for question, name in enumerate(("MAR", "change in MAR")):
        rows = []
        for k, method in enumerate(INTERVAL_METHODS):
            if question and method in RATES_ONLY:
                continue
            block = found[:, k, question]
            share = 100 * block[:, 0] / n
            width = block[:, 4].sum() / max((n - block[:, 3]).sum(), 1)
            shown = [_share(c, m, n) for c, m in block[:, [0, 3]]]
            rows.append([method, f"{share.mean():.1f}", *shown, f"{width:.1f}"])
        title = f"{name}, {n_scenarios} scenarios, unit {unit}"
        tables.append(table(title, ["method", "mean", *heads, "width"], rows))
    return tables


def default_tables(n: int) -> list[str]:
    """Coverage and width of the default methods over more designs."""
    designs = [("4 to 20", 0.9), ("1 to 60", 0.9), ("4 to 20", 0.3)]
    methods = ("clopper_pearson", "mover")
    heads = [f"{100 * rate:.0f} %, {c}" for rate in (0.02, *RATES) for c in CORRELATIONS]
    tables = []
    for kind, accuracy in designs:
        rows: list[list[list[str]]] = [[], []]
        for n_scenarios in (199, 60, 25, 20):
            pairs = sizes(n_scenarios, kind)
            found = np.stack([
                coverage(pairs, rate, c, n, accuracy=accuracy, methods=methods)
                for rate in (0.02, *RATES) for c in CORRELATIONS
            ])  # fmt: skip
            for question, row in enumerate(rows):
                block = found[:, question, question]
                shown = [_share(c, missing, n) for c, missing in block[:, [0, 3]]]
                width = block[:, 4].sum() / max((n - block[:, 3]).sum(), 1)
                row.append([str(n_scenarios), *shown, f"{width:.1f}"])
        for name, row in zip(("MAR", "change in MAR"), rows, strict=True):
            title = (
                f"The default for {name}: scenarios of {kind} pairs, contrast accuracy {accuracy}"
            )
            tables.append(table(title, ["scenarios", *heads, "width"], row))
    return tables


def few_table(n: int) -> str:
    """Coverage of changes with 20 scenarios: the default, and the two that it replaces."""
    methods = ("studentised", "bca", "mover")
    found = np.stack([coverage(sizes(20), *cell, n, methods=methods) for cell in cells()])
    rows = []
    for k, method in enumerate(methods):
        block = found[:, k, 1]
        width = block[:, 4].sum() / max((n - block[:, 3]).sum(), 1)
        rows.append([method, *(_share(c, m, n) for c, m in block[:, [0, 3]]), f"{width:.1f}"])
    heads = [f"{100 * rate:.0f} %, {correlation}" for rate, correlation in cells()]
    return table("change in MAR, 20 scenarios, unit scenario", ["method", *heads, "width"], rows)


def _share(covered: float, missing: float, n: int) -> str:
    percent = 100 * missing / n
    return f"{100 * covered / n:.1f}" + (f" ({percent:.1f})" if percent >= 0.05 else "")


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
    n, n_tests, n_models = (100, 1_000, 50) if quick else (1_000, 20_000, 1_000)
    start = time.process_time()

    def say(done: str) -> None:
        print(f"{done}: {time.process_time() - start:.0f} s", file=sys.stderr, flush=True)

    parts = [table("Measures of the margin, by a model's leaning", *margin_table(n_models))]
    say("margins")
    parts.append(table("Leaderboard of 8 models, joint coverage", *joint_table(n)))
    say("leaderboard")
    parts += [*default_tables(n), few_table(n)]
    say("defaults")
    for n_scenarios in DESIGNS:
        for unit in ("scenario", "pair"):
            parts += interval_tables(n_scenarios, unit, n)
            say(f"{n_scenarios} {unit}")
    parts.append(level_table(n_tests))
    seconds = time.process_time() - start
    head = TEXT.read_text().format(
        n=n, n_tests=n_tests, n_models=n_models, n_resamples=N_RESAMPLES, seconds=seconds
    )
    page = "\n".join([head, *parts])
    if quick:
        print(page)
    else:
        (Path(__file__).parents[1] / "docs" / "coverage.md").write_text(page)


if __name__ == "__main__":
    main()
