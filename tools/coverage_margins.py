"""Coverage of the measures of the margin, for models that lean to yes or no by a bias.

Margins are normal: a mean for each of the four prompts of a pair, effects of the scenario (common to
the four, and of each), and noise. The bias moves all of them. The truth is known from the means and
variances.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from misfired.stats import bootstrap
from misfired.stats.evidence import estimate
from misfired.stats.margins import Margins

BIASES = (0.0, -6.0, 5.0)
DESIGNS = (26, 199)
MEASURES = ("margin_shift", "lower_share", "evidence_loss", "auc_k", "mar_calibrated")

#: Means of the margins of stereotyped and contrast prompts whose answer is yes and no.
MEANS = {"sy": 0.4, "ky": 1.2, "sn": -0.9, "kn": -1.2}
COMMON, OWN, NOISE = 0.5, 0.5, 1.0  # standard deviations


@dataclass(frozen=True)
class Cell:
    """What the simulations of a bias and a number of scenarios gave."""

    coverage: dict[str, float]  # percent of intervals that hold the truth
    raw: list[float]  # MAR as answered, where it has a value
    n: int


def truth() -> dict[str, float]:
    """Return the true value of each measure; no bias is in it."""
    variance, own = COMMON**2 + OWN**2 + NOISE**2, OWN**2 + NOISE**2
    yes, no = MEANS["ky"], MEANS["kn"]
    middle = (yes + no) / 2
    both = stats.multivariate_normal(
        [MEANS["sy"], -MEANS["ky"]], [[variance, -(COMMON**2)], [-(COMMON**2), variance]]
    )
    # P(m_k > t, m_s <= t) over P(m_k > t).
    misfires = both.cdf([middle, -middle]) / stats.norm.sf(middle, yes, math.sqrt(variance))
    return {
        "margin_shift": yes - MEANS["sy"],
        "lower_share": 100 * stats.norm.cdf((yes - MEANS["sy"]) / math.sqrt(2 * own)),
        "evidence_loss": (yes - no) - (MEANS["sy"] - MEANS["sn"]),
        "auc_k": stats.norm.cdf((yes - no) / math.sqrt(2 * variance)),
        "mar_calibrated": 100 * misfires,
    }


def draw(rng: np.random.Generator, n_scenarios: int, bias: float) -> Margins:
    """Return the margins of a simulated run."""
    sizes = np.resize(np.arange(4, 21), n_scenarios)
    scenario = np.repeat(np.arange(n_scenarios), sizes)
    common = rng.normal(0, COMMON, n_scenarios)
    cells = {}
    for name, mean in MEANS.items():
        own = common + rng.normal(0, OWN, n_scenarios)
        cells[name] = bias + mean + own[scenario] + rng.normal(0, NOISE, len(scenario))
    return Margins.of(
        cells["sy"], cells["ky"], stereotyped_no=cells["sn"], contrast_no=cells["kn"],
        scenario=scenario,
    )  # fmt: skip


def simulate(n_scenarios: int, bias: float, n: int) -> Cell:
    """Return coverage over `n` simulated runs; the draws are the same for each bias."""
    rng, known = np.random.default_rng(n_scenarios), truth()
    held, raw = dict.fromkeys(MEASURES, 0), []
    for _ in range(n):
        margins = draw(rng, n_scenarios, bias)
        for measure in MEASURES:
            found = estimate(margins, measure)
            inside = found.low is not None and found.low <= known[measure] <= found.high
            held[measure] += inside
        answered = [margins.side(side) > 0 for side in ("stereotyped", "contrast")]
        mar = bootstrap(*answered, scenario=margins.scenario, measures=["mar"])["mar"]
        raw += [] if mar.value is None else [mar.value]
    return Cell({name: 100 * count / n for name, count in held.items()}, raw, n)


def margin_table(n: int) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table."""
    known = truth()
    header = ["scenarios", "bias", *(f"{name} ({known[name]:.3g})" for name in MEASURES), "raw MAR"]
    rows = []
    for n_scenarios in DESIGNS:
        for bias in BIASES:
            cell = simulate(n_scenarios, bias, n)
            shown = f"{np.mean(cell.raw):.1f}" if cell.raw else "-"
            missing = 100 * (1 - len(cell.raw) / n)
            raw = shown + (f" ({missing:.0f} % without)" if missing >= 0.5 else "")
            shares = [f"{cell.coverage[name]:.1f}" for name in MEASURES]
            rows.append([str(n_scenarios), f"{bias:+.0f}", *shares, raw])
    return header, rows
