"""`misfired protocols`: the ways to ask that are built in, and a check of one's own."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from misfired.scoring.protocol import PROTOCOLS, Protocol, read_protocol


def protocols(
    file: Annotated[
        Path | None, typer.Argument(help="A protocol of your own (TOML) to check.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Every field, one per line.")] = False,
) -> None:
    """List the built-in protocols, or check a protocol file.

    For example, misfired protocols paper.toml
    """
    shown = list(PROTOCOLS.values()) if file is None else [read_protocol(file)]
    if as_json:
        for protocol in shown:
            typer.echo(json.dumps(protocol.to_json(), ensure_ascii=False))
    elif file is None:
        Console().print(_table(shown))
    else:
        typer.echo(json.dumps(shown[0].to_json(), ensure_ascii=False, indent=2))


def _table(shown: list[Protocol]) -> Table:
    table = Table("name", "version", "reading", "tokens", "instruction", box=None)
    for protocol in shown:
        tokens = str(protocol.n_generate or "")
        table.add_row(
            protocol.name, protocol.version, protocol.reading, tokens, protocol.instruction
        )
    return table
