"""Suite cards: what a suite says of itself, checked against what it holds."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl

from misfired.errors import DataError
from misfired.files import file_sha256, read_toml, replacing

__all__ = ["Card", "card_of", "card_path", "check_card", "read_card", "suite_counts", "write_card"]


@dataclass(frozen=True)
class Card:
    """What a suite says of itself, in the file `<suite>.card.toml` beside `<suite>.parquet`.

    Attributes:
        name: The suite's name, as in its column `suite` before the `@`.
        version: Its version, after the `@`.
        licence: Under which terms it may be used.
        source: Where it comes from.
        sha256: Of the suite's file, in hexadecimal.
        counts: As `suite_counts` gives them; those that are stated are checked.
        answers: Names of the answers that prompts may expect; `yes` and `no` by default.
    """

    name: str
    version: str
    licence: str
    source: str
    sha256: str
    counts: dict[str, int] = field(default_factory=dict)
    answers: tuple[str, ...] = ("yes", "no")


def card_path(suite: str | os.PathLike[str]) -> Path:
    """Where the card of a suite's file is.

    Example:
        >>> card_path("pairs/drinks.parquet").name
        'drinks.card.toml'
    """
    return Path(suite).with_suffix(".card.toml")


def suite_counts(suite: pl.DataFrame) -> dict[str, int]:
    """Rows that are pairs, rows that are twins, scenarios and categories of a suite."""
    n_twins = suite["twin_of"].count() if "twin_of" in suite.columns else 0
    return {
        "pairs": len(suite) - n_twins,
        "twins": n_twins,
        "scenarios": suite["scenario"].n_unique(),
        "categories": suite["category"].n_unique(),
    }


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read a card.

    Raises:
        DataError: The file cannot be read, is no TOML, or a field is missing, unknown or of another
            type; the message names file, field and value.
    """
    file = Path(path)
    content = read_toml(file)
    known = [each.name for each in fields(Card)]
    for name in content:
        if name not in known:
            raise DataError(f"{file}: unknown field {name!r}, not one of {', '.join(known)}")
    for name in ("name", "version", "licence", "source", "sha256"):
        if name not in content:
            raise DataError(f"{file}: field {name!r} is missing")
        if not isinstance(content[name], str) or not content[name].strip():
            raise DataError(f"{file}: {name} is {content[name]!r}, a text needed")
    return Card(**content | _tables(file, content))


def _tables(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    counts, answers = content.get("counts", {}), content.get("answers", ["yes", "no"])
    if not isinstance(counts, dict) or not all(type(n) is int for n in counts.values()):
        raise DataError(f"{file}: counts is {counts!r}, a table of whole numbers needed")
    texts = isinstance(answers, list) and all(isinstance(one, str) and one for one in answers)
    if not texts or len(set(answers)) != len(answers) or len(answers) < 2:
        raise DataError(f"{file}: answers is {answers!r}, a list of at least two texts needed")
    return {"counts": counts, "answers": tuple(answers)}


def check_card(card: Card, suite: pl.DataFrame, file: Path) -> None:
    """Compare a card with the suite beside it.

    Raises:
        DataError: Name, version, hash or a count differs; the message names both values.
    """
    where = card_path(file)
    stated = f"{card.name}@{card.version}"
    for row, found in enumerate(suite["suite"], start=1):
        if found != stated:
            raise DataError(
                f"{file}, row {row}: suite: {found!r}, but {where.name} says {stated!r}"
            )
    counts = suite_counts(suite)
    for name, number in card.counts.items():
        if name not in counts:
            raise DataError(f"{where}: counts.{name}: unknown, not one of {', '.join(counts)}")
        if number != counts[name]:
            raise DataError(
                f"{where}: counts.{name} is {number}, but {file.name} has {counts[name]}"
            )
    if (found := file_sha256(file)) != card.sha256.lower():
        raise DataError(f"{where}: sha256 is {card.sha256!r}, but that of {file.name} is {found!r}")


def card_of(
    suite: pl.DataFrame, file: Path, *, licence: str, source: str, answers: Sequence[str]
) -> Card:
    """The card of a suite that has been written to a file.

    Raises:
        DataError: The rows are of several suites.
    """
    names = suite["suite"].unique(maintain_order=True).to_list()
    if len(names) > 1:
        raise DataError(f"rows are of the suites {', '.join(names)}; a card is of one")
    name, version = names[0].split("@")
    return Card(
        name, version, licence, source, file_sha256(file), suite_counts(suite), tuple(answers)
    )


def write_card(card: Card, path: Path) -> None:
    """Write a card as TOML; the file appears whole or not at all."""
    # A JSON text or list of texts is one of TOML, too.
    texts = {name: value for name, value in asdict(card).items() if name != "counts"}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in texts.items()]
    lines += ["", "[counts]", *(f"{name} = {number}" for name, number in card.counts.items())]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
