"""Suite cards: what a suite says of itself, checked against its rows."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from misfired.errors import ArgumentError, DataError
from misfired.files import file_sha256, read_struct, replacing

__all__ = ["Card", "card_of", "card_path", "check_card", "read_card", "suite_counts", "write_card"]


@dataclass(frozen=True)
class Card:
    """What a suite says of itself, in the file `<suite>.card.toml` beside `<suite>.parquet`.

    Attributes:
        name: The suite's name, in its column `suite` before the `@`.
        version: Its version, after the `@`.
        licence: Its terms of use.
        source: Where it comes from.
        sha256: Of the suite's file, in hexadecimal.
        counts: Some or all numbers that `suite_counts` gives.
        answers: Answers that prompts may expect.
    """

    name: str
    version: str
    licence: str
    source: str
    sha256: str
    counts: dict[str, int] = field(default_factory=dict)
    answers: tuple[str, ...] = ("yes", "no")

    def __post_init__(self) -> None:
        for name in ("name", "version", "licence", "source", "sha256"):
            if not getattr(self, name).strip():
                raise ArgumentError(f"{name} must not be empty, got {getattr(self, name)!r}")
        if not all(self.answers) or len({*self.answers}) < max(2, len(self.answers)):
            raise ArgumentError(
                f"answers must be two or more unlike texts, got {list(self.answers)}"
            )


def card_path(suite: str | os.PathLike[str]) -> Path:
    """Return the path of the card of a suite's file.

    Example:
        >>> card_path("pairs/drinks.parquet").name
        'drinks.card.toml'
    """
    return Path(suite).with_suffix(".card.toml")


def suite_counts(suite: pl.DataFrame) -> dict[str, int]:
    """Count a suite's pairs, twins, scenarios and categories."""
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
        DataError: The file cannot be read, or a key is missing, unknown, of another type or outside
            its limits; the message names file, key and value.
    """
    return read_struct(Path(path), Card)


def check_card(card: Card, suite: pl.DataFrame, file: Path) -> None:
    """Compare a card with the suite beside it.

    Raises:
        DataError: Name, version, hash or a count differs; the message names both values.
    """
    where = card_path(file)
    stated = f"{card.name}@{card.version}"
    for row, found in enumerate(suite["suite"], start=1):
        if found != stated:
            rule = f"{stated!r} as in {where.name}"
            raise DataError(f"{file}, row {row}: suite must be {rule}, got {found!r}")
    counts = suite_counts(suite)
    for name, number in card.counts.items():
        if name not in counts:
            known = ", ".join(counts)
            raise DataError(f"{where}: unknown key 'counts.{name}', must be one of {known}")
        if number != counts[name]:
            rule = f"{counts[name]} as in {file.name}"
            raise DataError(f"{where}: counts.{name} must be {rule}, got {number}")
    if (found := file_sha256(file)) != card.sha256.lower():
        raise DataError(f"{where}: sha256 must be {found!r} as of {file.name}, got {card.sha256!r}")


def card_of(
    suite: pl.DataFrame, file: Path, *, licence: str, source: str, answers: Sequence[str]
) -> Card:
    """Return the card of a suite that was written to a file.

    Raises:
        DataError: The rows are of several suites.
    """
    names = suite["suite"].unique(maintain_order=True).to_list()
    if len(names) > 1:
        raise DataError(f"rows of a suite with a card must be of one suite, got {', '.join(names)}")
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
