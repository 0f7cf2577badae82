"""Differences between the two prompts of a pair, word by word."""

import re
from difflib import SequenceMatcher


def differing_words(stereotyped: str, contrast: str) -> list[tuple[str, str]]:
    """Return the runs of words in which two prompts differ, in order; one side may be empty.

    Examples:
        >>> differing_words("A man was late.", "A tall woman was late.")
        [('man', 'tall woman')]
    """
    return [(left, right) for left, right, differ in _runs(stereotyped, contrast) if differ]


def mark_difference(stereotyped: str, contrast: str) -> tuple[str, str]:
    """Return both prompts, the words that differ in [brackets], white space as single spaces.

    Examples:
        >>> mark_difference("A man was late.", "A tall woman was late.")
        ('A [man] was late.', 'A [tall woman] was late.')
    """
    runs = _runs(stereotyped, contrast)
    left = (f"[{text}]" if differ and text else text for text, _, differ in runs)
    right = (f"[{text}]" if differ and text else text for _, text, differ in runs)
    return " ".join(filter(None, left)), " ".join(filter(None, right))


def shared_and_own(stereotyped: str, contrast: str) -> list[str | tuple[str, str]]:
    """Return two prompts as runs: text that both share, or what each has in its place.

    Joined again, the runs are the prompts, sign for sign.

    Examples:
        >>> shared_and_own("A man was late.", "A tall woman was late.")
        ['A ', ('man ', 'tall woman '), 'was late.']
    """
    left, right = (re.findall(r"\s*\S+\s*|\s+", text) for text in (stereotyped, contrast))
    codes = SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes()
    runs = ((kind, "".join(left[a:b]), "".join(right[c:d])) for kind, a, b, c, d in codes)
    return [one if kind == "equal" else (one, other) for kind, one, other in runs]


def _runs(stereotyped: str, contrast: str) -> list[tuple[str, str, bool]]:
    """Return the prompts as runs of words, each with True if the two differ in it."""
    left, right = stereotyped.split(), contrast.split()
    codes = SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes()
    runs = ((" ".join(left[a:b]), " ".join(right[c:d]), kind) for kind, a, b, c, d in codes)
    return [(one, other, kind != "equal") for one, other, kind in runs]
