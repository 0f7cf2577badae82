"""`misfired protocols`: the ways to ask that are built in, and a check of one's own."""

import json
from pathlib import Path

from typer import Argument

from misfired.cli.options import Json, takes
from misfired.cli.output import echo, echo_data
from misfired.report.table import Table, text
from misfired.scoring.protocol import PROTOCOLS, Protocol, read_protocol


@takes()
def protocols(
    file: Path | None = Argument(
        None, metavar="FILE", help="A protocol of your own (TOML) to check."
    ),
    *,
    as_json: Json = False,
) -> None:
    """List the built-in protocols, or check a file.

    Examples:
      misfired protocols
      misfired protocols paper.toml
    """
    shown = list(PROTOCOLS.values()) if file is None else [read_protocol(file)]
    if as_json:
        for protocol in shown:
            echo_data(json.dumps(protocol.to_json(), ensure_ascii=False))
    elif file is None:
        header = ("name", "version", "reading", "tokens", "instruction")
        rows = [
            (each.name, each.version, each.reading, each.n_generate or "", _words(each))
            for each in shown
        ]
        echo(text(Table(header, rows, n_words=len(header))))
    else:
        echo_data(json.dumps(shown[0].to_json(), ensure_ascii=False, indent=2))


def _words(protocol: Protocol) -> str:
    """Return what a protocol says beside the prompt, in the order in which a model reads it."""
    return " ".join(filter(None, (protocol.system, protocol.instruction, protocol.tail)))
