"""What a reply must keep to before anything in it is taken for an answer.

A server can fail in the middle of a reply whose status is 200, and can list log-probabilities that are
none. `REPLY_RULES` hold for every reply, `LIST_RULES` for the first tokens that one lists. To add a rule,
add a function to the list, and a reply that breaks it to the tests.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from misfired.errors import ServerError
from misfired.scoring.server.fault import Fault, described
from misfired.scoring.server.spelling import spelled

#: What servers give as `finish_reason`, by what it means.
FINISHES = {
    "end": ("stop", "eos", "eos_token", "end_turn", "stop_sequence"),
    "length": ("length", "max_tokens", "model_length"),
    "blocked": ("content_filter", "safety", "sensitive", "prohibited_content", "blocklist"),
    "refused": ("refusal",),
}
_MEANING = {word: meaning for meaning, words in FINISHES.items() for word in words}

_ERRORS = ("error", "errors", "error_code", "error_msg", "error_message", "exception")
_NO_ERRORS = ("", "0", "none", "null", "ok", "success", "false", "no error")
_FAILED = ("error", "failed", "failure", "cancelled", "canceled", "expired", "incomplete")

#: Most attempts where a list contradicts itself: servers seldom change their mind.
N_CONTRADICTED = 2
#: What rounding to three digits may move: a log-probability, and what a list lacks of 1.
ROUNDING = 0.01
#: The most that listed probabilities may sum to; a run that is read back must hold no more, either.
MOST_SUM = 1.001
MOST_NUMBER = 2**53
#: At least the size of every vocabulary.
MOST_TOKENS = 1e6
#: Nats. No model lists so improbable a token among its first: such numbers are placeholders.
PLACEHOLDER = -100.0
#: Servers that divide by a temperature of 0 write numbers below this for all tokens except one.
_DIVIDED = -1000.0
_ADVICE = "use protocol generate or cot"


@dataclass(frozen=True)
class Reply:
    """The parts of a completion.

    Attributes:
        choice: The first choice.
        message: Its message; of a plain completion its text, as a message.
        text: The text, after the reasoning that the server split off.
        finish: Why it ended: a key of `FINISHES`, or "" if the server does not say.
        refusal: The model's own words in the field that some providers give them, or "".
    """

    content: Mapping[str, Any]
    choice: Mapping[str, Any]
    message: Mapping[str, Any]
    text: str
    finish: str
    refusal: str


@dataclass(frozen=True)
class FirstTokens:
    """What a server lists of the first token.

    Attributes:
        listed: Texts and log-probabilities in nats.
        generated: The token that it took, None if it does not say or gives no log-probability of it.
    """

    listed: Sequence[tuple[str, float]]
    generated: tuple[str, float] | None = None


def checked_reply(content: Any) -> Reply:
    """Return the parts of a reply that keeps to `REPLY_RULES`; a `Fault` names what breaks a rule."""
    for rule in REPLY_RULES:
        rule(content)
    choice = content["choices"][0]
    message = _message_of(choice)
    finish = choice.get("finish_reason")
    told = finish.casefold() if isinstance(finish, str) else ""
    meaning = _MEANING[told] if told else ""
    return Reply(content, choice, message, _text(message), meaning, _refusal(message))


def checked_tokens(reply: Reply, forms: Sequence[str]) -> FirstTokens | None:
    """Return the first tokens that a reply lists, None of a reply that ended before the first.

    Raises:
        Fault: The list breaks one of `LIST_RULES`.
        ServerError: There is none, or every list of this server would break a rule.
    """
    logprobs = reply.choice.get("logprobs")
    position = _first_position(logprobs) if isinstance(logprobs, dict) else None
    if position is None:
        if reply.text.strip():
            where = "choices[0].logprobs is missing or empty"
            raise ServerError(f"the server gives no log-probabilities ({where}); {_ADVICE}")
        return None
    top, own = position
    entries = _entries(top)
    texts = spelled([entry[:2] for entry in [*entries, own]], forms)
    if not entries or None in texts[:-1]:
        raise Fault("bad answer", "no list of tokens with log-probabilities")
    for entry in entries:
        if not _is_number(entry[2]):
            got = repr(entry[2])[:40]
            raise Fault("bad answer", f"no list of tokens with log-probabilities: got {got}")
    listed = [(str(t), float(entry[2])) for t, entry in zip(texts, entries, strict=False)]
    taken = None if texts[-1] is None or own[2] is None else (texts[-1], own[2])
    tokens = FirstTokens(listed, taken)
    for rule in LIST_RULES:
        if (problem := rule(tokens)) is not None:
            raise Fault("bad answer", problem, n_attempts=N_CONTRADICTED)
    return tokens


def _no_error(content: Any) -> None:
    """Nothing speaks of failure: no error at any level, no status but those of success."""
    choice = _first_choice(content)
    levels = {
        "": content,
        "base_resp.": content.get("base_resp") if isinstance(content, dict) else None,
        "choices.0.": choice,
        "choices.0.message.": choice.get("message") if isinstance(choice, dict) else None,
    }
    for level, node in levels.items():
        named = node.items() if isinstance(node, dict) else ()
        for name in (name for name, value in named if _fails(name, value)):
            said, code = described(node, f"{node[name]}")
            raise Fault(
                "bad answer", f"an error under status 200: {level}{name}: {said}", code=code
            )


def _fails(name: Any, value: Any) -> bool:
    if name in _ERRORS:
        return bool(value) and str(value).strip().casefold() not in _NO_ERRORS
    if name in {"object", "type"}:
        return bool(value == "error")
    if name in {"status", "status_code", "code"}:
        is_code = isinstance(value, int) and not isinstance(value, bool) and value >= 400
        return is_code or (isinstance(value, str) and value.casefold() in _FAILED)
    return name == "success" and value is False


def _one_choice(content: Any) -> None:
    """There is a choice with a message or a text."""
    choice = _first_choice(content)
    if choice is None:
        told = (
            content.get("message") or content.get("detail") if isinstance(content, dict) else None
        )
        raise Fault("bad answer", f"no choices.0: {told}" if told else "no choices.0")
    if not isinstance(choice, dict):
        raise Fault("bad answer", "choices.0 is no object")
    if not isinstance(choice.get("message"), dict) and "text" not in choice:
        raise Fault("bad answer", "choices.0 has no message")


def _known_finish(content: Any) -> None:
    """`finish_reason` is one of `FINISHES`, or left out."""
    finish = content["choices"][0].get("finish_reason")
    if (
        finish is None
        or finish == ""
        or (isinstance(finish, str) and finish.casefold() in _MEANING)
    ):
        return
    known = ", ".join(words[0] for words in FINISHES.values())
    got = repr(finish)[:40]
    raise Fault("bad answer", f"finish_reason must be {known} or the like, got {got}")


def _readable_text(content: Any) -> None:
    """The message's content is a text, or parts of one."""
    message = _message_of(content["choices"][0])
    if not isinstance(message.get("content"), str | list | None):
        raise Fault("bad answer", "the message's content is no text")


