"""Differences between the two prompts of a pair, word by word."""

from collections.abc import Iterable
from difflib import SequenceMatcher


def differing_words(stereotyped: str, contrast: str) -> list[tuple[str, str]]:
    """Return the runs of words in which two prompts differ, in order; one side may be empty.

    Examples:
        >>> differing_words("A man was late.", "A tall woman was late.")
        [('man', 'tall woman')]
    """
    left, right, changes = _changes(stereotyped, contrast)
    return [(" ".join(left[a:b]), " ".join(right[c:d])) for a, b, c, d in changes]


def mark_difference(stereotyped: str, contrast: str) -> tuple[str, str]:
    """Return both prompts, the words that differ in [brackets], white space as single spaces.

    Examples:
        >>> mark_difference("A man was late.", "A tall woman was late.")
        ('A [man] was late.', 'A [tall woman] was late.')
    """
    left, right, changes = _changes(stereotyped, contrast)
    _bracket(left, ((a, b) for a, b, _, _ in changes))
    _bracket(right, ((c, d) for _, _, c, d in changes))
    return " ".join(left), " ".join(right)


def _changes(
    stereotyped: str, contrast: str
) -> tuple[list[str], list[str], list[tuple[int, int, int, int]]]:
    left, right = stereotyped.split(), contrast.split()
    changes = SequenceMatcher(a=left, b=right, autojunk=False).get_opcodes()
    return left, right, [(a, b, c, d) for kind, a, b, c, d in changes if kind != "equal"]


def _bracket(words: list[str], spans: Iterable[tuple[int, int]]) -> None:
    for start, end in spans:
        if start < end:
            words[start] = f"[{words[start]}"
            words[end - 1] = f"{words[end - 1]}]"
