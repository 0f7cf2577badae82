"""Does a prompt's score depend on its neighbours? Measured in every run, never assumed.

On the CPU llama.cpp rounds activations that meet f16 or quantised weights, and looks GELU up in a table:
1e-7 in the order of a sum can become 1e-4 in an answer. `exact` then gives each prompt batches of its own
(`solo`), the very bits of a prompt alone without flash attention, or else keeps nothing (`fresh`).
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from misfired.scoring.answers import decision_column
from misfired.scoring.backend import Row
from misfired.scoring.llama.engine import Job, Packing, alone, answer_all, engine_for
from misfired.scoring.llama.model import Context
from misfired.scoring.options import DecodingOptions, KvCache
from misfired.scoring.protocol import Protocol

#: Prompts scored both ways before a run begins: where rounding is rare, a few may agree by luck. `N_FEW`
#: where a text is written for each, or where luck cannot hide anything.
N_TRIED, N_FEW = 24, 6
#: The largest difference that `exact` accepts.
TOLERANCE = 1e-5
#: Prompts scored again, alone, when a run is done.
N_CHECKED = 16
#: Columns that are compared, beside `logp_...`.
_COMPARED = {"logit_diff", "margin", "top_logp", "least_gap"}


def choose_packing(context: Context, job: Job, options: DecodingOptions) -> dict[str, Any]:
    """Try whether what prompts share changes their scores.

    Returns:
        `packing`, and for `exact` what it was chosen by: `n_tried` prompts, spread evenly over the
        job, and `differences`, the largest between each packing that was tried and alone. `fast`
        packs without asking; models whose state cannot be rolled back never pack.
    """
    if not context.model.can_share_prefixes:
        return {"packing": "fresh", "n_tried": 0, "differences": {}}
    if options.mode == "fast":
        return {"packing": "packed", "n_tried": 0, "differences": {}}
    tried = _spread(job, N_FEW if job.protocol.generates else N_TRIED)
    single = alone(context, tried)
    differences: dict[Packing, float] = {}
    packing: Packing = "fresh"
    for candidate in _candidates(job, options.kv_cache) if single else ():
        measured = answer_all(engine_for(context, tried, packing=candidate))
        packed = [measured[row] for row in tried.prompts]
        differences[candidate] = max(map(_difference, packed, single))
        # Texts need not be written one at a time: the engine repeats those with a close choice.
        if differences[candidate] <= TOLERANCE or job.protocol.generates:
            packing = candidate
            break
    return {"packing": packing, "n_tried": len(single), "differences": differences}


def _candidates(job: Job, cache: KvCache) -> tuple[Packing, ...]:
    """Return packings that may give the score of a prompt alone, the fastest first."""
    if job.protocol.generates:
        return ("packed",)
    # A cache of fewer bits rounds what differs by 1e-7, and flash attention divides its sums by the shape
    # of the batch: a few prompts may show no difference, and many do.
    if cache.flash_attention != "off":
        return ()
    return ("packed", "solo") if {cache.type_k, cache.type_v} == {"f32"} else ("solo",)


def measure_effect(unchanged: Context, changed: Context, job: Job) -> dict[str, Any]:
    """Score some prompts, each alone, on a context without and on one with an intervention.

    Returns:
        `n_tried` prompts, spread evenly over the job; `n_changed`, those for which anything differs;
        `max_change`, the largest |difference| of the log-probabilities and of `logit_diff` (`margin`),
        null for texts.
    """
    tried = _spread(job, N_FEW)
    before, after = alone(unchanged, tried), alone(changed, tried)
    largest = max(map(_difference, before, after), default=0.0)
    return {
        "n_tried": len(before),
        "n_changed": sum(map(operator.ne, before, after)),
        "max_change": None if job.protocol.generates else largest,
    }


def check_invariance(
    answers: pl.DataFrame,
    protocol: Protocol,
    score_alone: Callable[[list[int]], list[Row]],
    *,
    seed: int,
) -> dict[str, Any]:
    """Score a random sample again, each prompt alone in the cache, and compare.

    Returns:
        `n_checked`; `max_difference`, the largest |difference| of the log-probabilities and of
        `logit_diff` (`margin`); `label_flips` among the sample; `n_within`, the prompts of all whose
        |logit_diff| (|margin|, the least lead of a text's choices) is not above `max_difference`:
        their answer could have come out otherwise. For texts also `texts_differ`.
    """
    generates = protocol.generates
    decision = answers["least_gap" if generates else decision_column(list(protocol.answers))]
    scored = decision.is_not_null().arg_true().to_list()
    rng = np.random.default_rng(seed)
    sample = [scored[place] for place in sorted(rng.permutation(len(scored))[:N_CHECKED].tolist())]
    both = list(zip(score_alone(sample), answers[sample].to_dicts(), strict=True)) if sample else []
    largest = max((_difference(single, row) for single, row in both), default=0.0)
    differ = sum(single.get("text") != row.get("text") for single, row in both)
    return {
        **({"texts_differ": differ} if generates else {}),
        "n_checked": len(sample),
        "max_difference": largest,
        "label_flips": sum(single["answer"] != row["answer"] for single, row in both),
        "n_within": int((decision.abs() <= largest).sum()),
    }


def _spread(job: Job, n: int) -> Job:
    """Return the job with `n` of its prompts, spread evenly."""
    rows = list(job.prompts)
    return job.only(sorted({rows[place * len(rows) // n] for place in range(n)} if rows else ()))


def _difference(left: Row, right: Row) -> float:
    if left.get("text") != right.get("text"):
        # Two texts part where a choice was close; what follows says nothing about rounding.
        return float(min(left["least_gap"], right["least_gap"]))
    names = [name for name in left if name.startswith("logp_") or name in _COMPARED]
    pairs = [(left[name], right[name]) for name in names]
    if any(value is None for pair in pairs for value in pair):
        return 0.0
    # The disjoint part of a form may be nothing, whose logarithm is minus infinity on both sides.
    return max(0.0 if a == b else abs(a - b) for a, b in pairs)
