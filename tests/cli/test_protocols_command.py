"""`misfired protocols`: the table holds all that a protocol says to a model."""

import pytest
from typer.testing import CliRunner

from misfired.cli import load
from misfired.scoring.protocol import PROTOCOLS


@pytest.mark.parametrize("name", ["system", "instruction", "tail"])
def test_the_table_holds_every_word_that_is_said(name):
    told = " ".join(CliRunner(env={"COLUMNS": "80"}).invoke(load("protocols")).stdout.split())
    for protocol in PROTOCOLS.values():
        assert " ".join(getattr(protocol, name).split()[-3:]) in told
