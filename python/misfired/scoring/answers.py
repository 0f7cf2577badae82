"""From log-probabilities of answer forms, or from a generated text, to an answer and its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.scoring.forms import Form
from misfired.scoring.parse import parse_answer
from misfired.scoring.protocol import Protocol

Logp = npt.NDArray[np.float64]

#: Why a prompt without text has no answer; the one error that asking again cannot mend.
NO_TEXT = "the suite has no text for this priming"


def read_answer(
    logp: Mapping[str, Logp], expected: str, scores: Mapping[str, Logp] | None = None
) -> dict[str, Any]:
    """Turn the log-probabilities of the forms of each answer into one row of measurements.

    `logp_<answer>` is log-sum-exp over the forms of that answer and `mass` the total probability of
    all forms. The answer is the one with the best form: for two answers `logit_diff` is the best form
    of the first minus the best of the second (of `logp` it equals the difference of their logits, by
    which arXiv 2606.18656 decides); for more `margin` is the best answer's minus the second best's.

    Args:
        logp: For each answer natural logarithms of the probabilities of its (disjoint) forms.
        expected: The right answer.
        scores: What forms are compared by, where that is not `logp`.

    Returns:
        `answer`, `outcome`, `reason`, `logp_<answer>` for each answer, `logit_diff` or `margin`,
        `mass`. Where a number is not one, the outcome is `error` and the measurements are null.

    Example:
        >>> row = read_answer({"yes": np.log([0.5, 0.1]), "no": np.log([0.2])}, "no")
        >>> row["answer"], row["outcome"], round(row["mass"], 6)
        ('yes', 'wrong', 0.8)
    """
    names = list(logp)
    totals = [float(np.logaddexp.reduce(logp[name])) for name in names]
    best = np.array([(scores or logp)[name].max() for name in names])
    if np.isnan(totals).any() or np.isnan(best).any():
        return unscored("non-finite logits", names)
    order = np.argsort(-best, kind="stable")
    lead = float(best[order[0]] - best[order[1]])
    tied = not lead > 0.0
    answer = None if tied else names[order[0]]
    two = len(names) == 2
    return {
        "answer": answer,
        "outcome": _outcome(answer, expected),
        "reason": f"tie between {' and '.join(names[i] for i in order[:2])}" if tied else None,
        **{f"logp_{name}": total for name, total in zip(names, totals, strict=True)},
        decision_column(names): float(best[0] - best[1]) if two else lead,
        "mass": float(np.exp(np.logaddexp.reduce(totals))),
    }


def read_forms(
    protocol: Protocol,
    forms: Sequence[Form],
    logp: Sequence[float],
    expected: str,
    baseline: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """One row of measurements from disjoint forms and their log-probabilities.

    Args:
        protocol: Gives the normalisation by which forms are compared.
        forms: The forms.
        logp: Log-probability of each.
        expected: The right answer.
        baseline: For normalisation `unconditional`, the log-probability of each form after the
            content-free prompt.
    """
    scores = [
        value / _divisor(protocol.normalisation, form)
        - (baseline[form.text] if baseline is not None else 0.0)
        for form, value in zip(forms, logp, strict=True)
    ]
    return read_answer(
        _by_answer(protocol, forms, logp), expected, _by_answer(protocol, forms, scores)
    )


def read_text(
    protocol: Protocol, text: str, expected: str, *, in_reasoning: bool, truncated: bool
) -> dict[str, Any]:
    """One row from a generated text: `answer`, `outcome`, `reason`.

    Example:
        >>> from misfired.scoring.protocol import GENERATE
        >>> read_text(GENERATE, "Yes.", "yes", in_reasoning=False, truncated=False)
        {'answer': 'yes', 'outcome': 'correct', 'reason': None}
    """
    parsed = parse_answer(
        protocol.prefix + text, protocol.answers, in_reasoning=in_reasoning, truncated=truncated
    )
    answered = parsed.outcome == "answered"
    return {
        "answer": parsed.answer,
        "outcome": _outcome(parsed.answer, expected) if answered else parsed.outcome,
        "reason": parsed.reason,
    }


def unscored(reason: str, names: Sequence[str] = ("yes", "no")) -> dict[str, Any]:
    """The row of a prompt that could not be scored."""
    measured = ("answer", *(f"logp_{name}" for name in names), decision_column(names), "mass")
    return {**dict.fromkeys(measured), "outcome": "error", "reason": reason}


def decision_column(names: Sequence[str]) -> str:
    """The column whose distance from 0 says how clear an answer is."""
    return "logit_diff" if len(names) == 2 else "margin"


def measured_columns(protocol: Protocol) -> dict[str, pl.DataType]:
    """Columns that a protocol's answers have beyond those of the prompts, with their types."""
    if protocol.generates:
        measured: dict[str, Any] = {
            "text": pl.String,
            "stop": pl.String,
            "n_generated": pl.Int64,
            "logp_text": pl.Float64,
            "least_gap": pl.Float64,
        }
    else:
        names = list(protocol.answers)
        measured = {
            **{f"logp_{name}": pl.Float64 for name in names},
            decision_column(names): pl.Float64,
            "mass": pl.Float64,
            "top_token": pl.String,
            "top_logp": pl.Float64,
        }
    first = {"answer": pl.String, "outcome": pl.String, "reason": pl.String}
    return {**first, **measured, "n_prompt_tokens": pl.Int64}


def _divisor(normalisation: str, form: Form) -> int:
    if normalisation == "per_token":
        return len(form.tokens)
    return len(form.text.encode()) if normalisation == "per_byte" else 1


def _by_answer(
    protocol: Protocol, forms: Sequence[Form], values: Sequence[float]
) -> dict[str, Logp]:
    return {
        answer: np.array(
            [v for form, v in zip(forms, values, strict=True) if form.answer == answer], np.float64
        )
        for answer in protocol.answers
    }


def _outcome(answer: str | None, expected: str) -> str:
    if answer is None:
        return "unparseable"
    return "correct" if answer == expected else "wrong"
