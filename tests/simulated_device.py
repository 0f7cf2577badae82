"""A device that computes as GPUs were seen to: neighbours, and what a cache keeps, move a score.

On one H100 (docs/gpu.md) packed prompts were off by 0.01 to 1.4, always. With a kept prefix (`solo`) most
models were off too, and some only for a few prompts of a hundred, by 0.0045: a trial of 24 often sees none
of those. A prompt alone has the same bits each time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import polars as pl

from misfired.scoring.forms import AnswerTokens, Form
from misfired.scoring.llama import invariance
from misfired.scoring.llama.engine import Job, TokenisedPrompt, answer_all
from misfired.scoring.options import DecodingOptions
from misfired.scoring.protocol import LOGIT

FORMS = Form("yes", "yes", (1,)), Form("no", "no", (2,))


@dataclass(frozen=True)
class Device:
    """How far each packing moves a score, and which share of the prompts."""

    packed: float = 0.3
    solo: float = 4.5e-3
    share_packed: float = 1.0
    share_solo: float = 0.03
    is_known_gpu: bool = True
    #: A prompt alone gives other bits each time.
    is_noisy: bool = False


class Simulation:
    """A job on a device: what each packing measures, and the truth, which is a prompt alone."""

    def __init__(self, device: Device, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.device, self._rng = device, rng
        header = rng.integers(9, 99, 30)
        rows = rng.integers(9, 99, (n, 100), dtype=np.int32)
        rows[:, :30] = header
        answers = AnswerTokens(100, FORMS, [])
        self.job = Job(
            {i: TokenisedPrompt(str(i), "yes", ids, answers, 100) for i, ids in enumerate(rows)}
        )
        self.truth = rng.normal(0, 2, n)
        self.off = {
            "packed": rng.normal(0, device.packed / 3, n) * (rng.random(n) < device.share_packed),
            "solo": device.solo * (rng.random(n) < device.share_solo),
            "fresh": np.zeros(n),
        }
        self.off["stable"] = self.off["packed"]
        self.model = SimpleNamespace(
            can_share_prefixes=True,
            uses_gpu=device.is_known_gpu,
            header=SimpleNamespace(types={"f32": 1.0}),
        )
        self.context = SimpleNamespace(model=self.model)

    def row(self, number: int, packing: str) -> dict:
        value = float(self.truth[number] + self.off[packing][number])
        if self.device.is_noisy:
            value += float(self._rng.normal(0, 0.01))
        return {
            "answer": "yes" if value > 0 else "no",
            "outcome": "correct" if value > 0 else "wrong",
            "logp_yes": value,
            "logp_no": 0.0,
            "logit_diff": value,
            "top_logp": value,
        }

    def engine(self, _context: object, job: Job, *, packing: str, **_: object) -> object:
        def run_block(_block: int) -> Iterator[list[tuple[int, dict]]]:
            yield [(row, self.row(row, packing)) for row in job.prompts]

        return SimpleNamespace(scorer=SimpleNamespace(n_blocks=1), run_block=run_block)

    def alone(self, _context: object, job: Job) -> list[dict]:
        return [self.row(row, "fresh") for row in job.prompts]

    def rescore(self, rows: list[int], packing: str) -> list[dict]:
        return list(answer_all(self.engine(None, self.job.only(rows), packing=packing)).values())

    def install(self, monkeypatch) -> None:
        """Have `misfired.scoring.llama.invariance` ask this device."""
        monkeypatch.setattr(invariance, "engine_for", self.engine)
        monkeypatch.setattr(invariance, "alone", self.alone)

    def run(self, mode: str, *, seed: int = 0) -> tuple[pl.DataFrame, dict, invariance.Trial]:
        """Choose a packing, answer all prompts with it, and check them, as a run does."""
        n = len(self.job.prompts)
        options, costs = DecodingOptions(mode=mode), invariance.Costs.of(self.job, n)
        sample = self.job.only(range(0, n, max(1, n // 24)))
        trial = invariance.choose_packing(self.context, sample, options, n)
        rows = [
            trial.kept.get(row, measured)
            for row, measured in enumerate(self.rescore(list(range(n)), trial.packing))
        ]
        exact = mode == "exact"
        answers, found = invariance.check_run(
            pl.DataFrame(rows), LOGIT, self.rescore, trial, costs, exact=exact, seed=seed
        )
        return answers, found, trial

    def largest(self, answers: pl.DataFrame) -> float:
        """The largest difference of the answers from the truth."""
        return float(np.abs(answers["logit_diff"].to_numpy() - self.truth).max())
