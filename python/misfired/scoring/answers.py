"""Columns of `answers.parquet`, and how an answer and its outcome are read from a reply."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from misfired.scoring.forms import Form
from misfired.scoring.parse import parse_answer
from misfired.scoring.protocol import Protocol

Logp = npt.NDArray[np.float64]
#: Why a prompt without text has no answer; the one error that a retry cannot mend.
NO_TEXT = "the suite has no text for this priming"


class Column(NamedTuple):
    """A column of `answers.parquet`.

    Attributes:
        name: Its name; `{answer}` stands for each answer of the protocol.
        dtype: Its type.
        unit: Unit of a number.
        only: Which runs have it, in words that must all hold: protocols that read answer `forms` or a
            `text`; with two answers (`logit_diff`) or more (`margin`); a `server`; suites with twins
            (`twin_of`). `prompt` marks what is known before anything is measured.
        made_by: The function or class of `misfired` that fills it.
        meaning: What it holds.
        limits: Least and largest value of a sound answer.
    """

    name: str
    dtype: Any
    unit: str
    only: str
    made_by: str
    meaning: str
    limits: tuple[float, float] = (-math.inf, math.inf)


#: Sums of rounded probabilities may exceed 1 by a little.
_ROUNDING = 1e-3
_LOGP, _PROBABILITY = (-math.inf, _ROUNDING), (0.0, 1.0 + _ROUNDING)
_AT_LEAST_0, _COUNT = (0.0, math.inf), (0, 2**31)


_BUILD, _READ = "prompts.prompt_set.build_prompts", "scoring.answers.read_answer"
_ENGINE, _TEXTS = "scoring.llama.engine.Engine", "scoring.llama.engine.TextEngine"
_REPLY, _TOP = "scoring.server.reply.read_reply", "scoring.server.reply.read_top_tokens"

#: Every column of `answers.parquet`, in its order. To add one, add a row, and return its value from what fills it.
# fmt: off
ANSWER_COLUMNS = (
    Column("id", pl.String, "", "prompt", _BUILD, "the pair"),
    Column("category", pl.String, "", "prompt", _BUILD, "category of the pair, such as Age"),
    Column("scenario", pl.String, "", "prompt", _BUILD, "scenario of the pair: what is resampled as one"),
    Column("twin_of", pl.String, "", "prompt twin_of", _BUILD, "the pair of which this one is the twin, else null"),
    Column("priming", pl.String, "", "prompt", _BUILD, "the priming; `none` for the bare prompt"),
    Column("condition", pl.String, "", "prompt", _BUILD, "side of the pair: `stereotyped` or `contrast`"),
    Column("expected", pl.String, "", "prompt", _BUILD, "the right answer"),
    Column("answer", pl.String, "", "", _READ, "the model's answer, null if it gave none"),
    Column("outcome", pl.String, "", "", _READ, "`correct`, `wrong`, `abstained`, `unparseable` or `error`"),
    Column("reason", pl.String, "", "", _READ, "why there is no answer, or how the text was read"),
    Column("logp_{answer}", pl.Float64, "nat", "forms", _READ, "log-probability that the reply begins with a form of this answer", _LOGP),
    Column("logit_diff", pl.Float64, "nat", "forms logit_diff", _READ, "score of the first answer's best form minus that of the second's; its sign decides"),
    Column("margin", pl.Float64, "nat", "forms margin", _READ, "score of the best answer's best form minus that of the second best's", _AT_LEAST_0),
    Column("mass", pl.Float64, "probability", "forms", _READ, "probability of all answer forms together", _PROBABILITY),
    Column("top_token", pl.String, "", "forms", _ENGINE, "the most probable token where the answer is read"),
    Column("top_logp", pl.Float64, "nat", "forms", _ENGINE, "its log-probability", _LOGP),
    Column("text", pl.String, "", "text", _TEXTS, "the generated text"),
    Column("stop", pl.String, "", "text", _TEXTS, "why the text ended: `end` of turn, a stop `text`, `length`, or what a server says"),
    Column("n_generated", pl.Int64, "token", "text", _TEXTS, "length of the text", _COUNT),
    Column("logp_text", pl.Float64, "nat", "text", _TEXTS, "log-probability of the text; null from a server", _LOGP),
    Column("least_gap", pl.Float64, "logit", "text", _TEXTS, "least lead of a chosen token over the next best; null from a server", _AT_LEAST_0),
    Column("n_prompt_tokens", pl.Int64, "token", "", _ENGINE, "length of the whole prompt", _COUNT),
    Column("n_generated", pl.Int64, "token", "server forms", _REPLY, "length of the reply, as the server counts it", _COUNT),
    Column("n_reasoning", pl.Int64, "token", "server", _REPLY, "tokens of reasoning within the reply, as the server counts them; null where it does not", _COUNT),
    Column("fingerprint", pl.String, "", "server", _REPLY, "model and configuration that the server says replied"),
    Column("unseen", pl.Float64, "probability", "server forms", _TOP, "probability of all tokens that the server did not list", _PROBABILITY),
    Column("logp_bound", pl.Float64, "nat", "server forms", _TOP, "log-probability that no unlisted token exceeds", _LOGP),
)
# fmt: on


def read_answer(
    logp: Mapping[str, Logp], expected: str, scores: Mapping[str, Logp] | None = None
) -> dict[str, Any]:
    """Return one row of measurements from the log-probabilities (nats) of each answer's disjoint forms.

    `logp_<answer>` is log-sum-exp over the forms of that answer and `mass` the total probability of
    all forms. The answer is the one with the best form, by `scores` (default `logp`). With two answers `logit_diff` is the best form
    of the first minus that of the second: with `logp` the difference of their logits, by which
    arXiv 2606.18656 decides. With more, `margin` is the best answer's minus the second best's. If a
    number is NaN, the outcome is `error` and the measurements are null.

    Example:
        >>> row = read_answer({"yes": np.log([0.5, 0.1]), "no": np.log([0.2])}, "no")
        >>> row["answer"], row["outcome"], round(row["mass"], 6)
        ('yes', 'wrong', 0.8)
    """
    names, decides = list(logp), decision_column(list(logp))
    logps, scores = [f"logp_{name}" for name in names], scores or logp
    if np.isnan(np.concatenate([*logp.values(), *scores.values()])).any():
        blank = dict.fromkeys(["answer", *logps, decides, "mass"])
        return {**blank, "outcome": "error", "reason": "non-finite logits"}
    totals = [float(np.logaddexp.reduce(logp[name])) for name in names]
    best = np.array([scores[name].max() for name in names])
    order = np.argsort(-best, kind="stable")
    lead = float(best[order[0]] - best[order[1]])
    tied = not lead > 0.0
    answer = None if tied else names[order[0]]
    return {
        "answer": answer,
        "outcome": _outcome(answer, expected),
        "reason": f"tie between {' and '.join(names[i] for i in order[:2])}" if tied else None,
        **dict(zip(logps, totals, strict=True)),
        decides: float(best[0] - best[1]) if len(names) == 2 else lead,
        "mass": float(np.exp(np.logaddexp.reduce(totals))),
    }


def read_forms(
    protocol: Protocol,
    forms: Sequence[Form],
    logp: Sequence[float],
    expected: str,
    baseline: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return one row of measurements from disjoint forms and the log-probability of each.

    `baseline` gives that of each form after the content-free prompt, for normalisation `unconditional`.
    """
    lengths = {
        "per_token": [len(form.tokens) for form in forms],
        "per_byte": [len(form.text.encode()) for form in forms],
    }.get(protocol.normalisation, 1)
    shifts = [0.0 if baseline is None else baseline[form.text] for form in forms]
    values, of = np.array(logp, np.float64), np.array([form.answer for form in forms])
    scores = values / lengths - shifts
    return read_answer(
        {answer: values[of == answer] for answer in protocol.answers},
        expected,
        {answer: scores[of == answer] for answer in protocol.answers},
    )


