"""False questions: what a pair's two stories are asked to see whether the model reads them at all.

A pair asks about the right person of each story. Its twin asks the same two stories about the other
person, so that the right answer is no.
"""

import re
from collections.abc import Hashable, Sequence

import polars as pl

from misfired.suites.twins import NEGATION, gold_no_twins

#: Before a difference two texts agree again where this many words or tokens in a row are the same.
_N_AGREE = 2

#: Where a sentence ends and the next begins; "No. 3" is no end.
_BREAK = re.compile(r"[.!?]['\")\u2019\u201d]*\s+(?=['\"(\u2018\u201c]*[^\W\d_a-z])")

#: Words and marks beside a person that are no part of the name.
_BESIDE = frozenset(
    re.findall(
        r"\S+",
        "the a my your his her our their this that and or but who while with in at on to from by of for "
        "is was are were has had have does did do can could will would should must may might "
        ". , ; : ! ? ' \u2019",
    )
)

#: What follows "that" is a statement, and may be negated.
_THAT = re.compile(r"\sthat\s.*$", re.DOTALL)

#: Why there is no false question.
NOT_YES = "the pair does not expect yes twice"
NO_SWAP = "the stories differ in more than who did what"
NO_QUESTION = "the text does not end in a question about the person"
NEGATED = "the question is negated, so that no can mean either"
OTHER_STORY = "its twin tells other stories"


