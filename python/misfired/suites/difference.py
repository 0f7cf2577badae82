"""Differences between the two prompts of a pair, word by word."""

from difflib import SequenceMatcher

__all__ = ["differing_words", "mark_difference"]

_Spans = list[tuple[int, int]]


def differing_words(stereotyped: str, contrast: str) -> list[tuple[str, str]]:
    """Return the runs of words in which two prompts differ, in order; one side may be empty.

    Examples:
        >>> differing_words("A man was late.", "A tall woman was late.")
        [('man', 'tall woman')]
    """
    left, right = stereotyped.split(), contrast.split()
    return [
        (" ".join(left[a:b]), " ".join(right[c:d]))
        for (a, b), (c, d) in zip(*_differing_spans(left, right), strict=True)
    ]


def mark_difference(stereotyped: str, contrast: str) -> tuple[str, str]:
    """Return both prompts, the words that differ in [brackets], white space as single spaces.

    Examples:
        >>> mark_difference("A man was late.", "A tall woman was late.")
        ('A [man] was late.', 'A [tall woman] was late.')
    """
    left, right = stereotyped.split(), contrast.split()
    left_spans, right_spans = _differing_spans(left, right)
    return _bracketed(left, left_spans), _bracketed(right, right_spans)


def _differing_spans(left: list[str], right: list[str]) -> tuple[_Spans, _Spans]:
    matcher = SequenceMatcher(a=left, b=right, autojunk=False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    return [(a, b) for _, a, b, _, _ in changes], [(c, d) for _, _, _, c, d in changes]


def _bracketed(words: list[str], spans: _Spans) -> str:
    marked = list(words)
    for start, end in spans:
        if start < end:
            marked[start] = f"[{marked[start]}"
            marked[end - 1] = f"{marked[end - 1]}]"
    return " ".join(marked)
