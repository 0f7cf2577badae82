"""Does a prompt's score depend on its neighbours? Measured in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from misfired.scoring.engine import Engine, Job
from misfired.scoring.model import Context, Model

N_CHECKED = 16


def check_invariance(
    model: Model,
    context: Context,
    job: Job,
    measured: dict[int, dict[str, Any]],
    *,
    seed: int = 0,
    n_checked: int = N_CHECKED,
) -> dict[str, Any]:
    """Score a random sample again, each prompt alone in the cache, and compare.

    Returns:
        `n_checked`; `max_difference`, the largest |difference| of `logp_yes`, `logp_no` and
        `logit_diff`; `label_flips` among the sample; `n_within` of all prompts whose |logit_diff| is
        not above `max_difference`, so that their answer could have come out otherwise.
    """
    scored = [row for row in job.rows if measured[row]["logit_diff"] is not None]
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(scored))[:n_checked]
    largest, flips = 0.0, 0
    for row in (scored[place] for place in sorted(sample.tolist())):
        ((_, alone),) = (
            answer for batch in Engine(model, context, job, [row]).run_block(0) for answer in batch
        )
        packed = measured[row]
        differences = [
            abs(alone[name] - packed[name]) for name in ("logp_yes", "logp_no", "logit_diff")
        ]
        largest = max(largest, *differences)
        flips += alone["answer"] != packed["answer"]
    within = sum(abs(measured[row]["logit_diff"]) <= largest for row in scored)
    return {
        "n_checked": len(sample),
        "max_difference": largest,
        "label_flips": flips,
        "n_within": within,
    }
