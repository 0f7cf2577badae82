"""Joint coverage of leaderboards: simulated runs on the same pairs, ranked as `leaderboard` ranks them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from misfired import _core

#: The MAR of each model.
MODELS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10, 0.15, 0.20)
ACCURACY = 0.9

#: Number of scenarios and correlation.
DESIGNS = ((199, 0.1), (199, 0.3), (60, 0.1), (60, 0.3), (20, 0.1), (20, 0.3))


def codes_of(
    rng: np.random.Generator,
    sizes: npt.NDArray[np.uint32],
    mars: Sequence[float],
    correlation: float,
) -> npt.NDArray[np.uint8]:
    """Return outcome codes of models with these MARs, [n_models, n_pairs], by beta-distributed rates."""
    total = 1 / correlation - 1
    rows = []
    for mar in mars:
        rates = rng.beta(mar * total, (1 - mar) * total, len(sizes))
        wrong_contrast = rng.random(sizes.sum()) >= ACCURACY
        chance = np.where(wrong_contrast, 0.5, np.repeat(rates, sizes))
        rows.append(2 * (rng.random(sizes.sum()) < chance) + wrong_contrast)
    return np.array(rows, dtype=np.uint8)


def joint_coverage(n_scenarios: int, correlation: float, n: int) -> tuple[float, float, float]:
    """Return the percent of leaderboards whose intervals all hold, whose ranks all hold, and of sure pairs."""
    sizes = np.resize(np.arange(4, 21, dtype=np.uint32), n_scenarios)
    scenario = np.repeat(np.arange(n_scenarios, dtype=np.uint32), sizes)
    rng = np.random.default_rng([n_scenarios, round(100 * correlation)])
    truth, places = 100 * np.array(MODELS), np.arange(1, len(MODELS) + 1)
    held, ranked, sure = 0, 0, 0.0
    for _ in range(n):
        numbers, _ = _core.ranking(
            codes_of(rng, sizes, MODELS, correlation), scenario, scenario * 0, measure="mar",
            unit="scenario", stratified=False, confidence_level=0.95, n_threads=None,
        )  # fmt: skip
        _, low, high, _, best, worst = numbers.T
        held += bool(((low <= truth) & (truth <= high)).all())
        ranked += bool(((best <= places) & (places <= worst)).all())
        # Of all ordered pairs, those that are told apart: each narrows the ranks of both by one.
        sure += float((len(MODELS) - 1 - (worst - best)).sum() / (len(MODELS) * (len(MODELS) - 1)))
    return 100 * held / n, 100 * ranked / n, 100 * sure / n


def joint_table(n: int) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table."""
    header = [
        "scenarios",
        "correlation",
        "all intervals hold",
        "all ranks hold",
        "pairs told apart",
    ]
    rows = [[str(g), str(r), *(f"{x:.1f}" for x in joint_coverage(g, r, n))] for g, r in DESIGNS]
    return header, rows
