"""Answer forms as tokens: what must be decoded to score each, and their probabilities.

A form is the event that the model's continuation begins with its tokens. Where a form of another
answer extends it ("no", "not sure"), the longer one's event is taken out of the shorter one's: forms are
disjoint, and their probabilities add up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from misfired.errors import ModelError
from misfired.scoring.protocol import Protocol

Ids = npt.NDArray[np.int32]
Tokens = tuple[int, ...]


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
    """

    keep: int
    forms: tuple[Form, ...]
    dropped: list[str]

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
        """Return the log-probability of each form, made disjoint.

        With E the forms that extend F with no other form between,
        `logp(F) = raw(F) + log(1 - sum over E of exp(raw(E) - raw(F)))`, where `raw` sums the
        log-probabilities of a form's tokens.

        Args:
            read: Log-probability of each wanted id at each node.
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
        found: list[list[int]] = [[] for _ in self.forms]
        for longer, form in enumerate(self.forms):
            shorter = [index for index, other in enumerate(self.forms) if _extends(form, other)]
            if shorter:
                found[max(shorter, key=lambda index: len(self.forms[index].tokens))].append(longer)
        return found


def find_forms(protocol: Protocol, ids: Ids, joint: Mapping[str, Ids]) -> AnswerTokens:
    """Find where forms are read, from the tokens of the prompt alone and with each form behind it.

    Forms that are read by one token are read where most of them can be told apart. That is nearly
    always the prompt's end; where most forms merge with the prompt's last token (a prompt that ends in
    a space) it is before that token. The earlier of two equal places wins.

    Args:
        protocol: Gives the answers and how they are read.
        ids: The prompt.
        joint: For each form the prompt with the form right behind it.

    Raises:
        ModelError: An answer has no form that differs from those of the other answers.
    """
    shared = {text: common_prefix(ids, other) for text, other in joint.items()}
    if protocol.reading == "first_token":
        places = [_at(keep, 1, protocol, joint, shared) for keep in sorted({*shared.values()})]
        best = max(places, key=lambda place: min(map(len, _by_answer(protocol, place).values())))
    else:
        best = _at(min(shared.values()), None, protocol, joint, shared)
    for answer, forms in _by_answer(protocol, best).items():
        if not forms:
            what = "tokens" if protocol.reading != "first_token" else "a token"
            tried = ", ".join(map(repr, protocol.answers[answer]))
            raise ModelError(
                f"answer {answer!r} must have a form that begins with {what} of its own after this "
                f"prompt, got {tried}"
            )
    return best


def _at(
    keep: int,
    n_tokens: int | None,
    protocol: Protocol,
    joint: Mapping[str, Ids],
    shared: Mapping[str, int],
) -> AnswerTokens:
    """Return the forms that differ in their tokens (the first `n_tokens`) from place `keep` on."""
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
    chosen = tuple(
        form for form in usable if distinct.get(form.tokens) is form and not _held(form, distinct)
    )
    kept = {form.tokens for form in chosen}
    dropped = [form.text for form in forms if form not in usable or form.tokens not in kept]
    return AnswerTokens(keep, chosen, dropped)


def _by_answer(protocol: Protocol, found: AnswerTokens) -> dict[str, list[Form]]:
    return {
        answer: [form for form in found.forms if form.answer == answer]
        for answer in protocol.answers
    }


def common_prefix(left: Ids, right: Ids) -> int:
    """Return the number of leading tokens that two sequences share."""
    n = min(len(left), len(right))
    differ = np.nonzero(left[:n] != right[:n])[0]
    return int(differ[0]) if len(differ) else n


def _held(form: Form, distinct: Mapping[Tokens, Form]) -> bool:
    """True if the next shorter form is of the same answer, so that this one adds nothing to it."""
    for length in range(len(form.tokens) - 1, 0, -1):
        shorter = distinct.get(form.tokens[:length])
        if shorter is not None:
            return shorter.answer == form.answer
    return False


def _extends(form: Form, other: Form) -> bool:
    shorter = len(other.tokens) < len(form.tokens)
    return shorter and form.tokens[: len(other.tokens)] == other.tokens


def _log_rest(relative: list[float]) -> float:
    """Return `log(1 - sum exp(relative))`; only rounding can make the sum exceed 1."""
    if not relative:
        return 0.0
    taken = math.fsum(map(math.exp, relative))
    if math.isnan(taken):
        return math.nan
    return math.log1p(-taken) if taken < 1.0 else -math.inf