def read_text(
    protocol: Protocol, text: str, expected: str, *, in_reasoning: bool, truncated: bool
) -> dict[str, Any]:
    """Return one row from a generated text: `answer`, `outcome`, `reason`.

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


def decision_column(names: Sequence[str]) -> str:
    """Return the name of the column that decides; its distance from 0 says how clear the answer is."""
    return "logit_diff" if len(names) == 2 else "margin"


def measured_columns(protocol: Protocol, *, server: bool = False) -> dict[str, pl.DataType]:
    """Return name and type of each column that a run measures, beside those of the prompts.

    Example:
        >>> from misfired.scoring.protocol import GENERATE
        >>> list(measured_columns(GENERATE, server=True))[3:]
        ['text', 'stop', 'n_generated', 'logp_text', 'least_gap', 'n_prompt_tokens', 'n_reasoning',
         'fingerprint']
    """
    names = list(protocol.answers)
    reading = {"text"} if protocol.generates else {"forms", decision_column(names)}
    tags = reading | ({"server"} if server else set())
    return {
        column.name.format(answer=answer): column.dtype
        for column in ANSWER_COLUMNS
        if tags.issuperset(column.only.split())
        for answer in (names if "{answer}" in column.name else names[:1])
    }


def _outcome(answer: str | None, expected: str) -> str:
    if answer is None:
        return "unparseable"
    return "correct" if answer == expected else "wrong"
