"""TOML files against their types: the key is named as it stands in the file."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from misfired.errors import ArgumentError, DataError
from misfired.files import is_leftover, read_struct, replacing


class Lamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    watts: int
    colour: str | None = None


@dataclass(frozen=True)
class Room:
    name: str
    lamps: dict[str, tuple[Lamp, ...]] = field(default_factory=dict)
    doors: dict[str, dict[str, bool]] = field(default_factory=dict)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ArgumentError("name must not be empty, got ''")


def read(folder: Path, text: str) -> Room:
    (folder / "room.toml").write_text(text)
    return read_struct(folder / "room.toml", Room)


def test_a_file_becomes_its_type(tmp_path: Path) -> None:
    text = 'name = "hall"\nsize = [2, 3]\n[doors.north]\nopen = true\n[[lamps.big]]\nwatts = 5\n'
    expected = Room("hall", {"big": (Lamp(5),)}, {"north": {"open": True}}, (2, 3))
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 'name' is missing"),
        ("name = 1", "name must be a text, got 1"),
        ("name = ''", "name must not be empty, got ''"),
        ("name = 'a'\nlamp = 1", "unknown key 'lamp', must be one of name, lamps, doors, size"),
        ("name = 'a'\nsize = 'x'", "size must be a list, got 'x'"),
        ("name = 'a'\nsize = [1]", "size must be a list of length 2, got [1]"),
        ("name = 'a'\nsize = [1, true]", "size[1] must be a whole number, got True"),
        ("name = 'a'\nlamps = 3", "lamps must be a table, got 3"),
        (
            "name = 'a'\nlamps.a = []\nlamps.'b c' = [{watts = 1}, {watts = 'x'}]",
            "lamps.b c[1].watts must be a whole number, got 'x'",
        ),
        ("name = 'a'\nlamps.a = [{}]", "key 'lamps.a[0].watts' is missing"),
        (
            "name = 'a'\nlamps.a = [{watts = 1, size = 2}]",
            "unknown key 'lamps.a[0].size', must be one of watts, colour",
        ),
        ("name = 'a'\ndoors.a.b = true\ndoors.c.d = 1", "doors.c.d must be true or false, got 1"),
        ("name = ", "not TOML: "),
    ],
)
def test_a_refused_key_is_named_with_rule_and_value(tmp_path: Path, text, message) -> None:
    (tmp_path / "room.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        read_struct(tmp_path / "room.toml", Room)
    assert str(caught.value).startswith(f"{tmp_path / 'room.toml'}: {message}")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "room.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(DataError, match=r"room\.toml, line 1: byte 9 is not UTF-8"):
        read_struct(tmp_path / "room.toml", Room)


KILLED = """
import os, signal, sys
from misfired import files
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
with files.replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
"""


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    target = tmp_path / "suite.csv"
    subprocess.run([sys.executable, "-c", KILLED, target], check=False)
    (left,) = tmp_path.iterdir()
    assert is_leftover(left, ["suite.csv"])
    other = tmp_path / ".other.csv.01234567.part"
    other.write_text("of another file")
    with replacing(target) as temporary:
        temporary.write_text("whole")
        # Held by this process, it is no leftover, whoever writes the same file.
        with replacing(target) as second:
            second.write_text("second")
        assert temporary.exists()
    assert target.read_text() == "whole"
    assert {file.name for file in tmp_path.iterdir()} == {"suite.csv", other.name}


def test_a_failed_block_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise ZeroDivisionError

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]
