"""From generated text to an answer, or to the reason why it holds none.

The rule is caution: a text that can be read two ways is `ambiguous`. A misread answer moves a rate in
silence, an unread one is counted. In order: reasoning is removed; the last JSON `"answer"` counts,
unless it is part of a choice that the text only quotes; then what the text declares to be its answer;
then an answer word that stands by itself and that nothing else in the text contradicts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from misfired.errors import ArgumentError
from misfired.scoring.parse_json import Found, find_json

ABSTAINED = ("abstained", "refused")
UNPARSEABLE = ("ambiguous", "empty", "no answer", "truncated", "truncated reasoning")

_SYNONYMS = {"yes": ("yes", "yeah", "yep", "yup"), "no": ("no", "nope", "nah")}

_NAMES = r"think|thinking|thought|reasoning|reflection|scratchpad|seed:think"
_OPEN = rf"(?:<(?:{_NAMES})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>)"
_CLOSE = rf"(?:</(?:{_NAMES})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>)"
_FINAL_CHANNEL = re.compile(r"<\|channel\|>final<\|message\|>")

_ABSTAINS = re.compile(
    r"\b(?:can(?:no|')t be (?:determined|known|said|inferred|answered)"
    r"|cannot be (?:determined|known|said|inferred|answered)"
    r"|(?:not|n't) (?:be )?(?:possible|enough|sufficient|stated|specified|clear from)"
    r"|insufficient|impossible to|no way (?:to|of)|unable to (?:determine|tell|say|know|conclude)"
    r"|(?:i|we) (?:do not|don't|cannot|can't|could not|couldn't)(?: \w+)? "
    r"(?:know|say|tell|determine|conclude|decide|be sure|be certain)"
    r"|not (?:sure|certain)|undetermined|unknown|unclear|uncertain|unsure|depends"
    r"|neither|n/a)(?!\w)",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\b(?:i(?:'m| am) sorry|i apologi[sz]e|as an ai|as a language model|must decline|decline to"
    r"|(?:i|we) (?:can ?not|can't|won't|will not|am not able to|refuse to|would rather not|'d rather not)"
    r"|i'm (?:not able|unable) to|i am unable to"
    r"|inappropriate|not appropriate|against my|not comfortable)(?!\w)",
    re.IGNORECASE,
)

#: In the same sentence before an answer word, these make it somebody else's, or a case that is only
#: considered.
_DISTANCED = re.compile(
    r"\b(?:if|unless|whether|assuming|suppose|supposing|provided|were|maybe|perhaps|possibly"
    r"|some|someone|somebody|people|others?|many|one might|naive|biased|stereotypes?|reader"
    r"|might|could|tempt\w+|instead of|rather than|not|never|neither|nor|without|hesitat\w+"
    r"|cannot|can't|won't|wouldn't|don't|doesn't|didn't|isn't|wasn't|shouldn't|couldn't|unable"
    r"|wrong|incorrect|mistaken?|doubt|refuse\w*|avoid\w*|hard to|unfair|false"
    r"|(?:he|she|they|who|\w+(?:man|woman|er|or)) (?:said|says|replied|answered|told|responded)"
    r"|said|replied|responded|answered|asked|instructed|told|instructions?|prompt|format|example)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:if|unless|only when|provided|assuming|depending|in case|otherwise)\b", re.IGNORECASE
)
#: A determiner: "had no phone", "there is no doubt".
_DETERMINER_BEFORE = re.compile(
    r"\b(?:had|has|have|having|with|of|in|by|under|gave|gives?|makes?|made|shows?|contains?|provides?"
    r"|(?:there|it|that|which)(?:'s| is| was| are| were| being))\s+$",
    re.IGNORECASE,
)
_DETERMINER_AFTER = re.compile(
    r"\s+(?:doubt|question|one|longer|matter|need|evidence|reason|information|mention|indication"
    r"|contradiction|ambiguity|suggestion|way|means|idea|such thing)\b",
    re.IGNORECASE,
)
_STARTS_CLAUSE = re.compile(
    r"(?:^|[\n.!?:,;()\[\]\u2014>]|\s-)\s*[\"'(\[]*$"
    r"|\b(?:so|then|hence|thus|therefore|definitely|clearly|certainly|simply|answer|say|is|be"
    r"|probably|likely|well)\s+[\"'(]*$",
    re.IGNORECASE,
)
_ENDS_CLAUSE = re.compile(r"[\"')\]]*\s*(?:$|[\n.!,;:)\]\u2014]|-\s)")
#: What may follow an answer word that opens a sentence without punctuation ("Yes the woman did").
_SUBJECT = re.compile(
    r"\s+(?:it|he|she|they|the|this|that|these|those|i|we|you|because|since|as|based|not|but)\b",
    re.IGNORECASE,
)
_DECLARES = (
    r"(?:\banswer|\bverdict|\bconclusion|\bresponse)\s*(?:is|:|=|->|would be|must be|should be)"
    r"[\s:\"'(\[]*(?:that |simply |definitely |clearly |therefore )?[\s\"'(]*$"
    r"|<answer>\s*[\"'(]*$|\\boxed\{\s*(?:\\text\{)?\s*$|(?:^|\n)a:\s*[\"'(]*$"
)
_DECLARED_BEFORE = re.compile(_DECLARES, re.IGNORECASE)
_FINAL_BEFORE = re.compile(r"final\s+(?:" + _DECLARES + ")", re.IGNORECASE)
_TAIL = 80

#: A sentence that goes on for longer before or after an answer word is not understood: most are loops
#: that a model could not leave, and reading each word against the whole of it would take minutes.
_SENTENCE = 500

_JSON_LIST = re.compile(
    r"[\"'\s]*(?:,?\s*(?:or|and|nor|vs\.?|versus)|/|\||,)[\"'\s]*", re.IGNORECASE
)
_JSON_CONDITION = re.compile(
    r"\W*(?:if|when|otherwise|unless|in case|is|isn't|was|would)\b", re.IGNORECASE
)
#: Denials that govern the whole rest of a sentence.
_GOVERNS = re.compile(
    r"\b(?:if|unless|suppos\w+|assuming|some|people|others"
    r"|(?:i|we|you|one)\s+(?:\w+\s+)?(?:do not|don't|cannot|can't|wouldn't|would not|could not|couldn't)"
    r"\s+(?:think|believe|say|agree|conclude|claim)"
    r"|(?:not|n't)\s+(?:true|clear|sure|certain|right|correct))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parsed:
    """What a text says.

    Attributes:
        answer: The answer's name; None unless the outcome is `answered`.
        outcome: `answered`, `abstained` or `unparseable`.
        reason: Why there is no answer: one of `ABSTAINED` or `UNPARSEABLE`.
    """

    answer: str | None
    outcome: str
    reason: str | None = None


def parse_answer(
    text: str,
    answers: Mapping[str, Sequence[str]],
    *,
    in_reasoning: bool = False,
    truncated: bool = False,
) -> Parsed:
    """Read the answer that a generated text gives.

    Args:
        text: What the model wrote.
        answers: For each answer its forms (see `Protocol.answers`).
        in_reasoning: Whether the prompt had already opened a reasoning block.
        truncated: Whether the text ends because the budget was spent.

    Raises:
        ArgumentError: The answers cannot be told apart in a text (see `answer_words`).

    Example:
        >>> answers = {"yes": ("Yes", "yes"), "no": ("No", "no")}
        >>> parse_answer("<think>It says so.</think> Yes.", answers).answer
        'yes'
        >>> parse_answer("I can't say yes or no.", answers)
        Parsed(answer=None, outcome='abstained', reason='abstained')
        >>> parse_answer("No. Well, yes.", answers).reason
        'ambiguous'
    """
    reader = _Reader(tuple((name, tuple(forms)) for name, forms in answers.items()))
    visible = strip_reasoning(_plain(text), in_reasoning=in_reasoning)
    if visible is None:
        return Parsed(None, "unparseable", "truncated reasoning")
    if not visible.strip():
        return Parsed(None, "unparseable", "empty")
    return reader.read(visible.strip(), truncated)


def strip_reasoning(text: str, *, in_reasoning: bool = False) -> str | None:
    """The text without its reasoning blocks, None if one is not closed.

    Example:
        >>> strip_reasoning("<think>yes?</think>No").strip()
        'No'
        >>> strip_reasoning("So the answer", in_reasoning=True) is None
        True
    """
    if in_reasoning:
        text = "<think>" + text
    if "<|channel|>" in text:
        final = list(_FINAL_CHANNEL.finditer(text))
        return re.sub(r"<\|\w+\|>", "", text[final[-1].end() :]) if final else None
    text = re.sub(rf"{_OPEN}.*?{_CLOSE}", " ", text, flags=re.DOTALL | re.IGNORECASE)
    closings = list(re.finditer(_CLOSE, text, flags=re.IGNORECASE))
    if closings:
        text = text[closings[-1].end() :]
    return None if re.search(_OPEN, text, flags=re.IGNORECASE) else text


def _plain(text: str) -> str:
    """Compatibility forms, straight quotes, no invisible characters, no emphasis."""
    text = unicodedata.normalize("NFKC", text)
    text = text.translate(str.maketrans("\u201c\u201d\u201e\u2018\u2019\u02bc", "\"\"\"'''"))
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return re.sub(r"\*+|`+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|~~", "", text)


@dataclass(frozen=True)
class _Place:
    """An answer word in a text: which answer, where, and whether the text asserts it."""

    answer: str
    start: int
    end: int
    asserted: bool
    leads: bool
    declared: int


class _Reader:
    """Reads texts for one set of answers."""

    def __init__(self, answers: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
        self.owner, self.word, self.menu = _patterns(answers)
        self.yes_no = {name for name, _ in answers} == {"yes", "no"}

    def read(self, text: str, truncated: bool) -> Parsed:
        """Read a text without reasoning."""
        records = find_json(text)
        chosen = _without_choices(text, records)
        if chosen:
            return self._json(text, chosen[-1], truncated)
        for record in records:
            text = text[: record.start] + " " * (record.end - record.start) + text[record.end :]
        blanked = self._without_menus(text)
        places = list(self._places(blanked))
        declared = [place for place in places if place.declared]
        if declared:
            return self._declared(declared, places)
        return self._asserted(text, blanked, places, truncated)

    def _json(self, text: str, last: Found, truncated: bool) -> Parsed:
        rest = text[last.end :]
        if last.value is ...:
            return Parsed(None, "unparseable", "truncated" if truncated else "ambiguous")
        if truncated and re.search(r"\w", rest):
            return Parsed(None, "unparseable", "truncated")
        read = self._value(last.value)
        others = {place.answer for place in self._places(self._without_menus(rest))}
        if read.answer is not None and others - {read.answer}:
            return Parsed(None, "unparseable", "ambiguous")
        return read

    def _without_menus(self, text: str) -> str:
        """Blank out "yes or no" and its like, which name the answers without giving one."""

        def blank(match: re.Match[str]) -> str:
            named = {self.owner[_key(word.group())] for word in self.word.finditer(match.group())}
            return " " * len(match.group()) if len(named) > 1 else match.group()

        return self.menu.sub(blank, text)

    def _value(self, value: object) -> Parsed:
        if isinstance(value, bool) and self.yes_no:
            return Parsed("yes" if value else "no", "answered")
        if value is None:
            return Parsed(None, "abstained", "abstained")
        if not isinstance(value, str):
            return Parsed(None, "unparseable", "ambiguous")
        if not value.strip():
            return Parsed(None, "unparseable", "empty")
        if self.yes_no and value.strip().lower() in {"true", "false"}:
            return Parsed("yes" if value.strip().lower() == "true" else "no", "answered")
        blanked = self._without_menus(value)
        return self._asserted(value, blanked, list(self._places(blanked)), truncated=False)

    def _declared(self, declared: list[_Place], places: list[_Place]) -> Parsed:
        final = [place for place in declared if place.declared == 2]
        deciding = final[-1:] or declared
        chosen = {place.answer for place in deciding}
        after = {place.answer for place in places if place.start > deciding[-1].start}
        if len(chosen | after) > 1:
            return Parsed(None, "unparseable", "ambiguous")
        return Parsed(chosen.pop(), "answered")

    def _asserted(self, text: str, blanked: str, places: list[_Place], truncated: bool) -> Parsed:
        """Read an answer word that stands by itself; `blanked` is the text without its menus."""
        named = {place.answer for place in places}
        asserted = [place for place in places if place.asserted]
        without = self.word.sub(" ", blanked)
        abstains, refuses = _ABSTAINS.search(without), _REFUSES.search(without)
        if asserted:
            if truncated and not any(place.leads for place in asserted):
                return Parsed(None, "unparseable", "truncated")
            if len(named) > 1 or abstains or refuses or blanked != text:
                return Parsed(None, "unparseable", "ambiguous")
            return Parsed(named.pop(), "answered")
        if abstains or refuses:
            return Parsed(None, "abstained", "abstained" if abstains else "refused")
        both = len(named) > 1 or blanked != text
        reason = "truncated" if truncated else "ambiguous" if both else "no answer"
        return Parsed(None, "unparseable", reason)

    def _places(self, text: str) -> Iterator[_Place]:
        for match in self.word.finditer(text):
            answer = self.owner[_key(match.group())]
            before, after = text[: match.start()], text[match.end() :]
            near = before[-_TAIL:] if len(before) > _TAIL else before
            if answer == "no" and self.yes_no and _is_determiner(near, after):
                continue
            own = _is_own(before, after)
            short = len(match.group()) == 1
            starts = _STARTS_CLAUSE.search(near) is not None or not before.strip("\"'( \n")
            ends = _ENDS_CLAUSE.match(after) is not None
            opens = re.search(r"(?:^|[\n.!?])\s*[\"'(]*$", near) and _SUBJECT.match(after)
            asserted = own and starts and (ends or (bool(opens) and not short))
            if short and not asserted:
                continue
            declared = 0
            if own and (ends or not short) and _DECLARED_BEFORE.search(near):
                declared = 2 if _FINAL_BEFORE.search(near) else 1
            leads = not before.strip("\"'( \n")
            yield _Place(answer, match.start(), match.end(), asserted, leads, declared)


def _without_choices(text: str, records: list[Found]) -> list[Found]:
    """Drop records that stand beside another one in an "or" list, or under a condition."""
    kept = []
    for index, record in enumerate(records):
        gaps = [text[records[index - 1].end : record.start]] if index else []
        if index + 1 < len(records):
            gaps.append(text[record.end : records[index + 1].start])
        listed = any(_JSON_LIST.fullmatch(gap) for gap in gaps)
        if not listed and _JSON_CONDITION.match(text, record.end) is None:
            kept.append(record)
    return kept


def _is_determiner(before: str, after: str) -> bool:
    follows = re.match(r"\s+\w", after) is not None
    return _DETERMINER_AFTER.match(after) is not None or (
        follows and _DETERMINER_BEFORE.search(before) is not None
    )


def _is_own(before: str, after: str) -> bool:
    """Whether the answer word is the writer's own: not asked, conditional, denied or reported."""
    sentence = re.split(r"[.!?\n]", before[-_SENTENCE:])[-1]
    rest = re.match(r"[^.!?\n]*([.!?\n]|$)", after[:_SENTENCE])
    tail = rest.group() if rest else ""
    if max(len(sentence), len(tail)) == _SENTENCE:
        return False
    if tail.endswith("?") or _CONDITION.search(tail):
        return False
    # A clause that ends before the answer's own ("The text does not say so, so no") is not about it,
    # unless it is the one that governs ("I don't think, given the text, that the answer is yes").
    argued = re.split(r"\b(?:so|therefore|thus|hence)\b", sentence)[-1]
    clause = re.split(r"[,;]|\bbut\b", argued)[-1]
    return _GOVERNS.search(argued) is None and _DISTANCED.search(clause) is None


