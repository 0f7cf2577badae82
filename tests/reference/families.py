"""Slow plain twin of the paper's four families of tests, written from what its code does.

Deng et al. 2026, `compute_significance.py`. Right answers are true, wrong ones false, unscored ones
None. A study holds for each model its runs: "bbq", "trigger" and "cot", each {id: (category,
stereotyped, contrast)}.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import comb

Run = Mapping[str, tuple[str, bool | None, bool | None]]
Test = tuple[str, str, str | None, int, int, int, float]
"""Family, model, category, pairs, against, for, p."""


def misfires(run: Run, contrasts: Run | None = None) -> dict[str, bool]:
    found = {}
    for name, (_, stereotyped, own) in run.items():
        borrowed = contrasts[name][2] if contrasts is not None and name in contrasts else None
        contrast = borrowed if own is None else own
        if stereotyped is not None and contrast is not None:
            found[name] = contrast and not stereotyped
    return found


def one_sided(against: int, for_: int) -> float:
    """P(X >= for_) of a fair coin thrown for each discordant pair."""
    n = against + for_
    return float(Fraction(sum(comb(n, k) for k in range(for_, n + 1)), 2**n))


def two_sided(against: int, for_: int) -> float:
    return min(1.0, 2 * one_sided(min(against, for_), max(against, for_)))


def asymmetry(run: Run, chosen: list[str]) -> tuple[int, int, int]:
    against = sum(bool(run[name][1]) and not run[name][2] for name in chosen)
    return len(chosen), against, sum(bool(run[name][2]) and not run[name][1] for name in chosen)


def change(before: dict[str, bool], after: dict[str, bool]) -> tuple[int, int, int]:
    both = [name for name in after if name in before]
    less = sum(before[name] and not after[name] for name in both)
    return len(both), less, sum(after[name] and not before[name] for name in both)


def paper_tests(study: Mapping[str, Mapping[str, Run]]) -> list[Test]:
    tests: list[Test] = []
    for model, runs in study.items():
        bbq = runs["bbq"]
        plain = misfires(bbq)
        overall = asymmetry(bbq, list(plain))
        tests.append(("asymmetry", model, None, *overall, one_sided(*overall[1:])))
        for category in sorted({row[0] for row in bbq.values()}):
            chosen = [name for name in plain if bbq[name][0] == category]
            if chosen:
                cell = asymmetry(bbq, chosen)
                tests.append(("asymmetry_category", model, category, *cell, one_sided(*cell[1:])))
        if "trigger" in runs:
            cell = change(plain, misfires(runs["trigger"], bbq))
            tests.append(("priming", model, None, *cell, one_sided(*cell[1:])))
        if "cot" in runs:
            cell = change(plain, misfires(runs["cot"]))
            tests.append(("reasoning", model, None, *cell, two_sided(*cell[1:])))
    return [test for test in tests if test[2] is not None or test[3] >= 100]


def q_values(p_values: list[float]) -> list[float]:
    """The smallest rate of false discoveries at which each test is one (Benjamini, Hochberg 1995)."""
    n = len(p_values)
    rate = {p: n * p / sum(other <= p for other in p_values) for p in p_values}
    return [min(1.0, *(rate[other] for other in p_values if other >= p)) for p in p_values]
