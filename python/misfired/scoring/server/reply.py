"""Replies: one row of measurements from the content of a reply.

An answer differs from a refusal (the model's own words, or the field that some providers give it), a
block (by the provider's filter), and a bad answer, which cannot be read. None of these is a wrong
answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from misfired.scoring.answers import decision_column, read_answer, read_text
from misfired.scoring.protocol import Protocol
from misfired.scoring.server.check import Reply, checked_reply, checked_tokens
from misfired.scoring.server.fault import Fault

#: Most attempts for an empty text: a model may have nothing to say, but busy servers leave texts empty.
N_EMPTY = 2
_MOST_TOKENS = 2**31


@dataclass(frozen=True)
class Identity:
    """Names that a server gives to the model and to its configuration; None if it gives none."""

    model: str | None
    system_fingerprint: str | None

    @property
    def fingerprint(self) -> str | None:
        """Both in one text, as in the answers."""
        return " ".join(filter(None, (self.model, self.system_fingerprint))) or None


def read_identity(content: Any) -> Identity:
    """Return what answered; a `Fault` if the content is no completion."""
    return _identity(checked_reply(content))


def read_reply(content: Any, protocol: Protocol, expected: str) -> dict[str, Any]:
    """Read the JSON content of a chat completion, or of a plain one, asked by a protocol.

    Returns:
        Values by name of `misfired.scoring.answers.ANSWER_COLUMNS`; missing ones are null.

    Raises:
        Fault: The content breaks a rule of `misfired.scoring.server.check`, or is empty; another attempt
            may mend it.
        ServerError: The server gives no log-probabilities, or not those of the model.
    """
    reply = checked_reply(content)
    told = {**_usage(content), "fingerprint": _identity(reply).fingerprint}
    if reply.finish == "blocked":
        return {**abstained("blocked"), **told, **_kept(protocol, reply, reply.text)}
    if reply.refusal or reply.finish == "refused":
        said = reply.refusal or reply.text
        return {**abstained("refused"), **told, **_kept(protocol, reply, said)}
    if not protocol.generates:
        return {**_read_first_token(reply, protocol, expected), **told}
    truncated = reply.finish == "length"
    if not reply.text.strip() and not truncated:
        raise Fault("empty text", n_attempts=N_EMPTY)
    read = read_text(protocol, reply.text, expected, in_reasoning=False, truncated=truncated)
    return {**read, **told, **_kept(protocol, reply, reply.text)}


def abstained(reason: str) -> dict[str, Any]:
    """Return the row of a prompt that was refused or blocked."""
    return {"answer": None, "outcome": "abstained", "reason": reason}


def read_top_tokens(
    listed: Sequence[tuple[str, float]], protocol: Protocol, expected: str
) -> dict[str, Any]:
    """Read an answer from texts and log-probabilities (in nats) of the most probable first tokens.

    A token counts for an answer if its text is one of the answer's forms. No unlisted token is more
    probable than the least listed one, `logp_bound`; all unlisted tokens together have probability
    `unseen`. The answer is certain if its best form is listed above the bound. `logit_diff` is a number
    only if every answer is listed; else it is at least the best form's log-probability minus
    `logp_bound`. `logp_<answer>` and `mass` count listed forms and are at most `unseen` too small.

    Example:
        >>> from misfired.scoring.protocol import LOGIT
        >>> row = read_top_tokens([("Yes", np.log(0.7)), ("Maybe", np.log(0.1))], LOGIT, "yes")
        >>> row["answer"], row["logp_no"], row["logit_diff"], round(row["unseen"], 6)
        ('yes', None, None, 0.2)
    """
    listed = sorted(listed, key=lambda token: -token[1])
    (top_token, top_logp), (_, bound) = listed[0], listed[-1]
    unseen = max(0.0, 1.0 - math.fsum(math.exp(logp) for _, logp in listed))
    about = {"top_token": top_token, "top_logp": top_logp, "logp_bound": bound, "unseen": unseen}
    texts = _by_text(listed)
    logp = {
        answer: np.array([texts[text] for text in texts if text in forms], np.float64)
        for answer, forms in protocol.answers.items()
    }
    seen = [values.max() for values in logp.values() if len(values)]
    if len(seen) < len(logp) and not max(seen, default=bound) > bound:
        reason = f"no answer stands out among the {len(listed)} most probable tokens"
        return {"answer": None, "outcome": "unparseable", "reason": reason, **about}
    unlisted = np.array([-math.inf])
    row = read_answer({name: v if len(v) else unlisted for name, v in logp.items()}, expected)
    numbers = (decision_column(list(logp)), *(f"logp_{name}" for name in logp))
    finite = {name: row[name] if math.isfinite(row[name]) else None for name in numbers}
    return {**row, **finite, **about}


def _by_text(listed: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the log-probability of each text; those of several tokens with one text add up."""
    texts: dict[str, float] = {}
    for text, logp in listed:
        texts[text] = float(np.logaddexp(texts[text], logp)) if text in texts else logp
    return texts


def _read_first_token(reply: Reply, protocol: Protocol, expected: str) -> dict[str, Any]:
    forms = [form for texts in protocol.answers.values() for form in texts]
    tokens = checked_tokens(reply, forms)
    if tokens is None:
        return {"answer": None, "outcome": "unparseable", "reason": "empty"}
    return read_top_tokens(tokens.listed, protocol, expected)


def _identity(reply: Reply) -> Identity:
    told = [reply.content.get(name) for name in ("model", "system_fingerprint")]
    return Identity(*(text if isinstance(text, str) and text else None for text in told))


def _kept(protocol: Protocol, reply: Reply, text: str) -> dict[str, Any]:
    if not protocol.generates:
        return {}
    known = reply.finish in {"end", "length"}
    return {"text": text, "stop": reply.finish if known else reply.choice.get("finish_reason")}


def _usage(content: dict[str, Any]) -> dict[str, Any]:
    usage = content.get("usage")
    told = usage if isinstance(usage, dict) else {}
    names = {"n_prompt_tokens": "prompt_tokens", "n_generated": "completion_tokens"}
    counts = {name: told.get(theirs) for name, theirs in names.items()}
    details = told.get("completion_tokens_details")
    counts["n_reasoning"] = details.get("reasoning_tokens") if isinstance(details, dict) else None
    is_valid = {name: type(n) is int and 0 <= n < _MOST_TOKENS for name, n in counts.items()}
    return {name: n if is_valid[name] else None for name, n in counts.items()}
