"""The command, run in this process with its exit code and both streams."""

import sys
from typing import NamedTuple

import pytest

from misfired import cli


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def misfired(monkeypatch, capsys):
    """Run `misfired` with arguments: `misfired("pairs", "show", file)`."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["misfired", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return Finished(code, *capsys.readouterr())

    return run
