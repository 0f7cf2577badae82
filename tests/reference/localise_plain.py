"""Slow plain twins of the statistics of localisation."""

from __future__ import annotations

import numpy as np


def plain_bootstrap(
    values: list[float], scenarios: list[str], *, n_resamples: int, rng: int
) -> tuple[float, float, float]:
    """Mean and 95 % percentile interval; scenarios in sorted order, one multinomial draw each time."""
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
    return sum(values) / len(values), float(low), float(high)
