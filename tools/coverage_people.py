"""Write docs/people-coverage.md: coverage of intervals of people, on simulated studies.

python tools/coverage_people.py            # the page, about a minute on one core
python tools/coverage_people.py --quick    # a tenth of the studies, to the terminal
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl

from misfired._core import proportion_interval
from misfired.annotate.draw import PAIRS_EACH, deal, draw_pairs
from misfired.annotate.options import StudyOptions
from misfired.stats import bootstrap
from misfired.stats.people import SCOPES, Crossed

TEXT = Path(__file__).with_name("people_text.md")
PAGE = Path(__file__).parents[1] / "docs" / "people-coverage.md"

N_SCENARIOS, N_PEOPLE = 100, (5, 10, 30)
ACCURACY, ALIKE = 0.97, 0.2
#: Heading and pairs of the core; None is the default draw.
DESIGNS = {f"{PAIRS_EACH} for each person": None, "everyone everything": N_SCENARIOS}
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Population:
    """People as they are drawn: kinds with their rates and shares, and how much people of a kind differ."""

    name: str
    rates: tuple[float, ...]
    shares: tuple[float, ...] = (1.0,)
    correlation: float = 0.0

    @property
    def truth(self) -> float:
        return sum(rate * share for rate, share in zip(self.rates, self.shares, strict=True))


POPULATIONS = (
    Population("nobody misfires", (0.0,)),
    Population("all 3 %", (0.03,)),
    Population("3 %, people differ a little", (0.03,), correlation=0.1),
    Population("10 %, people differ a lot", (0.1,), correlation=0.3),
    Population(
        "0 %, 3 %, careless (30 %), always yes, in equal parts", (0.0, 0.03, 0.3, 0.0), (0.25,) * 4
    ),
    Population("one in ten careless (30 %), the others 1 %", (0.01, 0.3), (0.9, 0.1)),
    Population("one in twenty always says no, the others 0 %", (0.0, 1.0), (0.95, 0.05)),
)


def asked(n_people: int, n_core: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Person and scenario of each answer: one pair a scenario, dealt as `misfired annotate make` does."""
    pairs = pl.DataFrame({
        "id": [str(scenario) for scenario in range(N_SCENARIOS)], "category": "all",
        "scenario": [f"{scenario:03}" for scenario in range(N_SCENARIOS)],
    })  # fmt: skip
    options = StudyOptions(n_pairs=N_SCENARIOS, annotators=n_people, core=n_core)
    hands = deal(pairs, draw_pairs(pairs, N_SCENARIOS, seed=0), options)
    rows = [(person, int(name)) for person, hand in enumerate(hands) for name in hand]
    return tuple(np.array(rows, np.uint32).T)


def study(
    population: Population, person: np.ndarray, scenario: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return misfires, contrast answers that are right, and the rate of each answer's person.

    A person misfires where a normal variable passes a threshold. It is made of a part of the person, a
    part of the scenario (variance 0.2) and a rest, so that the mean rate of a kind is exact.
    """
    n_people = int(person.max()) + 1
    kinds = rng.choice(len(population.rates), n_people, p=population.shares)
    rates = np.array(population.rates)[kinds]
    own, rest = population.correlation, 1 - population.correlation
    limit = np.array([_NORMAL.inv_cdf(1 - r) if 0 < r < 1 else np.inf * (0.5 - r) for r in rates])
    of_person = np.sqrt(own) * rng.standard_normal(n_people)
    latent = of_person[person] + np.sqrt(ALIKE) * rng.standard_normal(N_SCENARIOS)[scenario]
    latent += np.sqrt(rest - ALIKE) * rng.standard_normal(len(person))
    base = rng.random(len(person)) < ACCURACY
    mean = np.array([1 - _NORMAL.cdf(x) for x in (limit - of_person) / np.sqrt(rest)])
    return (latent > limit[person]) & base, base, mean[person]


def intervals(hits: np.ndarray, base: np.ndarray, person: np.ndarray, scenario: np.ndarray):
    """Return the intervals by name, in percent."""
    found = {"pooled": proportion_interval(float(hits.sum()), float(base.sum()),
                                           method="clopper_pearson", confidence_level=0.95)}  # fmt: skip
    mar = bootstrap(~hits, base, scenario=scenario, measures=["mar"], n_resamples=1)["mar"]
    found["these"] = mar.low, mar.high
    crossed = Crossed.of(hits.astype(float), base.astype(float), person, scenario)
    for scope in SCOPES[1:]:
        found[scope] = crossed.interval(scope, found["these"], 0.95)
    return found


COLUMNS = ("pooled", "these", "these, of these", "alike", "any")


def row(
    population: Population, n_people: int, n_core: int | None, n: int, seed: list[int]
) -> list[str]:
    rng = np.random.default_rng(seed)
    person, scenario = asked(n_people, n_core)
    held, width = dict.fromkeys(COLUMNS, 0), dict.fromkeys(COLUMNS, 0.0)
    for _ in range(n):
        hits, base, rates = study(population, person, scenario, rng)
        found = intervals(hits, base, person, scenario)
        found["these, of these"] = found["these"]
        for name, (low, high) in found.items():
            truth = 100 * (rates.mean() if name == "these, of these" else population.truth)
            held[name] += low <= truth + 1e-9 and truth - 1e-9 <= high
            width[name] += (high - low) / n
    return [f"{100 * held[name] / n:.1f} ({width[name]:.0f})" for name in COLUMNS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    n, start, parts = 100 if quick else 2_000, time.process_time(), []
    for d, (design, n_core) in enumerate(DESIGNS.items()):
        parts += [
            f"## Pairs: {design}",
            "",
            "| population (MAR) | people | " + " | ".join(COLUMNS) + " |",
        ]
        parts.append("|---" * (2 + len(COLUMNS)) + "|")
        for p, population in enumerate(POPULATIONS):
            for n_people in N_PEOPLE:
                cells = row(population, n_people, n_core, n, [2026, d, p, n_people])
                named = f"{population.name} ({100 * population.truth:.2g} %)"
                parts.append("| " + " | ".join([named, str(n_people), *cells]) + " |")
                if quick:
                    print(parts[-1], flush=True)
        parts.append("")
    seconds = time.process_time() - start
    head = TEXT.read_text(encoding="utf-8").rstrip().format(n=n, seconds=seconds)
    if not quick:
        PAGE.write_text("\n".join([head, "", *parts]).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
