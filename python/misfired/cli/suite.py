"""`misfired suite`: check suites of pairs, one's own or others', and say what is in them."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
from typer import Option

from misfired.cli.options import Json, SuiteFile, group, takes
from misfired.cli.output import echo, echo_data
from misfired.files import file_sha256
from misfired.prompts.primings import PRIMINGS
from misfired.report.suites import description_report
from misfired.report.table import json_text
from misfired.scoring.protocol import get_protocol
from misfired.suites import PAIRS_SCHEMA, read_suite
from misfired.suites.card import card_path, read_card, suite_counts
from misfired.text import shown

app = group()

_PROTOCOL = "Protocol whose answers prompts may expect. Default: those of the card, or yes and no."
_Protocol = Annotated[str | None, Option(help=_PROTOCOL)]


@app.command()
@takes()
def validate(file: SuiteFile, *, protocol: _Protocol = None, as_json: Json = False) -> None:
    """Check a suite and the card beside it.

    An error names its row and column.

    Examples:
      misfired suite validate pairs.parquet
    """
    suite, card = _read(file, protocol), card_path(file)
    names, counts = _names(suite), suite_counts(suite)
    if as_json:
        stated = str(card) if card.exists() else None
        echo_data(json_text({"file": str(file), "suite": names, **counts, "card": stated}))
        return
    listed = ", ".join(f"{number} {name}" for name, number in counts.items())
    echo(f"{shown(file)}: {shown(names)}: {listed}")
    echo(f"{shown(card)}: agrees" if card.exists() else "no card beside it")


@app.command()
@takes()
def describe(file: SuiteFile, *, protocol: _Protocol = None, as_json: Json = False) -> None:
    """Say what a suite holds, and what its card says.

    Examples:
      misfired suite describe pairs.parquet
    """
    about = _described(file, _read(file, protocol))
    if as_json:
        echo_data(json_text(about))
    else:
        echo(description_report(about))


def _read(file: Path, protocol: str | None) -> pl.DataFrame:
    return read_suite(file, answers=None if protocol is None else get_protocol(protocol).answers)


def _names(suite: pl.DataFrame) -> str:
    return ", ".join(suite["suite"].unique(maintain_order=True))


def _described(file: Path, suite: pl.DataFrame) -> dict[str, Any]:
    categories = [
        {"category": name, **{k: n for k, n in suite_counts(rows).items() if k != "categories"}}
        for (name,), rows in suite.group_by("category", maintain_order=True)
    ]
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
    """True if a priming's sentences are there; neutral ones are chosen for a suite with cues."""
    source = "cue" if column == "neutral" and column not in suite.columns else column
    return source is None or (source in suite.columns and suite[source].count() > 0)