def false_questions(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return for each pair the false questions about its two stories.

    They are those of the suite's twins (rows with `twin_of`); for a pair without one they are built by
    `swap_questions`, or by `gold_no_twins` where the suite names the persons.

    Args:
        pairs: A suite (see `misfired.read_suite`).

    Returns:
        One row per pair, twins not counted: `id`, `stereotyped`, `contrast` (the story of that prompt,
        asked about the other person; the right answer is no), `reason` (why there are none, or null).

    Example:
        >>> pairs = pl.DataFrame({
        ...     "id": ["p"], "expected_stereotyped": ["yes"], "expected_contrast": ["yes"],
        ...     "stereotyped": ["A cat met a dog. The cat ran. Did the cat run?"],
        ...     "contrast": ["A dog met a cat. The dog ran. Did the dog run?"],
        ... })
        >>> false_questions(pairs).row(0)[1:]
        ('A cat met a dog. The cat ran. Did the dog run?', 'A dog met a cat. The dog ran. Did the cat run?', None)
    """
    twins: dict[str, dict[str, str]] = {}
    if "twin_of" in pairs.columns:
        is_twin = pl.col("twin_of").is_not_null()
        twins = {row["twin_of"]: row for row in pairs.filter(is_twin).iter_rows(named=True)}
        pairs = pairs.filter(~is_twin).drop("twin_of")
    named = {row["twin_of"]: row for row in gold_no_twins(pairs).iter_rows(named=True)}
    rows = []
    for pair in pairs.iter_rows(named=True):
        found: tuple[str, str] | str
        if {pair["expected_stereotyped"], pair["expected_contrast"]} != {"yes"}:
            found = NOT_YES
        elif pair["id"] in twins:
            found = _of_twin(pair, twins[pair["id"]])
        else:
            found = swap_questions(pair["stereotyped"], pair["contrast"])
            if found == NO_SWAP and pair["id"] in named:
                found = _of_twin(pair, named[pair["id"]])
        texts = (None, None, found) if isinstance(found, str) else (*found, None)
        rows.append((pair["id"], *texts))
    names = ("id", "stereotyped", "contrast", "reason")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def swap_questions(stereotyped: str, contrast: str) -> tuple[str, str] | str:
    """Return each prompt's story with the other prompt's question, or why that is not a false one.

    It is where the prompts are exact swaps: each is the other with the two persons exchanged (in lower
    case, "an" counted as "a"), and both persons occur in the story.

    Example:
        >>> swap_questions("The cat ran. Did the cat run?", "The dog ran. Did the dog run?")
        'the stories differ in more than who did what'
    """
    left, right = _words(stereotyped), _words(contrast)
    plain, other = (["a" if w == "an" else w for w in map(str.lower, s)] for s in (left, right))
    a, b = last_difference(plain, other)
    persons = [plain[i] for i in a], [other[i] for i in b]
    if not all(persons) or _exchanged(plain, *persons) != other:
        return NO_SWAP
    cuts = []
    for words, place in ((left, a), (right, b)):
        text, before = "".join(words), len("".join(words[: place.start]))
        ends = [found.end() for found in _BREAK.finditer(text)]
        # The person stands in the last sentence, which is a question.
        if not ends or ends[-1] > before or not text.rstrip().endswith("?"):
            return NO_QUESTION
        cuts.append(ends[-1])
    if not _names_fit(plain, a, persons, _words(stereotyped[: cuts[0]].lower())):
        return NO_SWAP
    story, question = stereotyped[: cuts[0]], stereotyped[cuts[0] :]
    if re.search(NEGATION, _THAT.sub("", question)):
        return NEGATED
    return story + contrast[cuts[1] :], contrast[: cuts[1]] + question


def last_difference(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[range, range]:
    """Return the last, shortest stretch by which two texts differ; empty where they are equal.

    Example:
        >>> last_difference("the cat saw the cat run".split(), "the dog saw the dog run".split())
        (range(4, 5), range(4, 5))
    """
    n_same = 0
    while n_same < min(len(a), len(b)) and a[-1 - n_same] == b[-1 - n_same]:
        n_same += 1
    a_stop, b_stop = len(a) - n_same, len(b) - n_same
    for total in range(1, a_stop + b_stop + 1):
        # Of equal totals the most even: a name for a name.
        for short in range(total // 2, -1, -1):
            for i, j in {(short, total - short), (total - short, short)}:
                starts = a_stop - i, b_stop - j
                if min(starts) >= 0 and _end(a, starts[0]) == _end(b, starts[1]):
                    return range(starts[0], a_stop), range(starts[1], b_stop)
    return range(a_stop), range(b_stop)


def _end(text: Sequence[Hashable], stop: int) -> Sequence[Hashable]:
    return text[max(0, stop - _N_AGREE) : stop]


def _of_twin(pair: dict[str, str], twin: dict[str, str]) -> tuple[str, str] | str:
    """Return a twin's prompts by story: its condition is the person asked about."""
    if {twin["expected_stereotyped"], twin["expected_contrast"]} != {"no"}:
        return NOT_YES
    found = twin["contrast"], twin["stereotyped"]
    for true, false in zip((pair["stereotyped"], pair["contrast"]), found, strict=True):
        differs = (i for i, (x, y) in enumerate(zip(true, false, strict=False)) if x != y)
        n_same = next(differs, len(true))
        # Two questions about one story differ in the last sentence alone.
        if any(found.end() > n_same for found in _BREAK.finditer(true)):
            return OTHER_STORY
    return found


def _words(text: str) -> list[str]:
    """Return the words and marks of a text, and white space between them; joined they are the text."""
    return re.findall(r"\w+|\W", text)


def _exchanged(words: list[str], a: list[str], b: list[str]) -> list[str]:
    swaps = sorted(((a, b), (b, a)), key=lambda swap: -len(swap[0]))
    found: list[str] = []
    i = 0
    while i < len(words):
        for old, new in swaps:
            if words[i : i + len(old)] == old:
                found += new
                i += len(old)
                break
        else:
            found.append(words[i])
            i += 1
    return found


def _names_fit(
    words: list[str], place: range, persons: Sequence[list[str]], story: list[str]
) -> bool:
    """True if the story has both persons, each with the words that one has beside it in the question.

    "Is the White man late?" for "the White woman": the story must have a White man.
    """
    before, after = words[: place.start][-_N_AGREE:], words[place.stop :][:_N_AGREE]
    own, other = persons
    if not (_followers(story, own) and _followers(story, other)):
        return False
    if before and before[0] not in _BESIDE:
        own_name, other_name = before + own, before + other
        if _followers(story, own_name) and not _followers(story, other_name):
            return False
    continues = tuple(after) in _followers(story, own)
    others = _followers(story, other)
    return not continues or tuple(after) in others or all(_BESIDE & set(each) for each in others)


def _followers(words: list[str], some: list[str]) -> list[tuple[str, ...]]:
    """Return what follows each place where some words stand in a row."""
    n = len(some)
    places = (i for i in range(len(words) - n + 1) if words[i : i + n] == some)
    return [(*words[i + n : i + n + _N_AGREE], ".")[:_N_AGREE] for i in places]
