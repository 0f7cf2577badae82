"""Answer forms as tokens: what must be decoded to score each, and their probabilities.

A form is the event that the model's continuation begins with its tokens. Where a form of another
answer extends it ("no", "not sure"), the longer one's event is taken out of the shorter one's: forms are
disjoint, and their probabilities add up.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from misfired.errors import ModelError
from misfired.scoring.protocol import Protocol

Ids = npt.NDArray[np.int32]
Tokens = tuple[int, ...]
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Form:
    """A surface form of an answer, as tokens after `AnswerTokens.keep` tokens of the prompt."""

    answer: str
    text: str
    tokens: Tokens


@dataclass(frozen=True)
class AnswerTokens:
    """Where and what to read for one prompt.

    Attributes:
        keep: Leading prompt tokens that are decoded; the answer is read after the last of them. It is
            less than the prompt's length where prompt and form merge into one token.
        forms: The forms that are scored: distinct token sequences, first-token forms of length 1.
        dropped: Forms that cannot be told apart, or that a shorter form of the same answer includes.
        partial: Forms of several tokens that are read by their first: "YES" by "Y". Every text that
            begins with that token counts as the form.
    """

    keep: int
    forms: tuple[Form, ...]
    dropped: list[str]
    partial: list[str] = field(default_factory=list)

    @property
    def ids(self) -> dict[str, list[int]]:
        """Distinct first-token ids of each answer, in the order of its forms."""
        found: dict[str, dict[int, None]] = {}
        for form in self.forms:
            found.setdefault(form.answer, {})[form.tokens[0]] = None
        return {answer: list(tokens) for answer, tokens in found.items()}

    @property
    def n_longest(self) -> int:
        """Most tokens beyond `keep` that are decoded."""
        return max((len(form.tokens) - 1 for form in self.forms), default=0)

    @cached_property
    def nodes(self) -> list[tuple[Tokens, list[int]]]:
        """Positions to read: (tokens after `keep`, ids wanted there); the first is the prompt's end."""
        children: dict[Tokens, dict[int, None]] = {(): {}}
        for form in self.forms:
            for place, token in enumerate(form.tokens):
                children.setdefault(form.tokens[:place], {})[token] = None
        return [(path, list(wanted)) for path, wanted in sorted(children.items())]

    def log_probabilities(self, read: Mapping[tuple[Tokens, int], float]) -> list[float]:
        """Return the log-probability of each form, made disjoint, from that of each wanted id at each node.

        With E the forms that extend F with no other form between,
        `logp(F) = raw(F) + log(1 - sum over E of exp(raw(E) - raw(F)))`, where `raw` sums the
        log-probabilities of a form's tokens.
        """
        raw = [
            math.fsum(read[form.tokens[:place], token] for place, token in enumerate(form.tokens))
            for form in self.forms
        ]
        return [
            own + _log_rest([raw[longer] - own for longer in self._extensions[index]])
            for index, own in enumerate(raw)
        ]

    @cached_property
    def _extensions(self) -> list[list[int]]:
        places = {form.tokens: index for index, form in enumerate(self.forms)}
        found: list[list[int]] = [[] for _ in self.forms]
        for longer, form in enumerate(self.forms):
            if (shorter := _extended(form, places)) is not None:
                found[shorter].append(longer)
        return found


def find_forms(protocol: Protocol, ids: Ids, joint: Mapping[str, Ids]) -> AnswerTokens:
    """Find where forms are read, from the tokens of the prompt and of it with each form right behind it.

    Forms that are read by one token are read where most of them can be told apart. That is nearly
    always the prompt's end; where most forms merge with the prompt's last token (a prompt that ends in
    a space) it is before that token. The earlier of two equal places wins.

    Raises:
        ModelError: An answer has no form that differs from those of the other answers.
    """
    shared = {text: common_prefix(ids, other) for text, other in joint.items()}
    first = protocol.reading == "first_token"
    keeps = sorted({*shared.values()}) if first else [min(shared.values())]
    places = [_at(keep, protocol, joint, shared) for keep in keeps]

    def count(place: AnswerTokens) -> dict[str, int]:
        answers = [form.answer for form in place.forms]
        return {answer: answers.count(answer) for answer in protocol.answers}

    best = max(places, key=lambda place: min(count(place).values()))
    for answer, n_forms in count(best).items():
        if not n_forms:
            what = "a token" if first else "tokens"
            tried = ", ".join(map(repr, protocol.answers[answer]))
            raise ModelError(
                f"answer {answer!r} must have a form that begins with {what} of its own after this "
                f"prompt, got {tried}"
            )
    return best


def _at(
    keep: int, protocol: Protocol, joint: Mapping[str, Ids], shared: Mapping[str, int]
) -> AnswerTokens:
    """Return the forms that differ in the tokens that the protocol reads, from place `keep` on."""
    n_tokens = 1 if protocol.reading == "first_token" else None
    forms = [
        Form(answer, text, tuple(joint[text][keep:][:n_tokens].tolist()))
        for answer, texts in protocol.answers.items()
        for text in texts
    ]
    usable = [form for form in forms if form.tokens and shared[form.text] >= keep]
    owners: dict[Tokens, set[str]] = {}
    for form in usable:
        owners.setdefault(form.tokens, set()).add(form.answer)
    distinct = {form.tokens: form for form in reversed(usable) if len(owners[form.tokens]) == 1}
    answers = {tokens: form.answer for tokens, form in distinct.items()}
    # A form whose next shorter one is of the same answer adds nothing to it.
    chosen = tuple(
        form
        for form in usable
        if distinct.get(form.tokens) is form and _extended(form, answers) != form.answer
    )
    kept = {form.tokens for form in chosen}
    dropped = [form.text for form in forms if form not in usable or form.tokens not in kept]
    partial = [form.text for form in chosen if len(joint[form.text]) - keep > len(form.tokens)]
    return AnswerTokens(keep, chosen, dropped, partial)


def common_prefix(left: Ids, right: Ids) -> int:
    """Return the number of leading tokens that two sequences share."""
    n = min(len(left), len(right))
    differ = np.nonzero(left[:n] != right[:n])[0]
    return int(differ[0]) if len(differ) else n


def _extended(form: Form, among: Mapping[Tokens, _Value]) -> _Value | None:
    """Return the value of the longest form among others that a form extends, None if there is none."""
    starts = (form.tokens[:length] for length in range(len(form.tokens) - 1, 0, -1))
    return next((among[start] for start in starts if start in among), None)


def _log_rest(relative: list[float]) -> float:
    """Return `log(1 - sum exp(relative))`; only rounding can make the sum exceed 1."""
    taken = math.fsum(map(math.exp, relative))
    return -math.inf if taken >= 1.0 else math.log1p(-taken)
