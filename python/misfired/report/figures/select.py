"""The charts that some runs allow, and in words those that they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from misfired.report.figures import rates
from misfired.report.figures import runs as several
from misfired.report.figures.chart import Chart
from misfired.report.figures.draw import file_name
from misfired.report.measured import Measured
from misfired.runs.names import tell_apart
from misfired.scoring.protocol import is_cot
from misfired.stats.published import HUMAN, published_figures


@dataclass
class Selected:
    """Charts, and why others are not among them."""

    charts: list[Chart] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, chart: Chart | str) -> None:
        """Keep a chart, or the sentence that stands for it."""
        if isinstance(chart, str):
            self.left_out.append(chart)
        else:
            self.charts.append(chart)


def charts_of_run(run: Measured) -> Selected:
    """Return the charts of one run."""
    found = Selected([rates.forest(run), rates.counts(run)])
    for priming in run.changes:
        found.add(rates.dumbbells(run, priming))
    found.add(rates.asymmetry(run))
    found.add(rates.margins(run))
    return found


def charts_of_runs(
    runs: Sequence[Measured], *, bases: Sequence[Measured] = (), human: float | None = None
) -> Selected:
    """Return the charts of several runs together.

    Args:
        runs: The runs.
        bases: The run of the base model of each, in the same order; may be empty.
        human: MAR of people, drawn as a line; None: the published one, if all runs asked the paper's pairs.
    """
    if human is None:
        human = human_rate(runs)
    found = Selected(
        [several.ranking(runs, human=human), several.heat(runs), several.accuracy(runs)]
    )
    if bases:
        found.add(several.paired(list(zip(bases, runs, strict=True)), ("base", "instruct")))
    else:
        found.add("base against instruct: needs --base RUN, once for each run")
    by_shots = [run for run in runs if _counts_of_shots(run, runs) > 1]
    found.add(
        several.shots(by_shots)
        if by_shots
        else "MAR by demonstrations: needs runs of one model that differ in --n-shots"
    )
    reasoning = _reasoning(runs)
    if reasoning:
        found.add(several.paired(reasoning, ("direct", "reasoning")))
    else:
        found.add(
            "direct against reasoning: needs runs of one model with a cot protocol and with another"
        )
    return found


def human_rate(runs: Sequence[Measured]) -> float | None:
    """Return the published MAR of people if all runs asked the pairs that those people saw, else None."""
    suites = {run.manifest.settings.suite.partition("@")[0] for run in runs}
    if suites != {"veto-paper"}:
        return None
    return float(published_figures().filter(model=HUMAN)["mar"][0])


def every_chart(
    runs: Sequence[Measured], *, bases: Sequence[Measured] = (), human: float | None = None
) -> Selected:
    """Return all charts of some runs; those of one run are named by it where there are several."""
    found = Selected()
    # Two names may have one spelling as part of a file's name.
    spelled = {
        run.path: iter([file_name(run.name), f"{file_name(run.name)[:50]}-{number}"])
        for number, run in enumerate(runs, 1)
    }
    files = tell_apart(spelled, "runs")
    for run in runs:
        own = charts_of_run(run)
        before = f"{files[run.path]}-" if len(runs) > 1 else ""
        found.charts += [replace(chart, name=f"{before}{chart.name}") for chart in own.charts]
        found.left_out += [f"{run.name}: {words}" for words in own.left_out]
    if len(runs) + len(bases) > 1:
        more = charts_of_runs(runs, bases=bases, human=human)
        found.charts += more.charts
        found.left_out += more.left_out
    return found


def _model(run: Measured) -> tuple[object, ...]:
    server = run.manifest.settings.server
    return run.manifest.settings.model_sha256, run.manifest.model.path, str(server)


def _counts_of_shots(run: Measured, runs: Sequence[Measured]) -> int:
    """Return how many counts of demonstrations the runs of one model and protocol have."""
    same = [
        other.n_shots
        for other in runs
        if _model(other) == _model(run)
        and other.manifest.settings.protocol == run.manifest.settings.protocol
    ]
    return len(set(same))


def _reasoning(runs: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """Return each run that reasons after one that does not, of the same model and demonstrations."""
    reasons = [run for run in runs if is_cot(run.manifest.settings.protocol.name)]
    plain = [run for run in runs if run not in reasons]
    found = []
    for two in reasons:
        alike = [run for run in plain if (_model(run), run.n_shots) == (_model(two), two.n_shots)]
        found += [(one, two) for one in alike[:1]]
    return found
