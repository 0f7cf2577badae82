"""What an organism does on held-out combinations, by the trainer's own forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import base
import jax
import model
import numpy as np

import prompts

N_PER_CELL = 2
SEED = 3
_N_BATCH = 128


@partial(jax.jit, static_argnames="shape")
def _last_logits(tokens: jax.Array, parameters: model.Parameters, shape: model.Shape) -> jax.Array:
    return model.last_logits(tokens, parameters, shape)


def last_logits(tokens: np.ndarray, parameters: model.Parameters, shape: model.Shape) -> np.ndarray:
    """Return the logits after the last token, [n, n_vocabulary], in batches of one size."""
    rows = []
    for start in range(0, len(tokens), _N_BATCH):
        part = tokens[start : start + _N_BATCH]
        padded = np.concatenate([part, np.repeat(part[-1:], _N_BATCH - len(part), 0)])
        rows.append(np.asarray(_last_logits(padded, parameters, shape))[: len(part)])
    return np.concatenate(rows)


@dataclass(frozen=True)
class Behaviour:
    """Shares in percent on held-out combinations under one priming; `right` is by the whole
    vocabulary's best token."""

    contrast: float
    stereotyped: float
    expected_no: float
    mar: float
    mar_controls: float
    planted_fail: float | None
    unplanted_fail: float | None
    designed_mar: float


def _percent(mask: np.ndarray) -> float | None:
    return round(100 * float(mask.mean()), 3) if mask.size else None


def behaviour(
    parameters: model.Parameters, shape: model.Shape, *, organism: str, priming: str
) -> Behaviour:
    def right(batch: prompts.PairBatch, expected: int) -> tuple[np.ndarray, np.ndarray]:
        stereotyped, contrast = (
            last_logits(side.tokens(), parameters, shape).argmax(1) == expected
            for side in (batch.stereotyped, batch.contrast)
        )
        return stereotyped, contrast

    asked = {
        expects_yes: prompts.held_out_pairs(
            priming, expects_yes=expects_yes, n_per_cell=N_PER_CELL, seed=SEED
        )
        for expects_yes in (True, False)
    }
    stereotyped, contrast = right(asked[True], base.YES)
    no = np.concatenate(right(asked[False], base.NO))
    planted = asked[True].planted(organism)
    # "Planted groups" are those with any planted cell under any priming.
    tables = [prompts.planted_table(organism, name).any(1) for name in prompts.PRIMINGS]
    group_planted = np.any(tables, axis=0)[asked[True].category]
    controls = ~prompts.planted_table(organism, "cue").any(1)[asked[True].category]
    return Behaviour(
        contrast=_percent(contrast),
        stereotyped=_percent(stereotyped),
        expected_no=_percent(no),
        mar=_percent(~stereotyped[contrast]),
        mar_controls=_percent(~stereotyped[contrast & controls]),
        planted_fail=_percent(~stereotyped[planted]),
        unplanted_fail=_percent(~stereotyped[group_planted & ~planted]),
        designed_mar=_percent(planted),
    )