def _key(word: str) -> str:
    return word if len(word) == 1 else " ".join(word.casefold().split())


def answer_words(answers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The words that an answer is read by, each with its answer.

    Raises:
        ArgumentError: A form holds nothing that could be read, or two answers share one.

    Example:
        >>> answer_words({"A": ("A",), "unsure": ("not  sure",)})
        {'A': 'A', 'not sure': 'unsure'}
    """
    owner: dict[str, str] = {}
    for name, forms in answers.items():
        for form in forms:
            word = _key(_plain(form).strip())
            if not word:
                raise ArgumentError(f"answers.{name}: form {form!r} cannot be read from a text")
            if owner.setdefault(word, name) != name:
                raise ArgumentError(
                    f"answers.{name}: form {form!r} reads like one of {owner[word]!r}"
                )
    if set(answers) == {"yes", "no"}:
        for name, words in _SYNONYMS.items():
            for word in words:
                owner.setdefault(word, name)
    return owner


@lru_cache(maxsize=32)
def _patterns(
    answers: tuple[tuple[str, tuple[str, ...]], ...],
) -> tuple[dict[str, str], re.Pattern[str], re.Pattern[str]]:
    """Owner of each word; any answer word; several of them joined by "or" or a slash."""
    owner = answer_words(dict(answers))
    # Case counts for single letters only: "A" is an answer, "a" an article.
    words = [
        re.escape(word) if len(word) == 1 else f"(?i:{re.escape(word)})"
        for word in sorted(owner, key=len, reverse=True)
    ]
    word = rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-]|'\w)"
    join = r"[\"']?\s*(?:/|\||,?\s*\b(?:or|nor|vs\.?|versus|and)\b(?:\s+an?\b)?)\s*[\"']?"
    return owner, re.compile(word), re.compile(rf"[\"']?{word}(?:(?i:{join}){word})+[\"']?")


__all__ = [
    "ABSTAINED",
    "UNPARSEABLE",
    "Parsed",
    "answer_words",
    "parse_answer",
    "strip_reasoning",
]