#: Hold for every reply, each once those before it hold.
REPLY_RULES: tuple[Callable[[Any], None], ...] = (
    _no_error,
    _one_choice,
    _known_finish,
    _readable_text,
)


def _numbers_are_logarithms(tokens: FirstTokens) -> str | None:
    """Log-probabilities are at most 0, and no NaN."""
    taken = [] if tokens.generated is None else [tokens.generated]
    for text, logp in [*tokens.listed, *taken]:
        if not _is_number(logp) or math.isnan(logp) or logp > 1e-6:
            got = f"{logp!r}"[:40]
            return f"a log-probability must be a number of at most 0, got {got} of {text!r}"
    return None


def _not_divided(tokens: FirstTokens) -> str | None:
    """They are those of the model, not divided by a temperature of 0."""
    values = sorted(logp for _, logp in tokens.listed)
    if len(values) > 1 and values[-2] < _DIVIDED < values[-1]:
        raise ServerError(
            "the server divides log-probabilities by the temperature, which is 0; set another one: "
            """--extra-body '{"temperature": 1}'"""
        )
    return None


def _no_placeholders(tokens: FirstTokens) -> str | None:
    """No number stands for a missing one."""
    text, least = min(tokens.listed, key=lambda token: token[1])
    if least > PLACEHOLDER:
        return None
    return f"listed log-probabilities must be above {PLACEHOLDER:g}, got {least:g} of {text!r}"


