"""Averages inside a model: directions to add, and head outputs to ablate with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from misfired.errors import DataError
from misfired.localise.cases import build_cases, choose_cases
from misfired.localise.held import Chunk, chunks
from misfired.localise.options import CaseOptions
from misfired.localise.probe import Activations, Probe
from misfired.localise.run import read_run
from misfired.options import takes_options


@dataclass(frozen=True)
class Averages:
    """Means over the failures and the controls of a run, at the last token.

    Attributes:
        failures: Residual stream after each layer, over the stereotyped prompts of the failures, shape
            (layer, width).
        controls: The same of the controls.
        heads: Head outputs side by side over all prompts, shape (layer, width).
        n_failures: Number of failures.
        n_controls: Number of controls.
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
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "direction.npy", self.direction)
        np.save(folder / "heads.npy", self.heads)


@takes_options(CaseOptions)
def averages(
    model: Path | str,
    run: Path | str,
    **options: Any,
) -> Averages:
    """Average what a model computes at the last token of a run's failures and controls.

    A direction that was made from a run and is then measured on the same pairs flatters: keep some
    scenarios apart.

    Args:
        model: The GGUF file that the run was made with.
        run: The run's folder.
        options: Fields of `CaseOptions`.

    Raises:
        DataError: A run of another model, or without failures or controls.
        ModelError: A model that cannot be probed.
    """
    asked = CaseOptions.of(options)
    data = read_run(run, model, priming=asked.priming)
    chosen = choose_cases(data.outcomes, n_pairs=asked.n_pairs, seed=asked.seed)
    if "control" not in chosen["kind"]:
        raise DataError(
            f"{run}: run must have controls, got no pair of the failures' categories that is right twice"
        )
    residual, heads = [], []
    with data.open(asked.n_gpu_layers) as session:
        cases = build_cases(data.pairs, chosen, session, priming=data.priming)
        longest = max(len(prompt.ids) for case in cases for prompt in case.prompts)
        with Probe(session.model, longest=longest, n_threads=asked.n_threads) as probe:
            for part in chunks(cases, probe):
                last = Chunk.hold(probe, part).held.last
                residual.append(last["residual"][::2])
                heads.append(last["attention"])
    failed = np.array([case.kind == "failure" for case in cases])
    rows = np.concatenate(residual)
    failures, controls, outputs = (
        some.mean(axis=0, dtype=np.float64).astype(np.float32)
        for some in (rows[failed], rows[~failed], np.concatenate(heads))
    )
    return Averages(failures, controls, outputs, int(failed.sum()), int((~failed).sum()))
