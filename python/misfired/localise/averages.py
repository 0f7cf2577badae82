"""What prompts have in common inside a model: directions to add, and head outputs to ablate with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from misfired.errors import DataError
from misfired.localise.cases import build_cases, choose_cases
from misfired.localise.probe import Probe, Rows
from misfired.localise.run import read_run
from misfired.localise.sweeps import Chunk, chunks
from misfired.scoring.llama.guard import open_model
from misfired.scoring.options import Devices
from misfired.scoring.tokens import PromptTokenizer


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

    failures: Rows
    controls: Rows
    heads: Rows
    n_failures: int
    n_controls: int

    @property
    def direction(self) -> Rows:
        """From the failures to the controls, by layer: the difference of the means."""
        return self.controls - self.failures

    def write(self, folder: Path | str) -> None:
        """Write `direction.npy` and `heads.npy`, for an intervention file to name."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "direction.npy", self.direction)
        np.save(folder / "heads.npy", self.heads)


def averages(
    model: Path | str,
    run: Path | str,
    *,
    priming: str = "none",
    n_pairs: int | None = None,
    seed: int = 0,
    n_gpu_layers: int = 0,
    n_threads: int | None = None,
) -> Averages:
    """Average what a model computes at the last token of a run's failures and controls.

    A direction that was made from a run and is then measured on the same pairs flatters: keep some
    scenarios apart.

    Args:
        model: The GGUF file that the run was made with.
        run: The run's folder.
        priming: Which of the run's primings.
        n_pairs: At most so many failures, all by default.
        seed: Draws pairs.
        n_gpu_layers: Layers to offload; -1 offloads all.
        n_threads: CPU threads; all cores by default.

    Raises:
        DataError: A run of another model, or without failures or controls.
        ModelError: A model that cannot be probed.
    """
    with open_model(model, Devices(n_gpu_layers=n_gpu_layers)) as opened:
        data = read_run(run, opened, priming=priming)
        chosen = choose_cases(data.outcomes, n_pairs=n_pairs, rng=seed)
        tokenizer = PromptTokenizer(opened.tokenizer, data.template, data.protocol, data.shots)
        if "control" not in chosen["kind"]:
            raise DataError(
                f"{run}: no controls: no pair of the failures' categories is right twice"
            )
        cases = build_cases(data.pairs, chosen, tokenizer, priming=data.priming)
        longest = max(len(prompt.ids) for case in cases for prompt in case.prompts)
        residual, heads = [], []
        with Probe(opened, longest=longest, n_threads=n_threads) as probe:
            for part in chunks(cases, probe):
                last = Chunk.hold(probe, part).held.last
                residual.append(last["residual"][::2])
                heads.append(last["attention"])
    rows = np.concatenate(residual)
    failed = np.array([case.kind == "failure" for case in cases])

    def mean(some: Rows) -> Rows:
        means: Rows = some.mean(axis=0, dtype=np.float64).astype(np.float32)
        return means

    return Averages(
        mean(rows[failed]),
        mean(rows[~failed]),
        mean(np.concatenate(heads)),
        int(failed.sum()),
        int((~failed).sum()),
    )