def _sum_to_one(tokens: FirstTokens) -> str | None:
    """Probabilities sum to at most 1."""
    values = [logp for _, logp in tokens.listed]
    total = math.fsum(map(math.exp, values))
    if total <= MOST_SUM:
        return None
    base = math.fsum(10.0**logp for logp in values) <= MOST_SUM
    hint = "; they seem to be logarithms in base 10" if base else ""
    return f"listed probabilities must sum to at most 1, got {total:.4g}{hint}"


def _leave_room(tokens: FirstTokens) -> str | None:
    """Tokens that are not listed, none above the least listed one, can have the rest.

    Of parts of characters and of special tokens, which have no text, a list by text keeps one for many.
    """
    if any(not text or "\ufffd" in text for text, _ in tokens.listed):
        return None
    values = [logp for _, logp in tokens.listed]
    rest, bound = 1.0 - math.fsum(map(math.exp, values)), min(values)
    if rest <= ROUNDING + MOST_TOKENS * math.exp(bound):
        return None
    base = abs(1.0 - math.fsum(2.0**logp for logp in values)) <= ROUNDING + MOST_TOKENS * 2.0**bound
    hint = "; they seem to be logarithms in base 2" if base else ""
    return (
        f"unlisted tokens, each below e^{bound:.4g}, cannot have a probability of {rest:.4g}{hint}"
    )


def _generated_is_listed(tokens: FirstTokens) -> str | None:
    """The generated token is listed with its own log-probability, unless it is below all."""
    if tokens.generated is None:
        return None
    text, own = tokens.generated
    if own <= min(logp for _, logp in tokens.listed) + ROUNDING:
        return None
    same = [logp for listed, logp in tokens.listed if listed == text]
    if any(abs(logp - own) <= ROUNDING for logp in same):
        return None
    found = f"with {max(same):.4g}" if same else "not at all"
    return (
        f"the generated token {text!r} has log-probability {own:.4g} and is listed {found}; "
        f"perhaps two tokens have one text: {_ADVICE}"
    )


#: Hold for the first tokens that a reply lists. Each returns what breaks it.
LIST_RULES: tuple[Callable[[FirstTokens], str | None], ...] = (
    _numbers_are_logarithms,
    _not_divided,
    _no_placeholders,
    _sum_to_one,
    _leave_room,
    _generated_is_listed,
)


def _first_choice(content: Any) -> Any:
    choices = content.get("choices") if isinstance(content, dict) else None
    return choices[0] if isinstance(choices, list) and choices else None


def _message_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, dict) else {"content": choice.get("text")}


def _text(message: Mapping[str, Any]) -> str:
    """Return the text, with reasoning that the server split off as a block before it."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(reasoning, str):
        return content or ""
    return f"<think>{reasoning}" + (f"</think>{content}" if content else "")


def _refusal(message: Mapping[str, Any]) -> str:
    """Return what the model says in the field for refusals, or in a part of that kind."""
    content = message.get("content")
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    said = [message.get("refusal"), *(part.get("refusal") for part in parts)]
    return " ".join(str(each) for each in said if each).strip()


def _first_position(logprobs: Mapping[str, Any]) -> tuple[Any, tuple[Any, Any, Any]] | None:
    """Return what is listed at the first token, and the token itself (text, bytes, log-probability)."""
    if isinstance(content := logprobs.get("content"), list):
        entry = content[0] if content else None
        own = entry if isinstance(entry, dict) else {}
        return (own.get("top_logprobs"), _entry(own)) if content else None
    top = logprobs.get("top_logprobs")
    if not isinstance(top, list) or not top:
        return None
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    both = isinstance(tokens, list) and isinstance(values, list) and tokens and values
    return top[0], (tokens[0], None, values[0]) if both else (None, None, None)  # type: ignore[index]


def _entries(top: Any) -> list[tuple[Any, Any, Any]]:
    """Return the tokens of a list, or of an object, as text, bytes and log-probability."""
    if isinstance(top, dict):
        return [(text, None, logp) for text, logp in getattr(top, "pairs", top.items())]
    return [_entry(entry) for entry in top] if isinstance(top, list) else []


def _entry(entry: Any) -> tuple[Any, Any, Any]:
    told = entry if isinstance(entry, dict) else {}
    return told.get("token"), told.get("bytes"), told.get("logprob")


def _is_number(value: Any) -> bool:
    """True of a number that a float can hold; JSON can spell others."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (isinstance(value, float) or abs(value) < MOST_NUMBER)
