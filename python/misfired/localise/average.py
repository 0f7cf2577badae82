"""Averages inside a model: directions to add, and head outputs to ablate with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from misfired.errors import DataError
from misfired.files import make_folder
from misfired.localise.cases import build_cases, longest
from misfired.localise.held import chunks
from misfired.localise.options import CaseOptions
from misfired.localise.probe import Activations, Probe
from misfired.localise.run import read_run
from misfired.options import takes_options


@dataclass(frozen=True)
class Averages:
    """Means over the failures and the controls of a run, at the last token.

    Attributes:
        failures: Residual stream after each layer, over the stereotyped prompts of the `n_failures`
            failures, shape (layer, width).
        controls: The same of the `n_controls` controls.
        heads: Head outputs side by side over all prompts, shape (layer, width).
    """

    failures: Activations
    controls: Activations
    heads: Activations
    n_failures: int
    n_controls: int

    @property
    def direction(self) -> Activations:
        """From the failures to the controls, by layer: the difference of the means."""
        return self.controls - self.failures

    def write(self, folder: Path | str) -> None:
        """Write `direction.npy` and `heads.npy`, for an intervention file to name."""
        folder = Path(folder)
        make_folder(folder)
        np.save(folder / "direction.npy", self.direction)
        np.save(folder / "heads.npy", self.heads)


@takes_options(CaseOptions)
def averages(model: Path | str, run: Path | str, **options: Any) -> Averages:
    """Average what a model computes at the last token of a run's failures and controls.

    A direction that was made from a run and is then measured on the same pairs flatters: keep some
    scenarios apart.

    `options` are fields of `CaseOptions`; the rest is as for `localise`.

    Raises:
        MisfiredError: As `localise`; a run without controls is a `DataError` too.
    """
    asked = CaseOptions.of(options)
    data = read_run(run, model, priming=asked.priming)
    chosen = data.choose(n_pairs=asked.n_pairs, seed=asked.seed)
    if "control" not in chosen["kind"]:
        raise DataError(f"{run}: run must have controls, got no pair that is right on both prompts")
    with data.open(asked.devices) as session:
        cases = build_cases(data.pairs, chosen, session, data.priming)
        with Probe(session.model, longest=longest(cases), n_threads=asked.n_threads) as probe:
            last = [(c.last["residual"], c.last["attention"]) for c in chunks(probe, cases)]
    failed = np.array([case.kind == "failure" for case in cases])
    residual, heads = (np.concatenate(each) for each in zip(*last, strict=True))
    failures, controls, outputs = (
        some.mean(axis=0, dtype=np.float64).astype(np.float32)
        for some in (residual[::2][failed], residual[::2][~failed], heads)
    )
    return Averages(failures, controls, outputs, int(failed.sum()), int((~failed).sum()))
