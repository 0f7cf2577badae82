"""The charts that some runs allow, and in words those that they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count

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

    def add(self, chart: Chart | str, needs: str | None = None) -> None:
        """Keep a chart, or the sentence that stands for it; `needs` is a column that must hold a value."""
        if isinstance(chart, str):
            self.left_out.append(chart)
        elif needs is not None and not chart.numbers[needs].count():
            self.left_out.append(f"{chart.title}: not drawn, since no value can be given.")
        else:
            # Two primings may have one spelling as part of a file's name.
            names = {each.name for each in self.charts}
            spelled = (f"{chart.name}-{number}" for number in count(2))
            name = next(name for name in chain([chart.name], spelled) if name not in names)
            self.charts.append(replace(chart, name=name))


def charts_of_run(run: Measured) -> Selected:
    """Return the charts of one run."""
    found = charts_of_priming(run, run.priming)
    for priming in run.changes:
        found.add(rates.dumbbells(run, priming), "change")
    return found


def charts_of_priming(run: Measured, priming: str) -> Selected:
    """Return the charts of one run under one priming."""
    found = Selected([rates.forest(run, priming), rates.counts(run, priming)])
    found.add(rates.asymmetry(run, priming))
    found.add(rates.margins(run, priming))
    return found


def side_by_side(runs: Sequence[Measured], human: float | None = None) -> Selected:
    """Return what compares any runs: in order of MAR, by category, against accuracy.

    `human` is the MAR of people, drawn as a line; None: the published one, if all runs asked the paper's pairs.
    """
    found = Selected()
    found.add(several.ranking(runs, human=human_rate(runs) if human is None else human), "value")
    found.add(several.heat(runs), "value")
    found.add(several.accuracy(runs), "value")
    return found


def charts_of_runs(
    runs: Sequence[Measured], *, bases: Sequence[Measured] = (), human: float | None = None
) -> Selected:
    """Return the charts of several runs together.

    Args:
        runs: The runs.
        bases: The run of the base model of each, in the same order; may be empty.
        human: As in `side_by_side`.
    """
    found = side_by_side(runs, human)
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
        before = f"{files[run.path]}-" if len(runs) > 1 else ""
        parts = [charts_of_run(run), *(charts_of_priming(run, name) for name in run.others)]
        for chart in chain.from_iterable(own.charts for own in parts):
            found.add(replace(chart, name=f"{before}{chart.name}"))
        left_out = dict.fromkeys(chain.from_iterable(own.left_out for own in parts))
        found.left_out += [f"{run.name}: {words}" for words in left_out]
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
