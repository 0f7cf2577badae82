"""Read an answer from generated text, or the reason why it holds none.

A text that can be read two ways is `ambiguous`: a misread answer moves a rate in silence, an unread one
is counted. The steps: remove reasoning; take the last JSON `"answer"`, unless the text only quotes it
as a choice; else the declared answer; else an answer word that stands by itself and that nothing else
contradicts.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from misfired.errors import ArgumentError
from misfired.scoring import phrases

ABSTAINED = ("abstained", "refused")
UNPARSEABLE = ("ambiguous", "empty", "no answer", "truncated", "truncated reasoning")


@dataclass(frozen=True)
class Parsed:
    """What a text answers.

    Attributes:
        answer: The answer's name; None unless the outcome is `answered`.
        outcome: `answered`, `abstained` or `unparseable`.
        reason: Why it has no answer: one of `ABSTAINED` or `UNPARSEABLE`.
    """

    answer: str | None
    outcome: str
    reason: str | None = None


def _unread(reason: str) -> Parsed:
    return Parsed(None, "unparseable", reason)


def parse_answer(
    text: str,
    answers: Mapping[str, Sequence[str]],
    *,
    in_reasoning: bool = False,
    truncated: bool = False,
) -> Parsed:
    """Read the answer that a generated text gives.

    Args:
        text: The model's text.
        answers: For each answer its forms (see `Protocol.answers`).
        in_reasoning: True if the prompt had already opened a reasoning block.
        truncated: True if the text reached the token limit.

    Raises:
        ArgumentError: Answers cannot be told apart in a text (see `answer_words`).

    Example:
        >>> answers = {"yes": ("Yes", "yes"), "no": ("No", "no")}
        >>> parse_answer("<think>It says so.</think> Yes.", answers).answer
        'yes'
        >>> parse_answer("I can't say yes or no.", answers)
        Parsed(answer=None, outcome='abstained', reason='abstained')
        >>> parse_answer("No. Well, yes.", answers).reason
        'ambiguous'
    """
    reader = _reader(tuple((name, tuple(forms)) for name, forms in answers.items()))
    visible = strip_reasoning(_plain(text), in_reasoning=in_reasoning)
    if visible is None:
        return _unread("truncated reasoning")
    return reader.read(visible.strip(), truncated) if visible.strip() else _unread("empty")


def strip_reasoning(text: str, *, in_reasoning: bool = False) -> str | None:
    """Return the text without its reasoning blocks, None if one is not closed.

    Example:
        >>> strip_reasoning("<think>yes?</think>No").strip()
        'No'
        >>> strip_reasoning("So the answer", in_reasoning=True) is None
        True
    """
    if in_reasoning:
        text = "<think>" + text
    if "<|channel|>" in text:
        final = list(phrases.FINAL_CHANNEL.finditer(text))
        return re.sub(r"<\|\w+\|>", "", text[final[-1].end() :]) if final else None
    block = rf"(?is){phrases.REASONING_OPENS}.*?{phrases.REASONING_CLOSES}"
    text = re.sub(block, " ", text)
    *_, text = re.split(phrases.REASONING_CLOSES, text, flags=re.IGNORECASE)
    return None if re.search(phrases.REASONING_OPENS, text, flags=re.IGNORECASE) else text


def _plain(text: str) -> str:
    """Return NFKC text with straight quotes, no invisible characters, no emphasis."""
    text = unicodedata.normalize("NFKC", text)
    text = text.translate(str.maketrans("\u201c\u201d\u201e\u2018\u2019\u02bc", "\"\"\"'''"))
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return re.sub(r"\*+|`+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|~~", "", text)


class _Place(NamedTuple):
    """An answer word in a text: its answer, its place, and if the text asserts or declares it."""

    answer: str
    start: int
    asserted: bool
    leads: bool
    declared: int


class _Record(NamedTuple):
    """A JSON answer and its place; the value is `...` if it is cut off or contradicts itself."""

    start: int
    end: int
    value: Any


class _Reader:
    """Reads texts for one set of answers."""

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        self.owner = answer_words(answers)
        self.yes_no = set(answers) == {"yes", "no"}
        # Case counts for single letters only: "A" is an answer, "a" an article.
        words = [
            re.escape(word) if len(word) == 1 else f"(?i:{re.escape(word)})"
            for word in sorted(self.owner, key=len, reverse=True)
        ]
        word = rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-]|'\w)"
        # A menu stands on one line: "yes or", a new line and "No." take an answer back.
        gap = r"[^\S\n]"
        join = rf"[\"']?{gap}*(?:/|\||,?{gap}*\b(?:or|nor|vs\.?|versus|and)\b(?:{gap}+an?\b)?){gap}*[\"']?"
        self.word = re.compile(word)
        #: An answer that leads, and the statement that it judges: "No, it is not true that ...".
        self.judged = re.compile(rf"(\W*{word}\W+{phrases.JUDGES})([^.!?\n]*)")
        #: Several answer words joined by "or".
        self.menu = re.compile(rf"[\"']?{word}(?:(?i:{join}){word})+[\"']?")

    def read(self, text: str, truncated: bool) -> Parsed:
        """Read a text without reasoning."""
        records = _records(text)
        if chosen := _without_choices(text, records):
            return self._json(text, chosen[-1], truncated)
        for record in records:
            text = text[: record.start] + " " * (record.end - record.start) + text[record.end :]
        if judged := self.judged.match(text):
            # The statement is the question's; its words are not the writer's.
            text = judged[1] + " " * len(judged[2]) + text[judged.end() :]
        blanked = self._without_menus(text)
        places = list(self._places(blanked))
        if declared := [place for place in places if place.declared]:
            return self._declared(declared, places)
        return self._asserted(text, blanked, places, truncated)

    def _json(self, text: str, last: _Record, truncated: bool) -> Parsed:
        rest = text[last.end :]
        if last.value is ...:
            return _unread("truncated" if truncated else "ambiguous")
        if truncated and re.search(r"\w", rest):
            return _unread("truncated")
        read = self._value(last.value)
        others = {place.answer for place in self._places(self._without_menus(rest))}
        if read.answer is not None and others - {read.answer}:
            return _unread("ambiguous")
        return read

    def _without_menus(self, text: str) -> str:
        """Blank out menus such as "yes or no", which name the answers without giving one."""

        def blank(match: re.Match[str]) -> str:
            named = {self.owner[_key(word.group())] for word in self.word.finditer(match.group())}
            return " " * len(match.group()) if len(named) > 1 else match.group()

        return self.menu.sub(blank, text)

    def _value(self, value: object) -> Parsed:
        if isinstance(value, str) and self.yes_no:
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if isinstance(value, bool) and self.yes_no:
            return Parsed("yes" if value else "no", "answered")
        if value is None:
            return Parsed(None, "abstained", "abstained")
        if not isinstance(value, str):
            return _unread("ambiguous")
        if not value.strip():
            return _unread("empty")
        blanked = self._without_menus(value)
        return self._asserted(value, blanked, list(self._places(blanked)), truncated=False)

    def _declared(self, declared: list[_Place], places: list[_Place]) -> Parsed:
        final = [place for place in declared if place.declared == 2]
        deciding = final[-1:] or declared
        chosen = {place.answer for place in deciding}
        after = {place.answer for place in places if place.start > deciding[-1].start}
        if len(chosen | after) > 1:
            return _unread("ambiguous")
        return Parsed(chosen.pop(), "answered")

    def _asserted(self, text: str, blanked: str, places: list[_Place], truncated: bool) -> Parsed:
        """Read an answer word that stands by itself; `blanked` is the text without menus."""
        named = {place.answer for place in places}
        asserted = [place for place in places if place.asserted]
        without = self.word.sub(" ", blanked)
        abstains, refuses = phrases.ABSTAINS.search(without), phrases.REFUSES.search(without)
        if asserted:
            if truncated and not any(place.leads for place in asserted):
                return _unread("truncated")
            if len(named) > 1 or abstains or refuses or blanked != text:
                return _unread("ambiguous")
            return Parsed(named.pop(), "answered")
        if abstains or refuses:
            return Parsed(None, "abstained", "abstained" if abstains else "refused")
        both = len(named) > 1 or blanked != text
        return _unread("truncated" if truncated else "ambiguous" if both else "no answer")

    def _places(self, text: str) -> Iterator[_Place]:
        for match in self.word.finditer(text):
            answer = self.owner[_key(match.group())]
            before, after = text[: match.start()], text[match.end() :]
            near = before[-phrases.TAIL :]
            if answer == "no" and self.yes_no and _is_determiner(near, after):
                continue
            own = _is_own(before, after)
            short = len(match.group()) == 1
            leads = not before.strip("\"'( \n")
            starts = leads or phrases.STARTS_CLAUSE.search(near) is not None
            ends = phrases.ENDS_CLAUSE.match(after) is not None
            opens = re.search(r"(?:^|[\n.!?])\s*[\"'(]*$", near) and phrases.SUBJECT.match(after)
            asserted = own and starts and (ends or (bool(opens) and not short))
            if short and not asserted:
                continue
            declared = 0
            if own and (ends or not short) and phrases.DECLARED_BEFORE.search(near):
                declared = 2 if phrases.FINAL_BEFORE.search(near) else 1
            yield _Place(answer, match.start(), asserted, leads, declared)


def _records(text: str) -> list[_Record]:
    """Return every outermost JSON object of the text that has an answer, in order."""
    found = []
    place = text.find("{")
    while place >= 0:
        record = _strict(text, place) or _lenient(text, place)
        if record is not None:
            found.append(record)
        place = text.find("{", record.end if record else place + 1)
    return found


def _strict(text: str, place: int) -> _Record | None:
    values: list[Any] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values.extend(value for key, value in pairs if key.strip().lower() in phrases.JSON_KEYS)
        return dict(pairs)

    try:
        _, end = json.JSONDecoder(object_pairs_hook=keep).raw_decode(text, place)
    except (ValueError, RecursionError):
        return None
    agree = all(value == values[0] for value in values)
    return _Record(place, end, values[0] if agree else ...) if values else None


def _lenient(text: str, place: int) -> _Record | None:
    match = phrases.JSON_LENIENT.match(text, place)
    if match is None:
        cut_off = phrases.JSON_UNCLOSED.match(text, place)
        return _Record(place, cut_off.end(), ...) if cut_off else None
    value = next(group for group in match.group("double", "single", "bare") if group is not None)
    if match["bare"] is not None:
        if not match.group().endswith("}"):
            return _Record(place, match.end(), ...)
        value = {"null": None, "none": None}.get(value.strip().lower(), value.strip())
    return _Record(place, match.end(), value)


def _without_choices(text: str, records: list[_Record]) -> list[_Record]:
    """Drop records in an "or" list with another one, or under a condition."""
    kept = []
    for index, record in enumerate(records):
        gaps = [text[records[index - 1].end : record.start]] if index else []
        if index + 1 < len(records):
            gaps.append(text[record.end : records[index + 1].start])
        listed = any(phrases.JSON_LIST.fullmatch(gap) for gap in gaps)
        if not listed and phrases.JSON_CONDITION.match(text, record.end) is None:
            kept.append(record)
    return kept


def _is_determiner(before: str, after: str) -> bool:
    if phrases.DETERMINER_AFTER.match(after):
        return True
    return bool(re.match(r"\s+\w", after) and phrases.DETERMINER_BEFORE.search(before))


def _is_own(before: str, after: str) -> bool:
    """True if the word is the writer's own answer: not asked, conditional, denied or reported."""
    sentence = re.split(r"[.!?\n]", before[-phrases.MOST_SENTENCE :])[-1]
    rest = re.match(r"[^.!?\n]*([.!?\n]|$)", after[: phrases.MOST_SENTENCE])
    tail = rest.group() if rest else ""
    if max(len(sentence), len(tail)) == phrases.MOST_SENTENCE:
        return False
    if tail.endswith("?") or phrases.CONDITION.search(tail):
        return False
    # An earlier clause ("The text does not say so, so no") is not about the answer, unless it governs it
    # ("I don't think, given the text, that the answer is yes").
    argued = re.split(r"\b(?:so|therefore|thus|hence)\b", sentence)[-1]
    clause = re.split(r"[,;]|\bbut\b", argued)[-1]
    return phrases.GOVERNS.search(argued) is None and phrases.DISTANCED.search(clause) is None


def _key(word: str) -> str:
    return word if len(word) == 1 else " ".join(word.casefold().split())


def answer_words(answers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the words by which answers are read, each with its answer.

    Raises:
        ArgumentError: A form holds nothing that can be read, or two answers share one.

    Example:
        >>> answer_words({"A": ("A",), "unsure": ("not  sure",)})
        {'A': 'A', 'not sure': 'unsure'}
    """
    owner: dict[str, str] = {}
    for name, forms in answers.items():
        for form in forms:
            word = _key(_plain(form).strip())
            if not word:
                raise ArgumentError(f"answers.{name} must hold forms with letters, got {form!r}")
            if owner.setdefault(word, name) != name:
                raise ArgumentError(
                    f"answers.{name} must not read like a form of {owner[word]!r}, got {form!r}"
                )
    return phrases.SYNONYMS | owner if set(answers) == {"yes", "no"} else owner


@lru_cache(maxsize=32)
def _reader(answers: tuple[tuple[str, tuple[str, ...]], ...]) -> _Reader:
    return _Reader(dict(answers))
