"""From a pair's text to the token ids that a model is shown, and to the ids of its answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from misfired import _core
from misfired.errors import TemplateError
from misfired.scoring.forms import AnswerTokens, Ids, find_forms
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import (
    CLOSED_REASONING,
    PLAIN,
    ChatTemplate,
    Message,
    opens_reasoning,
)
from misfired.shots import Shot

#: Stands for the pair's text while the template is rendered; no real text holds these code points.
_MARK = "\ue000\ue001\ue002"

#: The same for the text of each demonstration.
_SHOT_MARK = "\ue000\ue001\ue003{}\ue004"

#: Where no special token stands between the pair's text and the answer, the answer's tokens are
#: taken to depend on no more of the prompt's end than this.
_TAIL = 16


class PromptTokenizer:
    """Tokenises prompts of one model, template and protocol.

    The template's text is parsed for special tokens, the pair's text never is. Both are tokenised
    jointly, as the model saw them in training, unless the pair's text spells a special token.
    """

    def __init__(
        self,
        tokenizer: _core.Tokenizer,
        template: ChatTemplate,
        protocol: Protocol,
        shots: Sequence[Shot] = (),
    ) -> None:
        """Split the template around the texts of the pair and of the demonstrations.

        Raises:
            TemplateError: The template drops, repeats or alters a message.
            ArgumentError: The protocol cannot demonstrate an answer.
        """
        self.tokenizer = tokenizer
        self.protocol = protocol
        self.template = template = replace(template, thinking=protocol.thinking)
        texts = [shot.text for shot in shots]
        marks = [_SHOT_MARK.format(number) for number in range(len(shots))]
        answers = [protocol.demonstrated(shot.answer) for shot in shots]
        self._history = list(turns(protocol, texts, answers))
        around = self._split([*turns(protocol, marks, answers)], [*marks, _MARK])
        after = around.pop()
        self._segments = [*chain.from_iterable(zip(around, texts, strict=False)), around[-1]]
        self.before = "".join(self._segments)
        self.in_reasoning = protocol.thinking and opens_reasoning(after)
        self._closing = ""
        if opens_reasoning(after) and not protocol.thinking:
            # Some templates open a reasoning block themselves; what follows it would be no answer.
            self._closing = CLOSED_REASONING
        elif template.source == PLAIN and protocol.prefix:
            # As in a demonstration, where it is a space that parts the cue from the answer.
            self._closing = " "
        self.after = after + self._closing + protocol.prefix
        special = [row for row in tokenizer.special_tokens() if row[1]]
        self._strips = {text: (left, right) for _, text, left, right in special}
        longest_first = sorted(self._strips, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._shots_spell_special = any(map(self._special.search, texts))
        # What follows the last special token is tokenised on its own, whatever stands before it.
        self._tail = 0 if self._special.search(self.after) else _TAIL
        self._forms: dict[tuple[int, ...], AnswerTokens] = {}

    def _split(self, history: Sequence[Message], marks: Sequence[str]) -> list[str]:
        """The template's text around each mark."""
        user = self.protocol.user_message(marks[-1])
        self.template.try_out(user, history)
        whole = self.template.render(user, history)
        pattern = re.compile("|".join(map(re.escape, marks)))
        found = pattern.findall(whole)
        if (n_shown := found.count(_MARK)) != 1:
            raise TemplateError(
                f"chat template ({self.template.name}): shows the user's message {n_shown} times, "
                "not once"
            )
        if found != list(marks):
            raise TemplateError(
                f"chat template ({self.template.name}): does not show each of {len(marks) - 1} "
                "demonstrations once, in order"
            )
        return pattern.split(whole)

    @property
    def frame(self) -> str:
        """The template's own text in a prompt, without those of pair and demonstrations."""
        return "".join(self._segments[::2]) + self.after

    def rendered(self, text: str) -> str:
        """The whole prompt as text.

        Raises:
            TemplateError: The template changes a text other than at its ends.
        """
        return self.before + self._shown(text) + self.after

    def _shown(self, text: str) -> str:
        """A text as the template shows it."""
        whole = self.template.render(self.protocol.user_message(text), self._history)
        whole += self._closing + self.protocol.prefix
        for shown in (text, text.strip(), text.rstrip()):
            if whole == self.before + shown + self.after:
                return shown
        raise TemplateError(
            f"chat template ({self.template.name}): alters the message {text[:40]!r}..."
        )

    def encode(self, text: str, answer: str = "") -> Ids:
        """Token ids of the prompt for one text, with `answer` right behind it."""
        shown = self._shown(text)
        if self._shots_spell_special or self._special.search(text):
            ids = self._encode_literally([*self._segments, shown, self.after + answer])
        else:
            whole = self.before + shown + self.after + answer
            ids = self.tokenizer.encode(whole, parse_special=True)
        bos, add_bos = self.tokenizer.bos
        if add_bos and (not len(ids) or ids[0] != bos):
            ids = np.concatenate([np.array([bos], np.int32), ids])
        return ids

    def _encode_literally(self, segments: Sequence[str]) -> Ids:
        """Parse special tokens in the template's part only.

        llama.cpp, too, splits at special tokens first and tokenises what lies between as plain text.

        Args:
            segments: Text of the template, text of a pair, text of the template, and so on.
        """
        pieces: list[Ids] = []
        plain, strips = "", False
        for place, segment in enumerate(segments):
            start = 0
            for match in () if place % 2 else self._special.finditer(segment):
                left, right = self._strips[match.group()]
                plain += segment[start : match.start()]
                pieces.append(self._encode_plain(plain.rstrip() if left else plain, strips))
                pieces.append(self.tokenizer.encode(match.group(), parse_special=True))
                plain, strips, start = "", right, match.end()
            plain += segment[start:]
        return np.concatenate([*pieces, self._encode_plain(plain, strips)])

    def _encode_plain(self, text: str, strips: bool) -> Ids:
        return self.tokenizer.encode(text.lstrip() if strips else text, parse_special=False)

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


def turns(protocol: Protocol, texts: Sequence[str], answers: Sequence[str]) -> Iterator[Message]:
    """Demonstrations as the turns of a conversation."""
    for text, answer in zip(texts, answers, strict=True):
        yield {"role": "user", "content": protocol.user_message(text)}
        yield {"role": "assistant", "content": answer}


__all__ = ["AnswerTokens", "Ids", "PromptTokenizer", "turns"]
