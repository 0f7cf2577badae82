"""From log-probabilities of answer tokens to an answer and its outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Logp = npt.NDArray[np.float64]


def read_answer(logp: dict[str, Logp], expected: str) -> dict[str, Any]:
    """Turn the log-probabilities of yes and no forms into one row of measurements.

    `logp_yes` and `logp_no` are log-sum-exp over the forms of each answer, `mass` is the total
    probability of all forms, and `logit_diff` the best yes form minus the best no form (equal to the
    difference of their logits, by which arXiv 2606.18656 decides): above 0 the answer is yes.

    Args:
        logp: Natural logarithms of the probabilities of the forms, under the keys `yes` and `no`.
        expected: The right answer.

    Returns:
        `answer`, `outcome`, `reason`, `logp_yes`, `logp_no`, `logit_diff`, `mass`. Where a
        log-probability is not a number, the outcome is `error` and the measurements are null.

    Example:
        >>> row = read_answer({"yes": np.log([0.5, 0.1]), "no": np.log([0.2])}, "no")
        >>> row["answer"], row["outcome"], round(row["mass"], 6)
        ('yes', 'wrong', 0.8)
    """
    yes, no = logp["yes"], logp["no"]
    total = float(np.logaddexp.reduce(np.concatenate([yes, no])))
    if np.isnan(total):
        return unscored("non-finite logits")
    diff = float(yes.max() - no.max())
    answer = None if diff == 0.0 else "yes" if diff > 0.0 else "no"
    return {
        "answer": answer,
        "outcome": _outcome(answer, expected),
        "reason": "tie between yes and no" if answer is None else None,
        "logp_yes": float(np.logaddexp.reduce(yes)),
        "logp_no": float(np.logaddexp.reduce(no)),
        "logit_diff": diff,
        "mass": float(np.exp(total)),
    }


def unscored(reason: str) -> dict[str, Any]:
    """The row of a prompt that could not be scored."""
    measured = ("answer", "logp_yes", "logp_no", "logit_diff", "mass")
    return {**dict.fromkeys(measured), "outcome": "error", "reason": reason}


def _outcome(answer: str | None, expected: str) -> str:
    if answer is None:
        return "unparseable"
    return "correct" if answer == expected else "wrong"
