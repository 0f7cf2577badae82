"""From a pair's text to the token ids of its prompt, and to those of its answers."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from misfired._core import Tokenizer
from misfired.errors import TemplateError
from misfired.prompts.shots import Shot
from misfired.scoring.forms import AnswerTokens, Ids, find_forms
from misfired.scoring.protocol import Protocol
from misfired.scoring.template import CLOSED_REASONING, PLAIN, ChatTemplate, Message

#: Stand for the text of the pair, of the system message and of each demonstration while the template is
#: rendered; no real text holds these code points.
_MARK, _SYSTEM_MARK = "\ue000\ue001\ue002", "\ue000\ue001\ue005"
_SHOT_MARK = "\ue000\ue001\ue003{}\ue004"
#: Tokens of the prompt's end on which the answer's tokens may depend, if no special token stands
#: between the pair's text and the answer.
_TAIL = 16
#: Texts whose rendering is remembered: those of a shard, with what asks for them again.
_N_SHOWN = 4096


class PromptTokenizer:
    """Tokenises prompts of one model, template and protocol.

    Special tokens are parsed in the template's text, never in the pair's text. Both are tokenised
    jointly, as the model saw them in training, unless the pair's text spells a special token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        protocol: Protocol,
        shots: Sequence[Shot] = (),
        system: str | None = None,
    ) -> None:
        """Split the template around the texts of the pair, the demonstrations and the system message.

        Raises:
            TemplateError: The template drops, repeats, refuses or alters a message.
            ArgumentError: The protocol cannot demonstrate an answer.
        """
        self.tokenizer, self.protocol, self.shots = tokenizer, protocol, shots
        self.template = template = replace(template, thinking=protocol.thinking)
        self._with_system: dict[str, PromptTokenizer] = {}
        self._shown_as: dict[str, str] = {}
        shown = {_SHOT_MARK.format(number): shot.text for number, shot in enumerate(shots)}
        answers = [protocol.demonstrated(shot.answer) for shot in shots]
        self._history = list(turns(protocol, list(shown.values()), answers, system))
        special = [row for row in tokenizer.special_tokens() if row[1]]
        self._strips = {text: (left, right) for _, text, left, right in special}
        longest_first = sorted(self._strips, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        mark = None if system is None else _SYSTEM_MARK
        around, found = self._split(list(turns(protocol, list(shown), answers, mark)), list(shown))
        if system is not None and not self._special.search(system):
            # Some templates look for a word in it ("/no_think"), and take it out.
            conversation = list(turns(protocol, list(shown), answers, system))
            around, found = self._split(conversation, list(shown))
        after = around.pop()
        texts = [system if system and each == mark else shown[each] for each in found]
        self._segments = [*chain.from_iterable(zip(around, texts, strict=False)), around[-1]]
        self.before = "".join(self._segments)
        opens_reasoning = after.rfind("<think>") > after.rfind("</think>")
        self.in_reasoning, self._closing = protocol.thinking and opens_reasoning, ""
        if opens_reasoning and not protocol.thinking:
            # Some templates open a reasoning block themselves; the text in it would be no answer.
            self._closing = CLOSED_REASONING
        elif template.source == PLAIN and protocol.prefix:
            # As in a demonstration, where a space stands between the cue and the answer.
            self._closing = " "
        self.after = after + self._closing + protocol.prefix
        self._history_spells_special = any(map(self._special.search, texts))
        # Text after the last special token is tokenised on its own, whatever stands before it.
        self._tail = 0 if self._special.search(self.after) else _TAIL
        self._forms: dict[tuple[int, ...], AnswerTokens] = {}

    def with_system(self, system: str | None) -> "PromptTokenizer":
        """Return the same with a system message above every prompt; made once for each message."""
        if system is None:
            return self
        if system not in self._with_system:
            self._with_system[system] = PromptTokenizer(
                self.tokenizer, self.template, self.protocol, self.shots, system.strip()
            )
        return self._with_system[system]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text on its own, special tokens read as text."""
        return [len(self.tokenizer.encode(text, parse_special=False)) for text in texts]

    def _split(
        self, history: Sequence[Message], shot_marks: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Return the template's text around each mark, and the marks before the user's in their order."""
        user = self.protocol.user_message(_MARK)
        try:
            whole = self.template.render(user, history)
        except TemplateError as error:
            if not _has_system(history):
                raise
            self.template.render(user, history[1:])
            raise TemplateError(f"{error} (it was given a system message)") from None
        pattern = re.compile("|".join(map(re.escape, [_MARK, _SYSTEM_MARK, *shot_marks])))
        found = pattern.findall(whole)
        once = {_MARK: "the user's message", _SYSTEM_MARK: "the system message"}
        is_marked = any(_SYSTEM_MARK in message["content"] for message in history)
        for mark in once if is_marked else [_MARK]:
            if (n_shown := found.count(mark)) != 1:
                raise self._wrong(f"shows {once[mark]} {n_shown} times, not once")
        # Some templates move the system message to the last question.
        if [mark for mark in found if mark != _SYSTEM_MARK] != [*shot_marks, _MARK]:
            n = len(shot_marks)
            raise self._wrong(f"does not show each of {n} demonstrations once, in order")
        if found.pop() != _MARK:
            raise self._wrong("shows the system message after the user's")
        return pattern.split(whole), found

    def _wrong(self, problem: str) -> TemplateError:
        return TemplateError(f"chat template ({self.template.name}): {problem}")

    @property
    def frame(self) -> str:
        """The template's own text in a prompt, without pair and demonstrations."""
        return "".join(self._segments[::2]) + self.after

    def rendered(self, text: str) -> str:
        """Return the whole prompt as text.

        Raises:
            TemplateError: The template changes a text other than at its ends.
        """
        return self.before + self._shown(text) + self.after

    def show_all(self, texts: Iterable[str]) -> None:
        """Render the prompts of many texts at once, which is quicker than one by one.

        Raises:
            TemplateError: As `rendered`.
        """
        if len(self._shown_as) > _N_SHOWN:
            self._shown_as.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._shown_as]
        users = [self.protocol.user_message(text) for text in new]
        rendered = self.template.render_all(users, self._history)
        for text, whole in zip(new, rendered, strict=True):
            self._shown_as[text] = self._as_shown(text, whole)

    def _as_shown(self, text: str, rendered: str) -> str:
        """Return a text as it stands in its prompt."""
        whole = rendered + self._closing + self.protocol.prefix
        for shown in (text, text.strip(), text.rstrip()):
            if whole == self.before + shown + self.after:
                return shown
        raise self._wrong(f"alters the message {text[:40]!r}...")

    def _shown(self, text: str) -> str:
        if text not in self._shown_as:
            self.show_all([text])
        return self._shown_as[text]

    def encode(self, text: str, answer: str = "") -> Ids:
        """Return the token ids of the prompt for one text, with `answer` right behind it."""
        shown = self._shown(text)
        if self._history_spells_special or self._special.search(text):
            ids = self._encode_literally([*self._segments, shown, self.after + answer])
        else:
            whole = self.before + shown + self.after + answer
            ids = self.tokenizer.encode(whole, parse_special=True)
        bos, add_bos = self.tokenizer.bos
        if add_bos and (not len(ids) or ids[0] != bos):
            ids = np.concatenate([np.array([bos], np.int32), ids])
        return ids

    def _encode_literally(self, segments: Sequence[str]) -> Ids:
        """Parse special tokens, as llama.cpp does, in every other segment only: the template's text."""
        pieces: list[Ids] = []
        plain, strips = "", False

        def encode_plain(text: str) -> Ids:
            return self.tokenizer.encode(text.lstrip() if strips else text, parse_special=False)

        for place, segment in enumerate(segments):
            start = 0
            for match in () if place % 2 else self._special.finditer(segment):
                left, right = self._strips[match.group()]
                plain += segment[start : match.start()]
                pieces.append(encode_plain(plain.rstrip() if left else plain))
                pieces.append(self.tokenizer.encode(match.group(), parse_special=True))
                plain, strips, start = "", right, match.end()
            plain += segment[start:]
        return np.concatenate([*pieces, encode_plain(plain)])

    def answers(self, text: str, ids: Ids) -> AnswerTokens:
        """Return the tokens of every answer form at the end of this prompt; none if a text is read.

        Raises:
            ModelError: An answer has no form that differs from those of the other answers.
        """
        if self.protocol.generates:
            return AnswerTokens(len(ids), (), [])
        tail = tuple(ids[max(len(ids) - self._tail, 0) :].tolist())
        if tail not in self._forms:
            forms = chain.from_iterable(self.protocol.answers.values())
            joint = {form: self.encode(text, form) for form in forms}
            found = find_forms(self.protocol, ids, joint)
            # `keep` is stored relative to the end, since prompts differ in length.
            self._forms[tail] = replace(found, keep=len(ids) - found.keep)
        found = self._forms[tail]
        return replace(found, keep=len(ids) - found.keep)


def turns(
    protocol: Protocol, texts: Sequence[str], answers: Sequence[str], system: str | None = None
) -> Iterator[Message]:
    """Yield system message and demonstrations as the turns of a conversation."""
    if (whole := protocol.system_message(system)) is not None:
        yield {"role": "system", "content": whole}
    for text, answer in zip(texts, answers, strict=True):
        yield {"role": "user", "content": protocol.user_message(text)}
        yield {"role": "assistant", "content": answer}


def _has_system(history: Sequence[Message]) -> bool:
    return bool(history) and history[0]["role"] == "system"
