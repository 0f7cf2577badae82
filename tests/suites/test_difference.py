"""Differences between two prompts, word by word."""

from hypothesis import given, settings
from hypothesis import strategies as st

from misfired.suites.difference import differing_words, mark_difference

PROMPTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e."]), max_size=12).map(" ".join)


def test_runs_of_words_are_marked_once():
    one, other = "Our cat met and fed a dog.", "Our tall dog met and fed a cat."
    marked = mark_difference(one, other)
    assert marked == ("Our [cat] met and fed a [dog.]", "Our [tall dog] met and fed a [cat.]")
    assert differing_words(one, other) == [("cat", "tall dog"), ("dog.", "cat.")]


def test_equal_prompts_have_no_difference():
    assert mark_difference("a  b", "a b") == ("a b", "a b")
    assert differing_words("a b", "a b") == []


@settings(deadline=None)
@given(one=PROMPTS, other=PROMPTS)
def test_what_is_not_marked_is_equal(one, other):
    def unmarked(text):
        kept, inside = [], False
        for word in text.split():
            inside = inside or word.startswith("[")
            if not inside:
                kept.append(word)
            inside = inside and not word.endswith("]")
        return kept

    left, right = mark_difference(one, other)
    assert unmarked(left) == unmarked(right)
    assert left.replace("[", "").replace("]", "") == one
    assert right.replace("[", "").replace("]", "") == other
