"""From a pair's text to the token ids that a model is shown, and to the ids of its answers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from misfired import _core
from misfired.errors import TemplateError
from misfired.scoring.forms import AnswerTokens, Ids, find_forms
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import CLOSED_REASONING, ChatTemplate, opens_reasoning

#: Stands for the pair's text while the template is rendered; no real text holds these code points.
_MARK = "\ue000\ue001\ue002"

#: Where no special token stands between the pair's text and the answer, the answer's tokens are
#: taken to depend on no more of the prompt's end than this.
_TAIL = 16


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
        self.protocol = protocol
        self._closing = ""
        self.template = template = replace(template, thinking=protocol.thinking)
        template.try_out(protocol.user_message(_MARK))
        parts = template.render(protocol.user_message(_MARK)).split(_MARK)
        if len(parts) != 2:
            raise TemplateError(
                f"chat template ({template.name}): shows the user's message {len(parts) - 1} times, "
                "not once"
            )
        self.before, after = parts
        self.in_reasoning = protocol.thinking and opens_reasoning(after)
        if opens_reasoning(after) and not protocol.thinking:
            # Some templates open a reasoning block themselves; what follows it would be no answer.
            self._closing = CLOSED_REASONING
        self.after = after + self._closing + protocol.prefix
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
        whole += self._closing + self.protocol.prefix
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
        """Tokens of every answer form at the end of this prompt.

        Raises:
            ModelError: An answer has no form that can be told from the other answers.
        """
        tail = tuple(int(token) for token in ids[len(ids) - min(self._tail, len(ids)) :])
        if tail not in self._forms:
            found = self._find_forms(text, ids)
            # `keep` is stored relative to the end, since prompts differ in length.
            self._forms[tail] = replace(found, keep=len(ids) - found.keep)
        found = self._forms[tail]
        return replace(found, keep=len(ids) - found.keep)

    def _find_forms(self, text: str, ids: Ids) -> AnswerTokens:
        joint = {
            form: self.encode(text, form)
            for forms in self.protocol.answers.values()
            for form in forms
        }
        return find_forms(self.protocol, ids, joint)


__all__ = ["AnswerTokens", "Ids", "PromptTokenizer"]
