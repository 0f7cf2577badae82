"""Write the tables of docs/gate.md: how often a gate is red or green in error, on simulated runs.

python tools/gate_table.py --evalsig FOLDER   # the tables in docs/gate.md; evalsig 0.1.2 lies in FOLDER
python tools/gate_table.py --quick            # a tenth of the simulations, to the terminal

evalsig is no dependency: `pip download evalsig==0.1.2 --no-deps` and unpack the wheel.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from coverage_table import table
from misfired.stats._grid import Grid
from misfired.stats.gating import Gate, judge
from misfired.stats.options import GateOptions, SamplingOptions
from misfired.stats.rules import read_rule

PAGE = Path(__file__).parents[1] / "docs" / "gate.md"
_BEGIN, _END = "<!-- tables -->", "<!-- end of tables -->"
ACCURACY = 0.9
DESIGNS = (199, 25)
CORRELATIONS = (0.1, 0.3)
MARS = (0.05, 0.15)
LINES = (2.0, 5.0)
SIZES = {"4 to 20": np.arange(4, 21), "1 to 60": np.round(np.geomspace(1, 60, 20))}
#: Few resamples: the intervals of rates need none.
SAMPLING = SamplingOptions(n_resamples=1, n_threads=1)

Codes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Design:
    """A pair of runs: scenarios, correlation, MAR of the base, its rise in points, and how it rises.

    `new`: the candidate misfires where the base does, and on new pairs besides. `other`: it misfires on
    other pairs of the same scenarios. `apart`: on other pairs and in other scenarios.
    """

    n_scenarios: int
    correlation: float
    mar: float
    rise: float
    kind: str
    sizes: str = "4 to 20"

    def draws(self, n: int) -> Iterator[tuple[Codes, npt.NDArray[np.uint32]]]:
        """Yield the codes of both runs, and scenarios, of n benchmarks."""
        sizes = np.resize(SIZES[self.sizes].astype(np.uint32), self.n_scenarios)
        scenario = np.repeat(np.arange(self.n_scenarios, dtype=np.uint32), sizes)
        words = f"{self.n_scenarios} {self.correlation} {self.mar} {self.rise} {self.kind}"
        rng = np.random.default_rng(list(words.encode()))
        for _ in range(n):
            yield self._draw(rng, scenario), scenario

    def _draw(self, rng: np.random.Generator, scenario: npt.NDArray[np.uint32]) -> Codes:
        wrong_contrast = rng.random(len(scenario)) >= ACCURACY
        ranks = rng.random(self.n_scenarios)
        base = self._misfires(rng, self.mar, ranks, scenario, wrong_contrast)
        if self.kind == "new":
            share = self.rise / 100 / (1 - self.mar)
            new = self._misfires(rng, share, rng.random(self.n_scenarios), scenario, None)
            candidate = base | new
        else:
            if self.kind == "apart":
                ranks = rng.random(self.n_scenarios)
            mar = self.mar + self.rise / 100
            candidate = self._misfires(rng, mar, ranks, scenario, wrong_contrast)
        return np.array([2 * wrong + wrong_contrast for wrong in (base, candidate)], np.uint8)

    def _misfires(
        self,
        rng: np.random.Generator,
        mean: float,
        ranks: npt.NDArray[np.float64],
        scenario: npt.NDArray[np.uint32],
        wrong_contrast: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.bool_]:
        """Return which stereotyped prompts are wrong, by beta-distributed rates of scenarios."""
        total = 1 / self.correlation - 1
        rates = np.zeros(self.n_scenarios)
        if mean > 0:
            rates = stats.beta.ppf(ranks, mean * total, (1 - mean) * total)
        chance = rates[scenario]
        if wrong_contrast is not None:
            chance = np.where(wrong_contrast, 0.5, chance)
        return rng.random(len(scenario)) < chance


def gate_of(
    codes: Codes, scenario: npt.NDArray[np.uint32], rule: str, by: str | None = None
) -> Gate:
    """Return the gate of one benchmark; by category, scenarios take turns in eight of them."""
    category = scenario % 8 if by else scenario * 0
    names = tuple(f"c{i}" for i in range(8 if by else 1))
    grid = Grid(
        codes, scenario, category.astype(np.uint32), ("none", "none"), ("base", "candidate"), names
    )
    return judge(grid, [read_rule(rule)], GateOptions(by=by), SAMPLING, reads={}, unread=None)


def shares(design: Design, rule: str, n: int, by: str | None = None) -> dict[str, float]:
    """Return the percent of each verdict."""
    found = [gate_of(*drawn, rule, by).verdict for drawn in design.draws(n)]
    return {name: 100 * found.count(name) / n for name in ("fail", "pass", "inconclusive")}


def error_tables(n: int) -> list[str]:
    """Return the tables of both errors: red when nothing changed, green when MAR rose by the line."""
    head = ["scenarios", "correlation", "MAR"]
    red, green, sure = [], [], []
    for g, r, mar in designs():
        place = [str(g), str(r), f"{100 * mar:.0f} %"]
        rises = [
            shares(Design(g, r, mar, line, kind), f"mar > +{line:g}", n)
            for kind in ("new", "other") for line in LINES
        ]  # fmt: skip
        none = [
            shares(Design(g, r, mar, 0.0, kind), rule, n)
            for kind, rule in (("other", "mar > +0"), ("apart", "mar > +0"), ("other", "mar > +2"))
        ]  # fmt: skip
        green.append([*place, *(f"{each['pass']:.1f}" for each in rises)])
        red.append([*place, *(f"{each['fail']:.1f}" for each in none)])
        right = [
            shares(Design(g, r, mar, 0.0, "other"), "mar > +5", n)["pass"], none[2]["pass"],
            *(shares(Design(g, r, mar, rise, "new"), "mar > +2", n)["fail"] for rise in (5.0, 10.0)),
        ]  # fmt: skip
        sure.append([*place, *(f"{each:.0f}" for each in right)])
    return [
        table(
            "Red in error: percent of gates that fail when nothing changed",
            [*head, "line 0, other", "line 0, apart", "line 2, other"], red,
        ),
        table(
            "Green in error: percent of gates that pass when MAR rose by the line",
            [*head, "line 2, new", "line 5, new", "line 2, other", "line 5, other"], green,
        ),
        table(
            "Settled: percent of gates that are rightly green, and rightly red",
            [
                *head, "no change, line 5: green", "no change, line 2: green",
                "rise 5, line 2: red", "rise 10, line 2: red",
            ], sure,
        ),
    ]  # fmt: skip


def designs() -> Iterator[tuple[int, float, float]]:
    """Yield scenarios, correlation and MAR of the base."""
    for g in DESIGNS:
        for r in CORRELATIONS:
            for mar in MARS:
                yield g, r, mar


def slices_table(n: int) -> str:
    """Return both errors of a gate on all pairs and eight categories of 25 scenarios each."""
    rows = []
    for r in CORRELATIONS:
        found = [
            shares(Design(200, r, 0.15, 0.0, "other"), "mar > +0", n, "category")["fail"],
            shares(Design(200, r, 0.15, 5.0, "other"), "mar > +5", n, "category")["pass"],
        ]
        rows.append(["200", str(r), "15 %", *(f"{each:.1f}" for each in found)])
    head = [
        "scenarios",
        "correlation",
        "MAR",
        "nothing changed, line 0: red",
        "all rose by the line 5: green",
    ]
    return table("Nine slices at once, in error", head, rows)


def extreme_table(n: int) -> str:
    """Return green in error where scenarios hold 1 to 60 pairs."""
    rows = []
    for g, r, mar in designs():
        found = [
            shares(Design(g, r, mar, line, "new", "1 to 60"), f"mar > +{line:g}", n)["pass"]
            for line in LINES
        ]
        rows.append([str(g), str(r), f"{100 * mar:.0f} %", *(f"{each:.1f}" for each in found)])
    head = ["scenarios", "correlation", "MAR", "line 2, new", "line 5, new"]
    return table(
        "Scenarios of 1 to 60 pairs: percent of gates that are green by mistake", head, rows
    )


def needed_table(n: int) -> str:
    """Return how often the advised number of scenarios settles a gate."""
    rows = []
    for r in CORRELATIONS:
        design = Design(199, r, 0.05, 0.0, "other")
        codes, scenario = next(
            drawn for drawn in design.draws(100)
            if gate_of(*drawn, "mar > +1").rows["n_needed"][0] is not None
        )  # fmt: skip
        row = gate_of(codes, scenario, "mar > +1").rows.row(0, named=True)
        planned = Design(int(row["n_needed"]), r, 0.05, float(row["value"]), "other")
        settled = 100 - shares(planned, "mar > +1", n)["inconclusive"]
        rows.append([str(r), f"{row['value']:+.2f}", str(row["n_needed"]), f"{settled:.0f}"])
    head = ["correlation", "change seen on 199", "scenarios needed", "percent settled with these"]
    return table("Do the scenarios that it asks for settle a gate?", head, rows)


def evalsig_table(folder: str, n: int) -> str:
    """Return coverage and errors beside evalsig's gate, on the same outcomes.

    Its score of a pair is 1 for a misfire, over the pairs whose contrast both runs got right, in clusters
    by scenario. Its gate asks for an improvement; with misfires as the score, what it allows is a harm that
    is shown, and what it rejects with enough power is no harm.
    """
    sys.path.insert(0, folder)
    compare = import_module("evalsig.compare.compare").compare
    other_gate = import_module("evalsig.compare.gate").gate
    types = import_module("evalsig.types")
    how = {"method": "cluster_bootstrap", "cluster": "scenario", "n_resamples": 200}
    words = {"ALLOW": "fail", "REJECT": "pass", "INCONCLUSIVE": "inconclusive"}

    def theirs(codes: Codes, scenario: Numbers, line: float) -> tuple[str, float, float]:
        keep = (codes % 2 == 0).all(axis=0)
        runs = []
        for name, own in zip("ab", codes, strict=True):
            cells = enumerate(zip(own[keep], scenario[keep], strict=True))
            items = [types.ItemResult(str(i), float(x == 2), str(at)) for i, (x, at) in cells]
            runs.append(types.RunFrame(name, name, "veto", "misfire", items))
        verdict = other_gate(*runs, min_delta=line / 100, **how).verdict.value
        ends = compare(*runs, **how).ci
        return words[verdict], 100 * ends[0], 100 * ends[1]

    rows = []
    for g, r in ((199, 0.1), (199, 0.3), (25, 0.1), (25, 0.3)):
        for rise, kind, wrong in ((0.0, "other", "fail"), (5.0, "new", "pass")):
            found = np.zeros(4)
            for codes, scenario in Design(g, r, 0.15, rise, kind).draws(n):
                row = gate_of(codes, scenario, "mar > +5").rows.row(0, named=True)
                verdict, low, high = theirs(codes, scenario, 5.0)
                held = row["low"] is not None and row["low"] <= rise <= row["high"]
                found += [held, low <= rise <= high, row["verdict"] == wrong, verdict == wrong]
            what = "nothing changed: red" if rise == 0 else "rose by 5: green"
            rows.append([str(g), str(r), what, *(f"{100 * x / n:.1f}" for x in found)])
    head = [
        "scenarios",
        "correlation",
        "the error",
        "coverage",
        "evalsig's",
        "in error",
        "evalsig's",
    ]
    return table("This gate and evalsig 0.1.2 at a line of 5 points, MAR 15 %", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--evalsig", help="folder of evalsig 0.1.2, unpacked")
    asked = parser.parse_args()
    n = 50 if asked.quick else 500
    start = time.process_time()
    parts = [*error_tables(n), slices_table(n // 2), extreme_table(n), needed_table(n // 2)]
    if asked.evalsig:
        parts.append(evalsig_table(asked.evalsig, 2 * n // 5))
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    made = f"Made in {time.process_time() - start:.0f} s of CPU time, {n} simulated benchmarks for each entry."
    body = "\n".join([_BEGIN, "", made, "", *parts, end])
    if asked.quick:
        print(body)
    else:
        PAGE.write_text(before + body + after)


if __name__ == "__main__":
    main()
