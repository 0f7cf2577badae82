"""From a pair's text to the token ids that a model is shown, and to the ids of its answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from misfired import _core
from misfired.errors import ModelError, TemplateError
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import ChatTemplate

Ids = npt.NDArray[np.int32]

#: Stands for the pair's text while the template is rendered; no real text holds these code points.
_MARK = "\ue000\ue001\ue002"

#: Where no special token stands between the pair's text and the answer, the answer's tokens are
#: taken to depend on no more of the prompt's end than this.
_TAIL = 16


@dataclass(frozen=True)
class AnswerTokens:
    """Where and what to read for one prompt.

    Attributes:
        keep: Leading prompt tokens that are decoded; the answer is read after the last of them. It is
            less than the prompt's length where joint tokenisation merges across the join.
        ids: For each answer its first-token ids, distinct, no id shared between answers.
        dropped: Forms that cannot be told apart by their first token.
    """

    keep: int
    ids: dict[str, list[int]]
    dropped: list[str]


class PromptTokenizer:
    """Tokenises prompts of one model, template and protocol.

    The template's text is parsed for special tokens, the pair's text never is. Both are tokenised
    jointly, as the model saw them in training, unless the pair's text spells a special token.
    """

    def __init__(
        self, tokenizer: _core.Tokenizer, template: ChatTemplate, protocol: Protocol
    ) -> None:
        """Split the template around the pair's text.

        Raises:
            TemplateError: The template drops or repeats the user's message.
        """
        self.tokenizer = tokenizer
        self.template = template
        self.protocol = protocol
        parts = template.render(protocol.user_message(_MARK)).split(_MARK)
        if len(parts) != 2:
            raise TemplateError(
                f"chat template ({template.name}): shows the user's message {len(parts) - 1} times, "
                "not once"
            )
        self.before, self.after = parts
        special = [row for row in tokenizer.special_tokens() if row[1]]
        self._strips = {text: (left, right) for _, text, left, right in special}
        longest_first = sorted(self._strips, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # What follows the last special token is tokenised on its own, whatever stands before it.
        self._tail = 0 if self._special.search(self.after) else _TAIL
        self._forms: dict[tuple[int, ...], AnswerTokens] = {}

    def rendered(self, text: str) -> str:
        """The whole prompt as text.

        Raises:
            TemplateError: The template changes the pair's text other than at its ends.
        """
        whole = self.template.render(self.protocol.user_message(text))
        for shown in (text, text.strip(), text.rstrip()):
            if whole == self.before + shown + self.after:
                return whole
        raise TemplateError(
            f"chat template ({self.template.name}): alters the message {text[:40]!r}..."
        )

    def encode(self, text: str, answer: str = "") -> Ids:
        """Token ids of the prompt for one text, with `answer` right behind it."""
        whole = self.rendered(text) + answer
        if self._special.search(text):
            ids = self._encode_literally(whole)
        else:
            ids = self.tokenizer.encode(whole, parse_special=True)
        bos, add_bos = self.tokenizer.bos
        if add_bos and (not len(ids) or ids[0] != bos):
            ids = np.concatenate([np.array([bos], np.int32), ids])
        return ids

    def _encode_literally(self, whole: str) -> Ids:
        """Parse special tokens in the template's part only.

        llama.cpp, too, splits at special tokens first and tokenises what lies between as plain text;
        here the stretch that holds the pair's text is passed to it as plain.
        """
        start = max((match.end() for match in self._special.finditer(self.before)), default=0)
        match = self._special.search(self.after)
        end = len(whole) - (len(self.after) - match.start() if match else 0)
        if match is None:
            end = len(whole)
        middle = whole[start:end]
        if start and self._strip_of(self.before, start)[1]:
            middle = middle.lstrip()
        if match and self._strips[match.group()][0]:
            middle = middle.rstrip()
        pieces = [
            self.tokenizer.encode(whole[:start], parse_special=True),
            self.tokenizer.encode(middle, parse_special=False),
            self.tokenizer.encode(whole[end:], parse_special=True),
        ]
        return np.concatenate(pieces)

    def _strip_of(self, text: str, end: int) -> tuple[bool, bool]:
        last = [match.group() for match in self._special.finditer(text) if match.end() == end]
        return self._strips[last[-1]]

    def answers(self, text: str, ids: Ids) -> AnswerTokens:
        """First-token ids of every answer form at the end of this prompt.

        Raises:
            ModelError: An answer has no form that can be told from the other answers.
        """
        tail = tuple(int(token) for token in ids[len(ids) - min(self._tail, len(ids)) :])
        if tail not in self._forms:
            self._forms[tail] = self._find_forms(text, ids)
        found = self._forms[tail]
        # `keep` is stored relative to the end, since prompts differ in length.
        return AnswerTokens(len(ids) - found.keep, found.ids, found.dropped)

    def _find_forms(self, text: str, ids: Ids) -> AnswerTokens:
        """Choose the place where most forms can be told apart by the token that stands there.

        That is nearly always the prompt's end. Where most forms merge with the prompt's last token
        (a prompt that ends in a space), it is before that token; of equal places the earlier wins.
        """
        joint = {
            form: self.encode(text, form)
            for forms in self.protocol.answers.values()
            for form in forms
        }
        shared = {form: _common_prefix(ids, other) for form, other in joint.items()}
        found = [
            self._forms_at(keep, joint, shared, len(ids)) for keep in sorted({*shared.values()})
        ]
        best = max(found, key=lambda one: min(map(len, one.ids.values())))
        for answer, tokens in best.ids.items():
            if not tokens:
                tried = ", ".join(repr(form) for form in self.protocol.answers[answer])
                raise ModelError(
                    f"answer {answer!r}: none of its forms ({tried}) begins with a token of its "
                    "own after this prompt"
                )
        return best

    def _forms_at(
        self, keep: int, joint: dict[str, Ids], shared: dict[str, int], n_tokens: int
    ) -> AnswerTokens:
        """The forms that are told apart by their token at place `keep` of the joint encoding."""
        first = {
            form: int(other[keep]) if shared[form] >= keep and keep < len(other) else -1
            for form, other in joint.items()
        }
        owners: dict[int, set[str]] = {}
        for answer, forms in self.protocol.answers.items():
            for form in forms:
                owners.setdefault(first[form], set()).add(answer)
        common = {token for token, answers in owners.items() if len(answers) > 1} | {-1}
        chosen = {
            answer: sorted({first[form] for form in forms} - common)
            for answer, forms in self.protocol.answers.items()
        }
        dropped = [form for form, token in first.items() if token in common]
        return AnswerTokens(n_tokens - keep, chosen, dropped)


def _common_prefix(left: Ids, right: Ids) -> int:
    n = min(len(left), len(right))
    differ = np.nonzero(left[:n] != right[:n])[0]
    return int(differ[0]) if len(differ) else n
