"""`misfired suite`: check suites of pairs, one's own or others', and say what is in them."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from misfired.cli.output import print_facts, print_json, print_table
from misfired.files import file_sha256
from misfired.prompts.primings import PRIMINGS
from misfired.scoring.protocol import get_protocol
from misfired.suites import PAIRS_SCHEMA, read_suite
from misfired.suites.card import card_path, read_card, suite_counts

app = typer.Typer(help="Suites of pairs: check one, describe one.", no_args_is_help=True)

_File = Annotated[Path, typer.Argument(help="A suite: .parquet, .jsonl or .csv.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_Protocol = Annotated[
    str | None,
    typer.Option(help="Whose answers prompts may expect. Default: the card's, else yes and no."),
]


@app.command(epilog="Example: misfired suite validate pairs.parquet")
def validate(file: _File, *, protocol: _Protocol = None, as_json: _Json = False) -> None:
    """Check a suite and the card beside it.

    A fault is named with its row and column.
    """
    suite = _read(file, protocol)
    counts = suite_counts(suite)
    card = card_path(file)
    if as_json:
        stated = str(card) if card.exists() else None
        print_json({"file": str(file), "suite": _names(suite), **counts, "card": stated})
        return
    listed = ", ".join(f"{number} {name}" for name, number in counts.items())
    typer.echo(f"{file}: {_names(suite)}: {listed}")
    typer.echo(f"{card}: agrees" if card.exists() else "no card beside it")


@app.command(epilog="Example: misfired suite describe pairs.parquet")
def describe(file: _File, *, protocol: _Protocol = None, as_json: _Json = False) -> None:
    """Say what a suite holds, and what its card says."""
    suite = _read(file, protocol)
    about = _described(file, suite)
    if as_json:
        print_json(about)
        return
    card = about["card"] or {"licence": "no card", "source": "no card"}
    print_facts(
        [
            *((name, about[name]) for name in ("suite", "file")),
            *((name, card[name]) for name in ("licence", "source")),
            ("longest prompt", f"{about['longest_prompt']} characters"),
            ("primings", ", ".join(about["primings"])),
            ("further columns", ", ".join(about["further_columns"]) or "none"),
        ]
    )
    typer.echo()
    rows = [tuple(row.values()) for row in about["categories"]]
    header = ["category", *suite_counts(suite)]
    print_table(header[:-1], [*rows, ("all", *list(suite_counts(suite).values())[:-1])])
    typer.echo()
    print_table(("expected", "rows"), list(about["expected"].items()))


def _read(file: Path, protocol: str | None) -> pl.DataFrame:
    return read_suite(file, answers=None if protocol is None else get_protocol(protocol).answers)


def _names(suite: pl.DataFrame) -> str:
    return ", ".join(suite["suite"].unique(maintain_order=True))


def _described(file: Path, suite: pl.DataFrame) -> dict[str, Any]:
    categories = [
        {"category": name, **suite_counts(rows)}
        for (name,), rows in suite.group_by("category", maintain_order=True)
    ]
    for row in categories:
        del row["categories"]
    both = pl.concat_str("expected_stereotyped", "expected_contrast", separator="/")
    prompts = pl.concat([suite[side].str.len_chars() for side in ("stereotyped", "contrast")])
    card = card_path(file)
    return {
        "suite": _names(suite),
        "file": str(file),
        "sha256": file_sha256(file),
        "card": vars(read_card(card)) if card.exists() else None,
        **suite_counts(suite),
        "categories": categories,
        "expected": dict(
            suite.select(both.value_counts(sort=True)).to_series().struct.unnest().rows()
        ),
        "longest_prompt": prompts.max(),
        "primings": [name for name, priming in PRIMINGS.items() if _has(suite, priming.column)],
        "further_columns": [name for name in suite.columns if name not in PAIRS_SCHEMA],
    }


def _has(suite: pl.DataFrame, column: str | None) -> bool:
    """Whether a priming's sentences are there; neutral ones are chosen for a suite with cues."""
    source = "cue" if column == "neutral" and column not in suite.columns else column
    return source is None or (source in suite.columns and suite[source].count() > 0)
