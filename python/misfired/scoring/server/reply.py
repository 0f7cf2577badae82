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

from misfired.errors import ServerError
from misfired.scoring.answers import decision_column, read_answer, read_text
from misfired.scoring.protocol import Protocol
from misfired.scoring.server.client import Fault

#: Most attempts for an empty text: a model may have nothing to say, but busy servers leave texts empty.
N_EMPTY = 2
#: Servers that divide by a temperature of 0 write log-probabilities below this.
_ZERO = -1000.0

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
    _choice(content)
    told = [content.get(name) for name in ("model", "system_fingerprint")]
    return Identity(*(text if isinstance(text, str) and text else None for text in told))


def read_reply(content: Any, protocol: Protocol, expected: str) -> dict[str, Any]:
    """Read the JSON content of a chat completion, or of a plain one, asked by a protocol.

    Returns:
        Values by name of `misfired.scoring.answers.ANSWER_COLUMNS`; missing ones are null.

    Raises:
        Fault: The content is no completion, or an empty one, which another attempt may fill.
        ServerError: The server gives no log-probabilities, or not those of the model.
    """
    choice = _choice(content)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": choice.get("text")}
    told = {**_usage(content), "fingerprint": read_identity(content).fingerprint}
    text = _text(message)
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return {**abstained("blocked"), **told, **_kept(protocol, text, finish)}
    if message.get("refusal"):
        return {**abstained("refused"), **told, **_kept(protocol, str(message["refusal"]), finish)}
    if not protocol.generates:
        return {**_read_first_token(choice, text, protocol, expected), **told}
    if not text.strip() and finish != "length":
        raise Fault("empty text", n_attempts=N_EMPTY)
    read = read_text(protocol, text, expected, in_reasoning=False, truncated=finish == "length")
    return {**read, **told, **_kept(protocol, text, finish)}


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
    logp = {
        answer: np.array([value for text, value in listed if text in forms], np.float64)
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


def _read_first_token(
    choice: dict[str, Any], text: str, protocol: Protocol, expected: str
) -> dict[str, Any]:
    logprobs = choice.get("logprobs")
    positions = _positions(logprobs) if isinstance(logprobs, dict) else None
    if not positions:
        if positions is None and text.strip():
            raise ServerError(
                "the server gives no log-probabilities (choices[0].logprobs is missing); "
                "use protocol generate or cot"
            )
        return {"answer": None, "outcome": "unparseable", "reason": "empty"}
    listed = _listed(positions[0])
    if len(listed) > 1 and sorted(logp for _, logp in listed)[-2] < _ZERO:
        raise ServerError(
            "the server divides log-probabilities by the temperature, which is 0; set another one: "
            """--extra-body '{"temperature": 1}'"""
        )
    return read_top_tokens(listed, protocol, expected)


def _positions(logprobs: dict[str, Any]) -> list[Any] | None:
    """Return the tokens listed at each position of a chat completion, or of a plain one."""
    if isinstance(logprobs.get("content"), list):
        entries = logprobs["content"]
        return [entry.get("top_logprobs") if isinstance(entry, dict) else None for entry in entries]
    top = logprobs.get("top_logprobs")
    return top if isinstance(top, list) else None


def _listed(position: Any) -> list[tuple[str, float]]:
    pairs: list[tuple[Any, Any]]
    if isinstance(position, list):
        entries = [entry if isinstance(entry, dict) else {} for entry in position]
        pairs = [(entry.get("token"), entry.get("logprob")) for entry in entries]
    else:
        pairs = list(position.items()) if isinstance(position, dict) else []
    if not pairs or not all(isinstance(text, str) and _is_logp(logp) for text, logp in pairs):
        raise Fault("bad answer", "no list of tokens with log-probabilities")
    return [(text, float(logp)) for text, logp in pairs]


def _is_logp(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value) and value <= 1e-6


def _text(message: dict[str, Any]) -> str:
    """Return the text, with reasoning that the server split off as a block before it."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise Fault("bad answer", "the message's content is no text")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(reasoning, str):
        return content or ""
    return f"<think>{reasoning}" + (f"</think>{content}" if content else "")


def _kept(protocol: Protocol, text: str, finish: Any) -> dict[str, Any]:
    if not protocol.generates:
        return {}
    stop = finish if isinstance(finish, str) else None
    return {"text": text, "stop": "end" if stop == "stop" else stop}


def _usage(content: dict[str, Any]) -> dict[str, Any]:
    usage = content.get("usage")
    told = usage if isinstance(usage, dict) else {}
    names = {"n_prompt_tokens": "prompt_tokens", "n_generated": "completion_tokens"}
    counts = {name: told.get(theirs) for name, theirs in names.items()}
    is_valid = {name: isinstance(n, int) and 0 <= n < _MOST_TOKENS for name, n in counts.items()}
    return {name: n if is_valid[name] else None for name, n in counts.items()}


def _choice(content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and content.get("error"):
        raise Fault("bad answer", f"an error under status 200: {content['error']}")
    try:
        choice = content["choices"][0]
    except (KeyError, IndexError, TypeError):
        raise Fault("bad answer", "no choices.0") from None
    if not isinstance(choice, dict):
        raise Fault("bad answer", "choices.0 is no object")
    return choice
