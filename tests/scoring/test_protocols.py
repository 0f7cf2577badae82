"""Protocols, and the TOML files that users write."""

from dataclasses import replace
from pathlib import Path

import pytest

from misfired.errors import ArgumentError, DataError
from misfired.scoring.protocol import LOGIT, PROTOCOLS, get_protocol, read_protocol

PAPER = """
name = "paper"
version = "2"
instruction = "Answer with A or B."
reading = "whole_form"
normalisation = "per_byte"

[answers]
yes = ["A", "(A)"]
no = ["B", "(B)"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "protocol.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PROTOCOLS)
def test_builtin_protocols_are_named_and_versioned(name: str) -> None:
    protocol = get_protocol(name)
    assert protocol.name == name
    assert protocol.version
    assert protocol.is_yes_no
    assert set(protocol.to_json()) >= {"name", "version", "answers", "reading", "n_generate"}


def test_a_file_gives_a_protocol(tmp_path: Path) -> None:
    protocol = get_protocol(str(write(tmp_path, PAPER)))
    assert protocol.answers == {"yes": ("A", "(A)"), "no": ("B", "(B)")}
    assert (protocol.version, protocol.normalisation) == ("2", "per_byte")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name = "paper"',
            'name = "Pa per"',
            "name must be lower-case letters, digits, - _ ., got 'Pa per'",
        ),
        ('name = "paper"', "", "'name' is missing"),
        ('version = "2"', "version = 2", "version must be a text, got 2"),
        ('version = "2"', 'version = " "', "version must not be empty, got ' '"),
        (
            'reading = "whole_form"',
            'reading = "maybe"',
            "reading must be one of first_token, whole_form, text, got 'maybe'",
        ),
        (
            'reading = "whole_form"',
            'readings = "x"',
            "unknown key 'readings', must be one of name, version",
        ),
        (
            'reading = "whole_form"',
            'reading = "first_token"',
            "normalisation must be sum with reading 'first_token', got 'per_byte'",
        ),
        ('reading = "whole_form"', "thinking = true", "must be sum with reading 'first_token'"),
        (
            '["B", "(B)"]',
            '["B", "A"]',
            "answers.no must hold forms listed once, got 'A' (also under 'yes')",
        ),
        ('["B", "(B)"]', '"B"', "answers.no must be a list, got 'B'"),
        ('["B", "(B)"]', "[]", "answers.no must be a list of at least one form, got ()"),
        ('["B", "(B)"]', '[" "]', "answers.no must hold no empty form, got ' '"),
        ('no = ["B", "(B)"]', "", "answers must be at least 2, got 1"),
        ('name = "paper"', "name = ", "not TOML"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in PAPER
    path = write(tmp_path, PAPER.replace(old, new))
    with pytest.raises(DataError) as caught:
        read_protocol(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.toml: No such file"):
        read_protocol(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reading": "text"}, "n_generate must be at least 1 with reading 'text', got 0"),
        (
            {"reading": "text", "n_generate": 5, "n_extended": 5},
            "n_extended must be 0 or more than n_generate 5, got 5",
        ),
        ({"n_extended": 5}, "n_extended must go with reading 'text', got 'first_token'"),
        ({"n_generate": 5}, "n_generate must be 0 with reading 'first_token', got 5"),
        ({"stop": ("\n",)}, "stop must go with reading 'text', got 'first_token'"),
        ({"reading": "text", "n_generate": 5, "stop": ("",)}, "stop must hold no empty text"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        replace(LOGIT, **changes)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match=r"logit, logit-bare, .*generate, cot"):
        get_protocol("chat")
