"""Slow plain twins of the statistics of localisation."""

from __future__ import annotations

import numpy as np


def plain_bootstrap(
    values: list[float], scenarios: list[str], *, n_resamples: int, rng: int
) -> tuple[float, float, float, str | None]:
    """Mean, 95 % percentile interval, and why there is none.

    Scenarios are in sorted order, one multinomial draw each time.
    """
    names = sorted(set(scenarios))
    generator = np.random.default_rng(rng)
    means = []
    for _ in range(n_resamples):
        counts = generator.multinomial(len(names), [1 / len(names)] * len(names))
        total, n = 0.0, 0
        for name, count in zip(names, counts.tolist(), strict=True):
            for value, scenario in zip(values, scenarios, strict=True):
                if scenario == name:
                    total += count * value
                    n += count
        means.append(total / n)
    low, high = np.quantile(means, [0.025, 0.975])
    value = sum(values) / len(values)
    if len(names) == 1:
        return value, np.nan, np.nan, "one_unit"
    if np.isclose(low, high, rtol=1e-12, atol=0):
        return value, np.nan, np.nan, "constant"
    return value, float(low), float(high), None
