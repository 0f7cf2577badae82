"""What a reply must keep to before anything in it is taken for an answer.

A server can fail in the middle of a reply whose status is 200, and can list log-probabilities that are
none. `REPLY_RULES` hold for every reply, `LIST_RULES` for the first tokens that one lists. To add a rule,
add a function to the list, and a reply that breaks it to the tests.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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

#: Names of fields that speak of failure, in lower case and without `_` and `-`.
_ERRORS = (
    "error",
    "errors",
    "errorcode",
    "errormsg",
    "errormessage",
    "exception",
    "err",
    "iserror",
)
_NO_ERRORS = ("", "0", "none", "null", "ok", "success", "false", "no error")
_STATUSES = ("status", "statuscode", "state", "code", "nativefinishreason")
_FAILED = ("error", "failed", "failure", "cancelled", "canceled", "expired", "incomplete")
#: Where a status is that of the reply.
_TOPMOST = ("", "base_resp.", "choices.0.", "choices.0.message.")
#: What is not looked into: texts of tokens as names, and the errors of a filter that let an answer pass.
_OPAQUE = {"top_logprobs", "content_filter_results", "prompt_filter_results"}

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
        text: The reply's text, "" if reasoning stands before it.
    """

    listed: Sequence[tuple[str, float]]
    generated: tuple[str, float] | None = None
    text: str = ""


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
    text = "" if _reasoning(reply.message) else _content(reply.message)
    tokens = FirstTokens(listed, taken, text)
    for rule in LIST_RULES:
        if (problem := rule(tokens)) is not None:
            raise Fault("bad answer", problem, n_attempts=N_CONTRADICTED)
    return tokens


def _no_error(content: Any) -> None:
    """Nothing speaks of failure: no error at any level, no status but those of success."""
    for place, node in _objects(content):
        for name, value in node.items():
            if _is_error(name, value) or (place in _TOPMOST and _is_failure(name, value)):
                said, code = described(node, f"{value}")
                problem = f"an error under status 200: {place}{name}: {said}"
                raise Fault("bad answer", problem, code=code)


def _objects(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a reply, after its place."""
    if isinstance(value, dict):
        yield place, value
        for name, each in value.items():
            yield from () if name in _OPAQUE else _objects(each, f"{place}{name}.")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _objects(each, f"{place}{number}.")


def _is_error(name: str, value: Any) -> bool:
    if _plain(name) in _ERRORS:
        return bool(value) and str(value).strip().casefold() not in _NO_ERRORS
    return name in {"object", "type"} and value == "error"


def _is_failure(name: str, value: Any) -> bool:
    if _plain(name) in {"success", "ok"}:
        return str(value).casefold() == "false"
    if _plain(name) not in _STATUSES or isinstance(value, bool):
        return False
    told = str(value).casefold()
    return told in _FAILED or (told.isdecimal() and float(told) >= 400)


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


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
    said = _message_of(content["choices"][0]).get("content")
    parts = said if isinstance(said, list) else []
    if not isinstance(said, str | list | None) or not all(isinstance(p, dict | str) for p in parts):
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


def _text_holds_it(tokens: FirstTokens) -> str | None:
    """The text holds the generated token, if that is a word."""
    said, own = tokens.text.strip(), tokens.generated[0].strip() if tokens.generated else ""
    if not own.isalnum() or own in said or said in own:
        return None
    return f"the text must hold the generated token {own!r}, got {said[:40]!r}"


#: Hold for the first tokens that a reply lists. Each returns what breaks it.
LIST_RULES: tuple[Callable[[FirstTokens], str | None], ...] = (
    _numbers_are_logarithms,
    _not_divided,
    _no_placeholders,
    _sum_to_one,
    _leave_room,
    _generated_is_listed,
    _text_holds_it,
)


def _first_choice(content: Any) -> Any:
    choices = content.get("choices") if isinstance(content, dict) else None
    return choices[0] if isinstance(choices, list) and choices else None


def _message_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, dict) else {"content": choice.get("text")}


def _text(message: Mapping[str, Any]) -> str:
    """Return the text, with reasoning that the server split off as a block before it."""
    content, reasoning = _content(message), _reasoning(message)
    if reasoning is None:
        return content
    return f"<think>{reasoning}" + (f"</think>{content}" if content else "")


def _content(message: Mapping[str, Any]) -> str:
    """Return the text, joined where it comes in parts."""
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)


def _reasoning(message: Mapping[str, Any]) -> str | None:
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else None


def _refusal(message: Mapping[str, Any]) -> str:
    """Return what the model says in the field for refusals, or in a part of that kind."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    said = [message, *(part for part in parts if isinstance(part, dict))]
    return " ".join(str(each["refusal"]) for each in said if each.get("refusal")).strip()


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
