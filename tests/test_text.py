"""Text of others acts on no screen, whatever it holds."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from misfired.errors import CacheError, DataError, RunFolderError
from misfired.text import LONGEST, LONGEST_MESSAGE, data_shown, json_escape, named, shown

HOSTILE = {
    "\x1b[2J\x1b]0;title\x07": "\\x1b[2J\\x1b]0;title\\x07",
    "\x9b31m": "\\x9b31m",
    "a\u202eb\u2066c": "a\\u202eb\\u2066c",
    "a\u200bb\ufeffc\u00adx": "a\\u200bb\\ufeffc\\xadx",
    "one\ntwo\r\u2028three\x85": "one\\ntwo\\r\\u2028three\\x85",
    "\udc80path": "\\udc80path",
    "tag\U000e0041": "tag\\U000e0041",
    "\u3164\u115f": "\\u3164\\u115f",
    "Zoë 日本 ❤\ufe0f e\u0301": "Zoë 日本 ❤\ufe0f e\u0301",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_acts_or_hides_is_shown_escaped(text):
    assert shown(text) == HOSTILE[text]


@given(st.text(st.characters(codec=None), max_size=400))
def test_nothing_shown_acts_breaks_a_line_or_grows_beyond_the_limit(text):
    found = shown(text)
    for mark in found:
        assert unicodedata.category(mark) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(mark) not in {"LRE", "RLE", "LRO", "RLO", "PDF"}
        assert unicodedata.bidirectional(mark) not in {"LRI", "RLI", "FSI", "PDI"}
    assert len(text) > LONGEST or shown(found, None) == found
    assert len(shown(text, 40)) <= 40 * len("\\U00010ffff")


def test_a_long_text_keeps_its_ends_and_says_how_long_it_is():
    name = f"models/{'x' * 100_000}/last.gguf"
    found = shown(name)
    assert len(found) <= LONGEST
    assert found.startswith("models/xxx")
    assert found.endswith("xxx/last.gguf (100,017 characters)")
    assert shown(found) == found


def test_text_of_several_lines_keeps_them():
    assert shown("a\nb\x1b", None, lines=True) == "a\nb\\x1b"


def test_a_name_like_ours_stands_in_quotes():
    assert [named(name, "all") for name in ("all", "", " a", "Age")] == [
        "'all'",
        "''",
        "' a'",
        "Age",
    ]


def test_json_says_the_same_when_it_is_shown():
    value = {"name": "\u202eTea\x1b\x9b😀\u200b"}
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(data_shown(text)) == value
    assert "\x9b" not in data_shown(text)
    assert json.loads(f'"{json_escape("😀ë")}"') == "😀ë"


def test_messages_of_errors_are_safe_where_python_prints_them():
    for kind in (DataError, RunFolderError, CacheError):
        message = str(kind(f"{'x' * 100_000}: name must be text, got \x1b[2J\u202e"))
        assert len(message) <= LONGEST_MESSAGE + 20
        assert message.endswith("characters)")
        assert str(kind("a: got \x1b[2J")) == "a: got \\x1b[2J"
    assert str(RunFolderError(2, "No such file", "x")) == "[Errno 2] No such file: 'x'"
