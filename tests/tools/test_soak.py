"""The soak, smaller: its parts run, and nothing in them grows."""

import subprocess
import sys
from pathlib import Path

import pytest

from soak import is_flat

TOOL = Path(__file__).parents[2] / "tools" / "soak.py"


def grown(**more: float) -> list[dict[str, float]]:
    first = {"memory": 1e8, "handles": 12.0, "threads": 9.0}
    return [first] * 9 + [{name: value + more.get(name, 0.0) for name, value in first.items()}]


@pytest.mark.parametrize("more", [{"memory": 20e6}, {"handles": 1}, {"threads": 1}])
def test_what_grows_is_not_flat(more) -> None:
    assert is_flat(grown(memory=1e6))
    assert not is_flat(grown(**more))


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_parts_are_flat() -> None:
    told = subprocess.run(
        [sys.executable, TOOL, "--scale", "0.01"], capture_output=True, text=True, check=True
    )
    assert [line.split("|")[-2].strip() for line in told.stdout.splitlines()[2:]] == ["yes"] * 3
