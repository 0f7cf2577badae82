"""A finished run, read from its folder with everything that is said of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from misfired.errors import DataError
from misfired.runs.analyses import Analyses, analyse
from misfired.runs.finished import FinishedRun, open_run
from misfired.runs.manifest import Manifest
from misfired.runs.names import tell_apart
from misfired.stats import Verdict, summarize
from misfired.stats.margins import margin_of
from misfired.stats.outcomes import CONDITIONS, build_outcomes


@dataclass(frozen=True, eq=False)
class Measured:
    """A run: what was asked, what was answered, and the statistics of both, computed anew.

    Attributes:
        name: The model's file name, or the folder where two runs are of one model.
        path: The run folder.
        manifest: How the numbers were made.
        pairs: The pairs that were asked, twins included; None where the folder holds them no more.
        answers: One row per prompt.
        outcomes: What `build_outcomes` makes of them.
        summary: What `summarize` makes of these.
        analyses: What the design allows beyond that.
    """

    name: str
    path: Path
    manifest: Manifest
    pairs: pl.DataFrame | None
    answers: pl.DataFrame
    outcomes: pl.DataFrame
    summary: pl.DataFrame
    analyses: Analyses

    @property
    def model(self) -> str:
        """What the model is called: a file by its name, one behind a server as the server calls it."""
        return _model(self.manifest)

    @property
    def n_shots(self) -> int:
        """Demonstrations before every prompt."""
        shots = self.manifest.settings.shots
        return 0 if shots is None else len(shots.demonstrations)

    @property
    def verdict(self) -> Verdict:
        """What the run is worth."""
        return self.analyses.verdict

    @property
    def priming(self) -> str:
        """The priming whose numbers lead: `none`, or the first."""
        return self.verdict.priming

    @property
    def others(self) -> list[str]:
        """The primings beside the leading one."""
        names: list[str] = self.outcomes["priming"].unique(maintain_order=True).to_list()
        return [name for name in names if name != self.priming]

    @property
    def changes(self) -> list[str]:
        """The primings beside `none`; empty if there is no `none`."""
        names: list[str] = self.summary["priming"].unique(maintain_order=True).to_list()
        return [name for name in names if f"{name} - none" in names]


def read_measured(paths: Sequence[Path]) -> list[Measured]:
    """Read run folders, and compute their statistics with the options of each run.

    Raises:
        DataError: A folder is no finished run, a file of it is damaged, or one is named twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError(f"runs must differ, got {', '.join(map(str, paths))}")
    found = [open_run(path) for path in paths]
    names = tell_apart({run.path: _names(run) for run in found}, "runs")
    return [_measured(names[run.path], run) for run in found]


def _names(run: FinishedRun) -> Iterator[str]:
    """Yield the names of a run: its model's, its folder's, and the whole path."""
    path = run.path.resolve()
    yield from (_model(run.manifest), "/".join(path.parts[-2:]), str(path))


def _model(manifest: Manifest) -> str:
    model = manifest.model
    return Path(model.path).stem if manifest.settings.server is None else model.description


def _measured(name: str, run: FinishedRun) -> Measured:
    manifest, answers = run.manifest, run.answers
    how = manifest.settings.statistics
    statistics = {} if how is None else {name: getattr(how, name) for name in how.__struct_fields__}
    outcomes = build_outcomes(answers)
    options = statistics | {"rng": manifest.settings.seed}
    return Measured(
        name, run.path, manifest, run.pairs, answers, outcomes,
        summarize(outcomes, **options), analyse(answers, outcomes, **options),
    )  # fmt: skip


class Answered(Protocol):
    """A run as `judged_pairs` needs it."""

    @property
    def answers(self) -> pl.DataFrame:
        """One row per prompt."""
        ...

    @property
    def outcomes(self) -> pl.DataFrame:
        """What `build_outcomes` makes of them."""
        ...


def judged_pairs(run: Answered) -> pl.DataFrame:
    """Return a row per pair and priming: outcome, both answers, and the margins of the right answer.

    Columns are those of `build_outcomes`, then `verdict` (`both_right`, `reverse`, `misfire`, `both_wrong`
    or `unscored`), and of each condition `answer_*`, `expected_*`, `text_*` where texts were generated, and `margin_*`: how far the right answer
    of yes and no leads, null where there is no margin.
    A priming that was put to one side only has the other side of `none`.
    """
    sign = pl.when(expected="yes").then(1).when(expected="no").then(-1)
    names = ["answer", "expected", "margin", *(["text"] if "text" in run.answers.columns else [])]
    answers = run.answers.with_columns(margin=margin_of(run.answers) * sign)
    rows = run.outcomes
    for side in CONDITIONS:
        asked = answers.filter(condition=side)
        own = pl.col("priming").is_in(asked["priming"].unique().to_list())
        kept = [pl.col(name).alias(f"{name}_{side}") for name in names]
        rows = rows.with_columns(_from=pl.when(own).then("priming").otherwise(pl.lit("none"))).join(
            asked.select("id", pl.col("priming").alias("_from"), *kept),
            on=["id", "_from"], how="left", maintain_order="left",
        )  # fmt: skip
    one, other = (pl.col(side) for side in CONDITIONS)
    named = {"both_right": one & other, "reverse": one & ~other, "misfire": ~one & other}
    told = pl.lit("both_wrong")
    for name, holds in named.items():
        told = pl.when(holds).then(pl.lit(name)).otherwise(told)
    verdict = pl.when(one.is_null() | other.is_null()).then(pl.lit("unscored")).otherwise(told)
    return rows.drop("_from").with_columns(verdict=verdict)
