"""How commands print: data to stdout, one JSON document where asked."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["print_facts", "print_json", "print_table"]

_WIDTH = 80
_TITLE_WIDTH = 20


def print_json(value: Any) -> None:
    """Print one JSON document, indented, text as it is."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print titles with the text of each beside it, folded to 80 columns."""
    for title, text in facts:
        lines = textwrap.wrap(text, _WIDTH - _TITLE_WIDTH, break_on_hyphens=False) or [""]
        for head, line in zip([title, *[""] * len(lines)], lines, strict=False):
            typer.echo(f"{head:<{_TITLE_WIDTH}}{line}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as their longest cell, numbers to the right, without colour."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [bool(rows) and isinstance(rows[0][i], int | float) for i in range(len(header))]
    for row in cells:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        typer.echo("  ".join(padded).rstrip())
